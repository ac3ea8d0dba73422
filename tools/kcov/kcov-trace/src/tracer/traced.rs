// SPDX-License-Identifier: GPL-2.0
//! A task that is being traced, and what is taken from its buffer.

use std::collections::HashSet;
use std::fs;

use kcov::{Cmp, Edge, Kcov, Pc};

use super::buffer::{Layout, take, take_edges, take_unique};
use super::ptrace::{self, End, Tid};
use super::{Mode, Options};
use crate::recording::{Records, SystemCall};

/// A task that is being traced.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) kcov: Option<Kcov>,
    /// Set if its collection was started, or the attempt failed.
    pub(super) started: bool,
    /// Set if it has reported that it exits. Nothing is recorded for it after that.
    pub(super) exiting: bool,
    pub(super) parent: Tid,
    pub(super) name: String,
    pub(super) overflowed: bool,
    pub(super) problem: Option<String>,
    pub(super) records: Records,
    /// The numbers of records before which others are missing.
    pub(super) gaps: Vec<usize>,
    /// The system calls, if the task stops at each.
    pub(super) calls: Vec<SystemCall>,
    /// Set if the last of them has not returned.
    in_call: bool,
    /// The PCs recorded so far, if the buffer has a set: a set of this size has no bits for
    /// modules.
    pub(super) seen: HashSet<u64>,
    /// The edges recorded so far, if the buffer has a table: it forgets older ones.
    seen_edges: HashSet<Edge>,
}

impl Traced {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            kcov: None,
            started: false,
            exiting: false,
            parent: 0,
            name: String::new(),
            overflowed: false,
            problem: None,
            records: match options.mode {
                Mode::Pcs | Mode::UniquePcs => Records::Pcs(Vec::new()),
                Mode::Comparisons => Records::Comparisons(Vec::new()),
                Mode::Edges => Records::Edges(Vec::new()),
            },
            gaps: Vec::new(),
            calls: Vec::new(),
            in_call: false,
            seen: HashSet::new(),
            seen_edges: HashSet::new(),
        }
    }

    /// Records a system call that begins or returns. Its records were taken from the buffer.
    pub(super) fn note_call(&mut self, end: End) {
        let here = self.records.len();
        if let Some(last) = self.calls.last_mut().filter(|_| self.in_call) {
            last.end = here;
            if let End::Exit(result) = end {
                last.result = Some(result);
            }
        }
        self.in_call = false;
        if let End::Entry(call) = end {
            self.in_call = true;
            self.calls.push(SystemCall {
                start: here,
                end: here,
                ..call
            });
        }
    }

    /// Reads the current name of the task. The name may be missing at the exit, because a kill can
    /// take a task past the exit stop.
    pub(super) fn update_name(&mut self, tid: Tid) {
        let bytes = fs::read(format!("/proc/{tid}/comm")).unwrap_or_default();
        let name = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if !name.is_empty() {
            self.name = name;
        }
    }

    /// Empties the buffer of a task that has reported a stop, as [`Self::empty_buffer`] does.
    pub(super) fn empty_buffer_at_stop(&mut self, tid: Tid, from: usize, layout: Layout) {
        // The report arrives while the task still goes to sleep, in code that is recorded, too. Any
        // request waits for the end of that. A task that was killed does not answer: its records
        // are taken after it has exited.
        if self.kcov.is_some() && ptrace::event_message(tid).is_ok() {
            self.empty_buffer(from, layout);
        }
    }

    /// Takes the records from the buffer if it has at least `from` records; 0 means always. The
    /// task must be asleep or gone.
    pub(super) fn empty_buffer(&mut self, from: usize, layout: Layout) {
        let Some(kcov) = &mut self.kcov else { return };
        let overflowed = match &mut self.records {
            Records::Pcs(pcs) if layout.mode == Mode::UniquePcs => {
                take_unique(kcov, layout.front, from, &mut self.seen, pcs)
            }
            Records::Pcs(pcs) => take::<Pc>(kcov, from, pcs),
            Records::Comparisons(comparisons) => take::<Cmp>(kcov, from, comparisons),
            Records::Edges(edges) => take_edges(kcov, layout.front, from, &mut self.seen_edges, edges),
        };
        self.overflowed |= overflowed;
        if overflowed {
            self.gaps.push(self.records.len());
        }
    }
}
