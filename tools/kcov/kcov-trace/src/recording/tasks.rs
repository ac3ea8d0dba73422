// SPDX-License-Identifier: GPL-2.0
//! The sections of one task: its records, and what is known about them.

use kcov::{Comparison, Edge};

use super::encoding::{
    Cursor, FLAG_OVERFLOWED, FLAG_UNIQUE, TAG_CALLS, TAG_COMPARISONS, TAG_EDGES, TAG_GAPS, TAG_PCS, TAG_TEST,
    put, put_difference, put_text,
};
use super::{Records, SystemCall, Task};

/// Returns the sections of a task, the first of which has the records.
pub(super) fn sections(task: &Task) -> Vec<([u8; 4], Vec<u8>)> {
    let mut all = vec![records(task)];
    let mut add = |tag, contents: Option<Vec<u8>>| all.extend(contents.map(|contents| (tag, contents)));
    add(
        TAG_TEST,
        (!task.test.is_empty()).then(|| task.test.clone().into_bytes()),
    );
    add(TAG_GAPS, (!task.gaps.is_empty()).then(|| gaps(&task.gaps)));
    add(TAG_CALLS, (!task.calls.is_empty()).then(|| calls(&task.calls)));
    all
}

fn records(task: &Task) -> ([u8; 4], Vec<u8>) {
    let mut out = Vec::new();
    put(&mut out, task.tid.into());
    put(&mut out, task.parent.into());
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    put(
        &mut out,
        flag(task.overflowed, FLAG_OVERFLOWED) | flag(task.unique, FLAG_UNIQUE),
    );
    put_text(&mut out, &task.name);
    put_text(&mut out, task.problem.as_deref().unwrap_or_default());
    put(&mut out, task.records.len() as u64);
    let mut before = 0;
    let mut put_pc = |out: &mut Vec<u8>, pc: u64| {
        put_difference(out, before, pc);
        before = pc;
    };
    match &task.records {
        Records::Pcs(pcs) => {
            for pc in pcs {
                put_pc(&mut out, *pc);
            }
            (TAG_PCS, out)
        }
        Records::Comparisons(comparisons) => {
            for comparison in comparisons {
                put(&mut out, comparison.kind());
                put(&mut out, comparison.left);
                put(&mut out, comparison.right);
                put_pc(&mut out, comparison.pc);
            }
            (TAG_COMPARISONS, out)
        }
        Records::Edges(edges) => {
            for edge in edges {
                put_pc(&mut out, edge.previous);
                put_pc(&mut out, edge.pc);
            }
            (TAG_EDGES, out)
        }
    }
}

fn gaps(gaps: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, gaps.len() as u64);
    for gap in gaps {
        put(&mut out, *gap as u64);
    }
    out
}

fn calls(calls: &[SystemCall]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, calls.len() as u64);
    for call in calls {
        put(&mut out, call.start as u64);
        put(&mut out, (call.end - call.start) as u64);
        put(&mut out, call.interface.into());
        put(&mut out, call.number);
        for argument in call.arguments {
            put(&mut out, argument);
        }
        put(&mut out, call.result.is_some().into());
        put_difference(&mut out, 0, call.result.unwrap_or(0) as u64);
    }
    out
}

/// Reads a section. It is a task's first section, which is added to the list, or one about the last
/// task of the list. Returns `None` if it makes no sense. Sections that are not known are ignored.
pub(super) fn add(tasks: &mut Vec<Task>, tag: [u8; 4], contents: &[u8]) -> Option<()> {
    let mut cursor = Cursor::new(contents);
    match tag {
        TAG_PCS | TAG_COMPARISONS | TAG_EDGES => tasks.push(task(&mut cursor, tag)?),
        TAG_TEST => tasks.last_mut()?.test = String::from_utf8(contents.to_vec()).ok()?,
        TAG_GAPS => {
            let task = tasks.last_mut()?;
            task.gaps = read_gaps(&mut cursor, task.records.len())?;
        }
        TAG_CALLS => {
            let task = tasks.last_mut()?;
            task.calls = read_calls(&mut cursor, task.records.len())?;
        }
        _ => {}
    }
    Some(())
}

fn task(cursor: &mut Cursor<'_>, tag: [u8; 4]) -> Option<Task> {
    let tid = u32::try_from(cursor.number()?).ok()?;
    let parent = u32::try_from(cursor.number()?).ok()?;
    let flags = cursor.number()?;
    let name = cursor.text()?;
    let problem = Some(cursor.text()?).filter(|text| !text.is_empty());
    let count = cursor.length()?;
    // Every record takes at least one byte, so a forged count cannot reserve more memory than the
    // file has.
    if count > cursor.remaining() {
        return None;
    }
    let records = read_records(cursor, tag, count)?;
    Some(Task {
        tid,
        parent,
        name,
        overflowed: flags & FLAG_OVERFLOWED != 0,
        unique: flags & FLAG_UNIQUE != 0,
        problem,
        records,
        ..Task::default()
    })
}

