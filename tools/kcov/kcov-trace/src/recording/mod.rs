// SPDX-License-Identifier: GPL-2.0
//! Recordings: collected records, with all data that is needed to interpret them on another
//! machine.
//!
//! `FORMAT.md` describes the file's format.

mod boots;
mod encoding;
mod kernel;
mod names;
mod read;
mod tasks;
mod write;

use std::collections::HashSet;
use std::path::Path;

use kcov::{Comparison, Edge};

pub use kernel::{Kernel, Module, build_id};
pub use names::Name;
pub use read::{ReadError, read, read_bytes};
pub use write::write;

/// The PC before the first one, in an edge.
pub const NO_PC: u64 = 0;

/// The result of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The kernel that ran.
    pub kernel: Kernel,
    /// The traced command; empty if no command was traced.
    pub command: Vec<String>,
    /// The records of each task.
    pub tasks: Vec<Task>,
    /// The functions that PCs are in, as the running kernel named them, by address; empty if they
    /// are not known.
    pub names: Vec<Name>,
}

/// The records of one task, or of a set of remote handles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its thread id; 0 if the records belong to no task.
    pub tid: u32,
    /// The thread id of the task that made it; 0 if that is unknown.
    pub parent: u32,
    /// The last name of the task, or a description of the records.
    pub name: String,
    /// The test that the task is a part of; empty if it is not known.
    pub test: String,
    /// Set if its buffer was full at some time, so that records are missing.
    pub overflowed: bool,
    /// Set if each record is there once, so that the order of PCs tells nothing.
    pub unique: bool,
    /// The reason why it could not be traced, if it could not.
    pub problem: Option<String>,
    /// Its records.
    pub records: Records,
    /// The places where records are missing, ascending: the numbers of records that follow.
    pub gaps: Vec<usize>,
    /// The system calls that were recorded, in order; empty if they were not recorded.
    pub calls: Vec<SystemCall>,
}

/// A system call of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemCall {
    /// The number of the first record that belongs to it.
    pub start: usize,
    /// The number of the first record after it.
    pub end: usize,
    /// The interface that the call was made by, as `AUDIT_ARCH_*` of `linux/audit.h`.
    pub interface: u32,
    /// The number of the call.
    pub number: u64,
    /// The arguments, also those that the call does not have.
    pub arguments: [u64; 6],
    /// The result; `None` if the call did not return.
    pub result: Option<i64>,
}

/// The records of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// PCs, in order.
    Pcs(Vec<u64>),
    /// Comparisons, in order.
    Comparisons(Vec<Comparison>),
    /// Edges, each once, in the order in which they first came.
    Edges(Vec<Edge>),
}

impl Default for Records {
    fn default() -> Self {
        Self::Pcs(Vec::new())
    }
}

impl Records {
    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Pcs(pcs) => pcs.len(),
            Self::Comparisons(comparisons) => comparisons.len(),
            Self::Edges(edges) => edges.len(),
        }
    }

    /// Returns whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the PCs that ran: of edges, each PC once, in the order in which they first came, as in
    /// a recording of each PC once. Comparisons have none.
    pub fn pcs(&self) -> impl Iterator<Item = u64> + '_ {
        let (pcs, edges) = match self {
            Self::Pcs(pcs) => (pcs.as_slice(), [].as_slice()),
            Self::Edges(edges) => ([].as_slice(), edges.as_slice()),
            Self::Comparisons(_) => ([].as_slice(), [].as_slice()),
        };
        let mut seen = HashSet::new();
        let of_edges = edges
            .iter()
            .map(|edge| edge.pc)
            .filter(move |pc| seen.insert(*pc));
        pcs.iter().copied().chain(of_edges)
    }

    /// Returns all PCs, also those of comparisons, and those before the PCs of edges. A PC may be
    /// there several times.
    pub fn all_pcs(&self) -> impl Iterator<Item = u64> + '_ {
        let (pcs, comparisons, edges) = match self {
            Self::Pcs(pcs) => (pcs.as_slice(), [].as_slice(), [].as_slice()),
            Self::Comparisons(all) => ([].as_slice(), all.as_slice(), [].as_slice()),
            Self::Edges(edges) => ([].as_slice(), [].as_slice(), edges.as_slice()),
        };
        let of_edges = edges
            .iter()
            .flat_map(|edge| [edge.previous, edge.pc])
            .filter(|pc| *pc != NO_PC);
        let of_comparisons = comparisons.iter().map(|comparison| comparison.pc);
        pcs.iter().copied().chain(of_comparisons).chain(of_edges)
    }

    /// Changes all PCs, those that [`all_pcs`](Self::all_pcs) returns.
    pub fn change_pcs(&mut self, mut change: impl FnMut(&mut u64)) {
        match self {
            Self::Pcs(pcs) => pcs.iter_mut().for_each(change),
            Self::Comparisons(all) => all
                .iter_mut()
                .map(|comparison| &mut comparison.pc)
                .for_each(change),
            Self::Edges(edges) => {
                for edge in edges {
                    if edge.previous != NO_PC {
                        change(&mut edge.previous);
                    }
                    change(&mut edge.pc);
                }
            }
        }
    }
}

impl Task {
    /// Keeps the records for which `keep` returns true, given their numbers and PCs. What is known of
    /// places in the records is moved along.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, u64) -> bool) {
        // The number of records that are kept before each one.
        let mut before = Vec::with_capacity(self.records.len() + 1);
        let (mut number, mut kept) = (0, 0);
        let mut decide = |pc: u64| {
            let stays = keep(number, pc);
            before.push(kept);
            number += 1;
            kept += usize::from(stays);
            stays
        };
        match &mut self.records {
            Records::Pcs(pcs) => pcs.retain(|pc| decide(*pc)),
            Records::Comparisons(all) => all.retain(|comparison| decide(comparison.pc)),
            Records::Edges(edges) => edges.retain(|edge| decide(edge.pc)),
        }
        before.push(kept);
        for gap in &mut self.gaps {
            *gap = before[*gap];
        }
        for call in &mut self.calls {
            (call.start, call.end) = (before[call.start], before[call.end]);
        }
    }
}

impl Recording {
    /// Takes the names of the functions from a list such as `/proc/kallsyms` of the kernel that ran.
    pub fn add_names(&mut self, list: &Path) {
        let pcs = self.all_pcs().collect();
        self.names = names::names(&self.kernel, list, &pcs);
    }

    /// Adds the names of another recording of the same kernel and boot.
    pub fn add_names_of(&mut self, other: Vec<Name>) {
        self.names.extend(other);
        self.names.sort();
        self.names.dedup();
    }

    /// Returns the PCs that ran in all tasks, as [`Records::pcs`] does for each.
    pub fn pcs(&self) -> impl Iterator<Item = u64> + '_ {
        self.tasks.iter().flat_map(|task| task.records.pcs())
    }

    /// Returns all PCs of all tasks, as [`Records::all_pcs`] does for each.
    pub fn all_pcs(&self) -> impl Iterator<Item = u64> + '_ {
        self.tasks.iter().flat_map(|task| task.records.all_pcs())
    }

    /// Returns the comparisons of all tasks.
    pub fn comparisons(&self) -> impl Iterator<Item = &Comparison> + '_ {
        self.tasks
            .iter()
            .filter_map(|task| match &task.records {
                Records::Comparisons(comparisons) => Some(comparisons),
                Records::Pcs(_) | Records::Edges(_) => None,
            })
            .flatten()
    }
}
