// SPDX-License-Identifier: GPL-2.0
//! Recordings: what was collected, with all that is needed to make sense of it on another machine.
//!
//! The file's format is described in `FORMAT.md`.

mod encoding;
mod kernel;
mod read;
mod write;

use kcov::Comparison;

pub use kernel::{Kernel, Module, build_id};
pub use read::{ReadError, read, read_bytes};
pub use write::write;

/// Everything that one run collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The kernel that ran.
    pub kernel: Kernel,
    /// The command that was traced, if one was.
    pub command: Vec<String>,
    /// What each task collected.
    pub tasks: Vec<Task>,
}

/// What was collected for one task, or for a set of remote handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its thread id; 0 where the records belong to no task.
    pub tid: u32,
    /// The thread id of the task that made it, 0 if that was not seen.
    pub parent: u32,
    /// The name it had last, or what the records are of.
    pub name: String,
    /// Whether its buffer was full at some time, so that records are missing.
    pub overflowed: bool,
    /// Why it could not be traced, if it could not.
    pub problem: Option<String>,
    /// What it collected.
    pub records: Records,
}

/// The records of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// PCs, in order.
    Pcs(Vec<u64>),
    /// Comparisons, in order.
    Comparisons(Vec<Comparison>),
}

impl Records {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Pcs(pcs) => pcs.len(),
            Self::Comparisons(comparisons) => comparisons.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Recording {
    /// All PCs of all tasks, those of comparisons not among them.
    pub fn pcs(&self) -> impl Iterator<Item = u64> + '_ {
        self.tasks
            .iter()
            .filter_map(|task| match &task.records {
                Records::Pcs(pcs) => Some(pcs),
                Records::Comparisons(_) => None,
            })
            .flatten()
            .copied()
    }

    /// All comparisons of all tasks.
    pub fn comparisons(&self) -> impl Iterator<Item = &Comparison> + '_ {
        self.tasks
            .iter()
            .filter_map(|task| match &task.records {
                Records::Comparisons(comparisons) => Some(comparisons),
                Records::Pcs(_) => None,
            })
            .flatten()
    }
}