fn read_records(cursor: &mut Cursor<'_>, tag: [u8; 4], count: usize) -> Option<Records> {
    let mut before = 0;
    let mut next_pc = |cursor: &mut Cursor<'_>| {
        before = cursor.difference(before)?;
        Some(before)
    };
    let all = 0..count;
    Some(match tag {
        TAG_PCS => Records::Pcs(all.map(|_| next_pc(cursor)).collect::<Option<_>>()?),
        TAG_COMPARISONS => {
            let mut comparison = || {
                let (kind, left, right) = (cursor.number()?, cursor.number()?, cursor.number()?);
                Some(Comparison::from_raw(kind, left, right, next_pc(cursor)?))
            };
            Records::Comparisons(all.map(|_| comparison()).collect::<Option<_>>()?)
        }
        TAG_EDGES => {
            let mut edge = || {
                let previous = next_pc(cursor)?;
                let pc = next_pc(cursor)?;
                Some(Edge { previous, pc })
            };
            Records::Edges(all.map(|_| edge()).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// Reads numbers of records, which must ascend and be those of the task.
fn read_gaps(cursor: &mut Cursor<'_>, records: usize) -> Option<Vec<usize>> {
    let count = cursor.length().filter(|count| *count <= cursor.remaining())?;
    let mut least = 0;
    let mut gap = || {
        let gap = cursor.length().filter(|gap| (least..=records).contains(gap))?;
        least = gap;
        Some(gap)
    };
    (0..count).map(|_| gap()).collect()
}

/// Reads system calls, which must follow each other.
fn read_calls(cursor: &mut Cursor<'_>, records: usize) -> Option<Vec<SystemCall>> {
    let count = cursor.length().filter(|count| *count <= cursor.remaining())?;
    let mut least = 0;
    let mut call = || {
        let start = cursor
            .length()
            .filter(|start| (least..=records).contains(start))?;
        let end = start
            .checked_add(cursor.length()?)
            .filter(|end| *end <= records)?;
        least = end;
        let interface = u32::try_from(cursor.number()?).ok()?;
        let number = cursor.number()?;
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            *argument = cursor.number()?;
        }
        let returned = cursor.number()? != 0;
        let result = cursor.difference(0)? as i64;
        Some(SystemCall {
            start,
            end,
            interface,
            number,
            arguments,
            result: returned.then_some(result),
        })
    };
    (0..count).map(|_| call()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(start: usize, end: usize, result: Option<i64>) -> SystemCall {
        SystemCall {
            start,
            end,
            interface: 0xc000_003e,
            number: 257,
            arguments: [1, u64::MAX, 3, 4, 5, 6],
            result,
        }
    }

    fn sample() -> Task {
        Task {
            tid: 12,
            test: "fsx".into(),
            unique: true,
            records: Records::Pcs(vec![1, 2, 3]),
            gaps: vec![0, 2, 3],
            calls: vec![call(0, 2, Some(-2)), call(2, 3, None)],
            ..Task::default()
        }
    }

    fn read(sections: &[([u8; 4], Vec<u8>)]) -> Option<Vec<Task>> {
        let mut tasks = Vec::new();
        for (tag, contents) in sections {
            add(&mut tasks, *tag, contents)?;
        }
        Some(tasks)
    }

    #[test]
    fn what_is_known_of_a_task_survives() {
        assert_eq!(read(&sections(&sample())), Some(vec![sample()]));
    }

    fn edges() -> Records {
        let edge = |(previous, pc)| Edge { previous, pc };
        Records::Edges([(0, 1), (1, 2), (2, 3)].map(edge).to_vec())
    }

    #[test]
    fn edges_survive_with_what_is_known_of_them() {
        let task = Task {
            records: edges(),
            ..sample()
        };
        // The next sections are about the last task.
        let all = [sections(&sample()), sections(&task)].concat();
        assert_eq!(read(&all), Some(vec![sample(), task]));
    }

    #[test]
    fn edge_without_its_pc_is_refused() {
        let task = Task {
            records: edges(),
            ..Task::default()
        };
        let (tag, contents) = sections(&task).remove(0);
        let cut = contents[..contents.len() - 1].to_vec();
        assert_eq!(read(&[(tag, cut)]), None);
    }

    #[test]
    fn places_move_along_with_edges() {
        let mut task = Task {
            records: edges(),
            ..sample()
        };
        task.retain(|_, pc| pc != 2);
        let edge = |(previous, pc)| Edge { previous, pc };
        assert_eq!(task.records, Records::Edges([(0, 1), (2, 3)].map(edge).to_vec()));
        assert_eq!(task.gaps, [0, 1, 2]);
        assert_eq!(task.calls, [call(0, 1, Some(-2)), call(1, 2, None)]);
    }

    #[test]
    fn places_move_along_with_records() {
        let mut task = sample();
        task.retain(|number, pc| number != 1 && pc != 3);
        assert_eq!(task.records, Records::Pcs(vec![1]));
        assert_eq!(task.gaps, [0, 1, 1]);
        assert_eq!(task.calls, [call(0, 1, Some(-2)), call(1, 1, None)]);
    }

    #[test]
    fn places_outside_of_the_records_are_refused() {
        for change in [
            |task: &mut Task| task.gaps = vec![4],
            |task: &mut Task| task.gaps = vec![2, 1],
            |task: &mut Task| task.calls = vec![call(0, 4, None)],
            |task: &mut Task| task.calls = vec![call(0, 2, None), call(1, 3, None)],
        ] {
            let mut task = sample();
            change(&mut task);
            assert_eq!(read(&sections(&task)), None, "{task:?}");
        }
        // Sections without a task before them.
        assert_eq!(read(&sections(&sample())[1..]), None);
    }
}
