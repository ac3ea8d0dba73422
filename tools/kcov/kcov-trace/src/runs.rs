// SPDX-License-Identifier: GPL-2.0
//! The runs that a recording is made of: tests, or tasks of one test. Each block knows which of them
//! ran it.

use std::collections::{BTreeSet, HashMap};

use crate::recording::{Recording, Task};

/// The runs of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Their names.
    pub names: Vec<String>,
    /// The number of the run that each task belongs to.
    of_task: Vec<u32>,
}

/// The number of times that something ran in each run, by the number of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<(u32, u64)>);

impl Runs {
    /// Returns the tests. Tasks without a name of a test are one test without a name.
    #[must_use]
    pub fn tests(recording: &Recording) -> Self {
        Self::by(recording, |task| match (task.test.as_str(), task.tid) {
            ("", 0) => task.name.clone(),
            (test, _) => test.to_owned(),
        })
    }

    /// Returns the tests if there are several, and otherwise the tasks.
    #[must_use]
    pub fn finest(recording: &Recording) -> Self {
        let tests: BTreeSet<&str> = recording.tasks.iter().map(|task| task.test.as_str()).collect();
        Self::by(recording, |task| match task.tid {
            _ if tests.len() > 1 && !task.test.is_empty() => task.test.clone(),
            0 => task.name.clone(),
            tid => format!("{} ({tid})", task.name),
        })
    }

    fn by(recording: &Recording, name: impl Fn(&Task) -> String) -> Self {
        let mut runs = Self::default();
        let mut known: HashMap<String, u32> = HashMap::new();
        for task in &recording.tasks {
            let name = name(task);
            let number = *known.entry(name).or_insert_with_key(|name| {
                runs.names.push(name.clone());
                (runs.names.len() - 1) as u32
            });
            runs.of_task.push(number);
        }
        runs
    }

    /// Returns the number of the run of a task.
    #[must_use]
    pub fn of_task(&self, task: usize) -> u32 {
        self.of_task.get(task).copied().unwrap_or(0)
    }
}

impl Counts {
    /// Returns the sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Returns the count of one run.
    #[must_use]
    pub fn of(&self, run: u32) -> u64 {
        self.0
            .binary_search_by_key(&run, |(number, _)| *number)
            .map_or(0, |at| self.0[at].1)
    }

    /// Returns the runs whose count is not 0, with their counts.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = (u32, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Adds to the count of a run.
    pub fn add(&mut self, run: u32, count: u64) {
        *self.entry(run) += count;
    }

    /// Adds the counts of each run.
    pub fn add_all(&mut self, other: &Self) {
        for (run, count) in other.runs() {
            self.add(run, count);
        }
    }

    /// Takes the larger count of each run.
    pub fn take_larger(&mut self, other: &Self) {
        for (run, count) in other.runs() {
            let entry = self.entry(run);
            *entry = count.max(*entry);
        }
    }

    fn entry(&mut self, run: u32) -> &mut u64 {
        let at = match self.0.binary_search_by_key(&run, |(number, _)| *number) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (run, 0));
                at
            }
        };
        &mut self.0[at].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(tid: u32, name: &str, test: &str) -> Task {
        Task {
            tid,
            name: name.into(),
            test: test.into(),
            ..Task::default()
        }
    }

    fn names(tasks: Vec<Task>) -> [Vec<String>; 2] {
        let recording = Recording {
            tasks,
            ..Recording::default()
        };
        [Runs::tests(&recording).names, Runs::finest(&recording).names]
    }

    #[test]
    fn tasks_are_runs_if_there_is_one_test() {
        let tasks = vec![task(1, "sh", "a"), task(2, "ls", "a")];
        assert_eq!(names(tasks), [vec!["a"], vec!["sh (1)", "ls (2)"]]);
    }

    #[test]
    fn tests_are_runs_if_there_are_several() {
        let tasks = vec![task(1, "sh", "a"), task(2, "ls", "a"), task(1, "sh", "b")];
        assert_eq!(names(tasks), [vec!["a", "b"], vec!["a", "b"]]);
        let imported = vec![task(0, "cover1", ""), task(0, "cover2", "")];
        assert_eq!(
            names(imported),
            [vec!["cover1", "cover2"], vec!["cover1", "cover2"]]
        );
    }

    #[test]
    fn counts_are_kept_by_run() {
        let mut counts = Counts::default();
        for (run, count) in [(3, 1), (1, 2), (3, 4)] {
            counts.add(run, count);
        }
        assert_eq!(counts.runs().collect::<Vec<_>>(), [(1, 2), (3, 5)]);
        assert_eq!((counts.total(), counts.of(3), counts.of(2)), (7, 5, 0));
        let mut larger = counts.clone();
        let mut other = Counts::default();
        other.add(1, 9);
        other.add(3, 4);
        larger.take_larger(&other);
        assert_eq!(larger.runs().collect::<Vec<_>>(), [(1, 9), (3, 5)]);
    }
}
