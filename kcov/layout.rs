// SPDX-License-Identifier: GPL-2.0

//! The layout of a buffer or an area: its traces, and what it knows about PCs that were recorded.
//!
//! In the plain modes, the whole memory is one trace. With both kinds of records it has two traces,
//! one after the other. To record each PC once, the front of a buffer holds a [`Set`], and the end
//! of an area holds a [`Filter`]. To record each edge once, the memory holds [`Edges`].

#![expect(unsafe_code)]

use crate::{
    edges::{Appended, Edge, Edges, FAST_CAPACITY as EDGES},
    filter::Filter,
    memory::{Memory, Volatile},
    mode::{Mode, UNIQUE},
    records::{self, Kind, Records, Trace, WORD},
    set::{direct_position, position, Set},
};
use core::{mem::offset_of, ptr};
use kernel::{prelude::*, sync::barrier};

/// The number of attempts to reset another task's records, and the number of loads after each,
/// which take a microsecond or two.
const RESET_ATTEMPTS: u32 = 4;
const RESET_LOADS: u32 = 2000;

/// The layout of memory, and the number of records that did not fit.
///
/// The traces, the set and the filter are parts of one piece of memory and do not overlap.
///
/// If there are edges, `pcs` is the trace that a hook finds in the fast path: it begins with the
/// header of the edges, and its capacity is [`EDGES`]. Its count is 0 if nothing is recorded, and
/// setting it to 0 is a reset.
///
/// `filter.busy` is not 0 while a hook is between its read of the count and its record. An
/// interrupt that is not yet recognised as one would set the bits of its PCs then, and the hook
/// would overwrite the records of these PCs.
#[repr(C)]
pub(crate) struct Layout {
    set: Set,
    pcs: Trace,
    filter: Filter,
    comparisons: Trace,
    /// Written by one task or under one lock. Other tasks may read it at the same time, and set it
    /// to 0 when they reset the trace.
    dropped: Volatile<usize>,
    /// The trace for the fast path of a hook.
    fast: Trace,
    edges: Edges,
}

// SAFETY: The pointers lead to memory of the layout's owner, and the owner lets only one CPU at a
// time write to it.
unsafe impl Send for Layout {}

impl Layout {
    /// The number of bytes at the start that a hook reads to record a PC.
    pub(crate) const BYTES_FOR_PCS: usize = offset_of!(Self, comparisons);

    /// Returns a layout without memory.
    pub(crate) const fn nothing() -> Self {
        Self {
            set: Set::NONE,
            pcs: Trace::NONE,
            filter: Filter::none(),
            comparisons: Trace::NONE,
            dropped: Volatile::new(0),
            fast: Trace::NONE,
            edges: Edges::none(),
        }
    }

    /// Lays out a buffer. In the modes that have two parts, `front` is the size of the first part
    /// in words.
    ///
    /// Returns [`EINVAL`] if a part is too small for a record.
    pub(crate) fn of_buffer(mode: Mode, memory: Memory, front: usize) -> Result<Self> {
        if mode.is_plain() {
            return Ok(Self::plain(mode, memory));
        }
        if mode == Mode::Edge {
            return Self::with_edges(Edges::new(memory, front)).ok_or(EINVAL);
        }
        let parts = memory.split_at(front).ok_or(EINVAL)?;
        let (layout, fits) = if UNIQUE && mode == Mode::Unique {
            let layout = Self {
                set: Set::new(parts.0),
                pcs: Trace::new(Kind::Pc, parts.1),
                ..Self::nothing()
            };
            (layout, front > 0)
        } else {
            let layout = Self::with_both(parts);
            // Comparisons consist of 64-bit words.
            let aligned = (front * WORD) % size_of::<u64>() == 0;
            let fits = mode != Mode::Unique && layout.comparisons.capacity() > 0 && aligned;
            (layout, fits)
        };
        if !fits || layout.pcs.capacity() == 0 {
            return Err(EINVAL);
        }
        Ok(layout)
    }

    /// Prepares the layout of a plain mode for another recording, as if it were new.
    pub(crate) fn restart(&self) {
        self.filter.busy.set(0);
        self.dropped.set(0);
    }

    /// Lays out an area, and resets its counts.
    pub(crate) fn of_area(mode: Mode, memory: Memory) -> Self {
        let halves = || memory.split_at(memory.words() / 2);
        let layout = match mode {
            Mode::Pc | Mode::Cmp => Self::plain(mode, memory),
            Mode::Unique => Self::with_filter(memory),
            Mode::PcCmp => halves().map_or(Self::nothing(), Self::with_both),
            Mode::Edge => Self::with_edges(Edges::in_area(memory)).unwrap_or(Self::nothing()),
        };
        layout.reset_counts();
        layout
    }

    fn plain(mode: Mode, memory: Memory) -> Self {
        if mode == Mode::Cmp {
            let comparisons = Trace::new(Kind::Comparison, memory);
            Self {
                comparisons,
                fast: comparisons,
                ..Self::nothing()
            }
        } else {
            let pcs = Trace::new(Kind::Pc, memory);
            Self {
                pcs,
                // A trace for one PC must not be taken for edges. The layout records that PC, too.
                fast: match pcs.capacity() {
                    EDGES => Trace::NONE,
                    _ => pcs,
                },
                ..Self::nothing()
            }
        }
    }

    /// Makes a trace of PCs in the first part, and a trace of comparisons in the second.
    fn with_both((front, back): (Memory, Memory)) -> Self {
        Self {
            pcs: Trace::new(Kind::Pc, front),
            comparisons: Trace::new(Kind::Comparison, back),
            ..Self::nothing()
        }
    }

    fn with_edges(edges: Option<Edges>) -> Option<Self> {
        let edges = edges?;
        Some(Self {
            pcs: edges.fast_path(),
            fast: edges.fast_path(),
            edges,
            ..Self::nothing()
        })
    }

    /// Makes a trace of PCs with a filter after it; only the trace if the memory is too small for
    /// both.
    fn with_filter(memory: Memory) -> Self {
        let Some((front, filter)) = Filter::at_end_of(memory) else {
            return Self::plain(Mode::Pc, memory);
        };
        Self {
            pcs: Trace::new(Kind::Pc, front),
            filter,
            ..Self::nothing()
        }
    }

    /// Returns the trace for the fast path of a hook: its start, and its capacity in records. In
    /// divided memory, the capacity is 0, so the hook asks the layout.
    pub(crate) fn fast_path(&self) -> (*mut u8, usize) {
        (self.fast.start(), self.fast.capacity())
    }

    /// Records a canonical PC that did not fit in the fast path, unless it has been recorded
    /// already. Counts it as dropped if it does not fit here either.
    ///
    /// A PC of an interrupt that is not yet recognised as one may be left out, as if the interrupt
    /// had not occurred yet.
    #[inline(always)]
    pub(crate) fn push_pc(&self, pc: usize) {
        let direct = direct_position(pc);
        if self.set.has_direct(direct) {
            return;
        }
        let has_set = self.set.words() != 0;
        if !has_set && !self.filter.exists() {
            let (words, count) = self.end_of_pcs();
            return self.push_new(words, count, pc);
        }
        // ORDERING: Orders against interrupts of this CPU, here and at the end of the function;
        // volatile accesses keep their order.
        let busy = &self.filter.busy;
        if busy.get() != 0 {
            return;
        }
        busy.set(1);
        if has_set {
            self.push_to_set(pc, position(pc, direct));
        } else {
            let (words, count) = self.end_of_pcs();
            if !self.filter.has(self.pcs, count, pc) {
                self.push_new(words, count, pc);
            }
        }
        busy.set(0);
    }

    /// Returns the start of the trace of PCs, and its count.
    #[inline(always)]
    fn end_of_pcs(&self) -> (*mut usize, usize) {
        let words = self.pcs.start().cast::<usize>();
        // SAFETY: By the invariant of `Trace`.
        (words, unsafe { Volatile::at(words, 0) }.get())
    }

    /// Records a PC that is not in the set, and puts it there, or counts it as dropped. A PC that
    /// does not fit now must be recorded when it fits.
    #[inline(always)]
    fn push_to_set(&self, pc: usize, position: usize) {
        let bit = self.set.bit(position);
        if bit.as_ref().is_some_and(|bit| bit.is_set()) {
            return;
        }
        let (words, count) = self.end_of_pcs();
        if count >= self.pcs.capacity() {
            return self.drop_records(1);
        }
        if let Some(bit) = bit {
            bit.set();
        }
        // SAFETY: `count` is less than the capacity, so one more PC fits.
        unsafe { records::write_pc(words, count, pc) };
    }

    /// Records a PC, or counts it as dropped. `words` and `count` come from
    /// [`Layout::end_of_pcs`].
    #[inline(always)]
    fn push_new(&self, words: *mut usize, count: usize, pc: usize) {
        if count >= self.pcs.capacity() {
            return self.drop_records(1);
        }
        // SAFETY: `count` is less than the capacity, so one more PC fits.
        unsafe { records::write_pc(words, count, pc) };
    }

    /// Records the edge to a canonical PC, unless it is known. Counts it as dropped if it does not
    /// fit. `last` is the first word of `words`.
    ///
    /// # Safety
    ///
    /// The layout has edges, and `words` is where they start.
    #[inline(always)]
    pub(crate) unsafe fn push_edge(&self, words: *mut usize, last: usize, pc: usize) {
        // SAFETY: By this function's requirement.
        if unsafe { self.edges.push(words, last, pc, &self.filter.busy) } {
            self.drop_records(1);
        }
    }

    /// Prepares the memory of a buffer for a recording that goes on after the records that are
    /// there.
    pub(crate) fn prepare(&self) {
        self.edges.prepare();
    }

    /// Runs `body` like an interrupt that occurs while a hook is busy.
    #[cfg(all(CONFIG_KCOV_KUNIT_TEST, CONFIG_KCOV_UNIQUE))]
    pub(crate) fn while_busy(&self, body: impl FnOnce()) {
        self.filter.busy.set(1);
        body();
        self.filter.busy.set(0);
    }

    /// Returns the trace for comparisons that do not fit in the fast path: its start, and its
    /// capacity in records.
    #[inline(always)]
    #[cfg_attr(not(CONFIG_KCOV_ENABLE_COMPARISONS), allow(dead_code))]
    pub(crate) fn trace_of_comparisons(&self) -> (*mut u64, u64) {
        (
            self.comparisons.start().cast(),
            self.comparisons.capacity() as u64,
        )
    }

    /// Counts `number` records that did not fit.
    #[inline(always)]
    pub(crate) fn drop_records(&self, number: usize) {
        self.dropped.set(self.dropped.get().wrapping_add(number));
    }

    /// Returns the number of records that did not fit.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped.get()
    }

    pub(crate) fn trace(&self, kind: Kind) -> Trace {
        match kind {
            Kind::Pc => self.pcs,
            Kind::Comparison => self.comparisons,
        }
    }

    /// Sets the counts to 0, including the count of dropped records.
    pub(crate) fn reset_counts(&self) {
        for kind in [Kind::Pc, Kind::Comparison] {
            self.trace(kind).set_count(kind, 0);
        }
        self.dropped.set(0);
    }

    fn counts(&self) -> [usize; 3] {
        let [pcs, comparisons] =
            [Kind::Pc, Kind::Comparison].map(|kind| self.trace(kind).count(kind));
        [pcs, comparisons, self.dropped()]
    }

    /// Does the same while a task on another CPU may record into this memory.
    ///
    /// A hook of that task reads a count and stores the next one. If a reset comes in between, the
    /// store undoes it: all old records are there again. So this waits for longer than a hook takes
    /// and repeats the reset if a count is not less than before. A hook that is interrupted in
    /// between can still undo the reset later. The memory is as valid then as without the reset.
    pub(crate) fn reset_counts_of_other_task(&self) {
        let before = self.counts();
        let generation = self.edges.generation();
        for _ in 0..RESET_ATTEMPTS {
            self.reset_counts();
            // An emulator with one thread for all CPUs answers `spin_loop()` by running another
            // CPU, for as long as a tenth of a second.
            for _ in 0..RESET_LOADS {
                self.dropped.get();
            }
            let undone = if self.edges.exist() {
                self.edges.go_on(generation)
            } else {
                let undone = |(before, now)| before > 0 && now >= before;
                before.into_iter().zip(self.counts()).any(undone)
            };
            if !undone {
                break;
            }
        }
    }

    pub(crate) fn set(&self) -> &Set {
        &self.set
    }

    /// Returns whether the layout has records, or records that did not fit.
    #[inline(always)]
    pub(crate) fn has_records(&self) -> bool {
        [Kind::Pc, Kind::Comparison]
            .into_iter()
            .any(|kind| self.trace(kind).count(kind) > 0)
            || self.dropped() > 0
    }

    /// Returns the records of one kind.
    ///
    /// # Safety
    ///
    /// Nothing writes to the trace while the result lives.
    pub(crate) unsafe fn records(&self, kind: Kind) -> Records<'_> {
        // SAFETY: By this function's requirement; the trace is the one for `kind`.
        unsafe { self.trace(kind).records(kind) }
    }

    /// Returns the edges.
    ///
    /// # Safety
    ///
    /// Nothing writes to the memory while the result lives.
    pub(crate) unsafe fn edges(&self) -> &[Edge] {
        // SAFETY: By this function's requirement.
        unsafe { self.edges.records() }
    }

    /// Appends records `from..` of `source`, at most `limit` of them. Returns the number of records
    /// that are done, whether they were appended or not.
    ///
    /// Only one CPU at a time may append: callers hold the descriptor's lock.
    pub(crate) fn append(&self, source: &Records<'_>, from: usize, limit: usize) -> usize {
        let kind = source.kind();
        let trace = self.trace(kind);
        let number = source.count().saturating_sub(from).min(limit);
        if trace.capacity() == 0 {
            self.drop_records(number);
            return number;
        }
        let count = trace.count(kind).min(trace.capacity());
        let added = if self.set.words() != 0 {
            self.append_unseen(&source.pcs()[from..from + number], count)
        } else {
            let added = number.min(trace.capacity() - count);
            let (from, to) = (source.record(from), trace.record(kind, count));
            // SAFETY: `count + added` is at most the capacity, and `from + added` at most the
            // number of records. Source and destination are different allocations.
            unsafe { ptr::copy_nonoverlapping(from, to, added * kind.record_bytes()) };
            self.drop_records(number - added);
            added
        };
        if added > 0 {
            // ORDERING: The records before the count. Pairs with the acquire load of the count in
            // user space, which the documentation of the interface demands.
            barrier::smp_mb(barrier::Write);
            trace.set_count(kind, count + added);
        }
        number
    }

    /// Appends the edges that the table does not know. Callers hold the descriptor's lock, as for
    /// `append`.
    pub(crate) fn append_edges(&self, edges: &[Edge]) {
        if !self.edges.exist() || edges.is_empty() {
            return self.drop_records(edges.len());
        }
        let before = self.edges.count_to_append();
        let mut count = before;
        for &edge in edges {
            match self.edges.append(edge, count) {
                Appended::Known => {}
                Appended::New => count += 1,
                Appended::Full => self.drop_records(1),
            }
        }
        if count > before {
            // ORDERING: As in `append`.
            barrier::smp_mb(barrier::Write);
            self.edges.set_count(count);
        }
    }

    /// Copies the PCs that are not in the set to the records after the first `count`, and puts them
    /// into the set. Returns the number of copied PCs.
    fn append_unseen(&self, pcs: &[usize], count: usize) -> usize {
        let mut added = 0;
        for &pc in pcs {
            let bit = self.set.bit(position(pc, direct_position(pc)));
            if bit.as_ref().is_some_and(|bit| bit.is_set()) {
                continue;
            }
            if count + added >= self.pcs.capacity() {
                self.drop_records(1);
                continue;
            }
            if let Some(bit) = bit {
                bit.set();
            }
            let record = self.pcs.record(Kind::Pc, count + added).cast::<usize>();
            // SAFETY: The trace has space for the record.
            unsafe { Volatile::at(record, 0) }.set(pc);
            added += 1;
        }
        added
    }
}
