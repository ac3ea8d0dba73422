// SPDX-License-Identifier: GPL-2.0

//! Writes records on behalf of a hook.

#![expect(unsafe_code)]

use crate::{
    edges::FAST_CAPACITY as EDGES,
    layout::Layout,
    memory::Volatile,
    mode::UNIQUE,
    records::{canonical, write_comparison, write_pc, Comparison, COMPARISON_WORDS}, //
};
use core::{hint, intrinsics};

/// Writes the records of one hook.
///
/// The fast path writes to a trace that begins at `start`. Every other case, including the modes
/// that are not plain, appears as a full trace, and then the [`Layout`] decides. So the other cases
/// do not slow the fast path down.
///
/// # Invariants
///
/// `start` points to a count and space for `capacity` records of the kind that the recorder was
/// made for. They are valid until the hook that made the recorder returns. If the recorder is for
/// PCs, and `capacity` is [`EDGES`], the layout has edges, and `start` points to their header.
pub(crate) struct Recorder<D> {
    start: *mut u8,
    capacity: usize,
    layout: D,
}

impl<'a, D: Fn() -> &'a Layout> Recorder<D> {
    /// Makes a recorder; `layout` returns the layout to use when a record does not fit.
    ///
    /// # Safety
    ///
    /// The arguments fulfil the type's invariants.
    #[inline(always)]
    pub(crate) unsafe fn new(start: *mut u8, capacity: usize, layout: D) -> Self {
        // INVARIANT: By this function's requirements.
        Self {
            start,
            capacity,
            layout,
        }
    }

    /// Appends a PC, or counts it as dropped if it does not fit.
    ///
    /// The recorder must be one for PCs.
    #[inline(always)]
    pub(crate) fn push_pc(self, pc: usize) {
        let words = self.start.cast::<usize>();
        // SAFETY: The count is at the start of the trace.
        let count = unsafe { Volatile::at(words, 0) }.get();
        if intrinsics::likely(count < self.capacity) {
            // SAFETY: `count` is less than the capacity, so one more PC fits.
            return unsafe { write_pc(words, count, canonical(pc)) };
        }
        let layout = (self.layout)();
        if self.capacity == 0 {
            layout.push_pc(canonical(pc));
        } else if self.capacity != EDGES {
            // Only plain traces have space for more.
            layout.drop_records(1);
        } else if UNIQUE {
            // SAFETY: By the type invariant.
            unsafe { layout.push_edge(words, count, canonical(pc)) };
        }
    }

    /// Appends a comparison, or counts it as dropped if it does not fit.
    ///
    /// The recorder must be one for comparisons.
    #[inline(always)]
    pub(crate) fn push_comparison(self, comparison: Comparison) {
        let Some((first, _)) = self.reserve(1) else {
            return;
        };
        let pc = canonical(comparison.pc);
        // SAFETY: `reserve` found space for one record.
        unsafe { write_comparison(first, Comparison { pc, ..comparison }) };
    }

    /// Appends comparisons of `value` with each of `count` cases, as many as fit, and counts the
    /// others as dropped.
    ///
    /// The recorder must be one for comparisons.
    ///
    /// # Safety
    ///
    /// `cases` points to `count` values.
    #[inline(always)]
    pub(crate) unsafe fn push_cases(
        self,
        kind: u64,
        value: u64,
        cases: *const u64,
        count: u64,
        pc: usize,
    ) {
        let Some((first, fitting)) = self.reserve(count) else {
            return;
        };
        let pc = canonical(pc);
        let mut record = first;
        let mut case = cases;
        let end = cases.wrapping_add(fitting as usize);
        while case != end {
            // SAFETY: `fitting` is at most `count`.
            let arg1 = unsafe { case.read() };
            let comparison = Comparison {
                kind,
                arg1,
                arg2: value,
                pc,
            };
            // SAFETY: `reserve` found space for `fitting` records.
            unsafe { write_comparison(record, comparison) };
            record = record.wrapping_add(COMPARISON_WORDS);
            case = case.wrapping_add(1);
        }
    }

    /// Counts up to `wanted` records; returns the address of the first, and the number that fit.
    #[inline(always)]
    fn reserve(&self, wanted: u64) -> Option<(*mut u64, u64)> {
        let mut words = self.start.cast::<u64>();
        let mut capacity = self.capacity as u64;
        // SAFETY: The count is at the start of the trace.
        let mut count_word = unsafe { Volatile::at(words, 0) };
        let mut count = count_word.get();
        if intrinsics::unlikely(count >= capacity) {
            let layout = (self.layout)();
            (words, capacity) = layout.trace_of_comparisons();
            // SAFETY: As above.
            count_word = unsafe { Volatile::at(words, 0) };
            count = count_word.get();
            if count >= capacity {
                layout.drop_records(wanted as usize);
                return None;
            }
        }
        let free = capacity.wrapping_sub(count);
        let mut fitting = wanted;
        if intrinsics::unlikely(wanted > free) {
            (self.layout)().drop_records(wanted.wrapping_sub(free) as usize);
            // Prevents the compiler from storing the capacity itself as the new count, which the
            // check of the order of stores would not recognise.
            fitting = hint::black_box(free);
        }
        // The count is stored before the records: see `write_pc`.
        count_word.set(count.wrapping_add(fitting));
        let offset = (count as usize)
            .wrapping_mul(COMPARISON_WORDS)
            .wrapping_add(1);
        Some((words.wrapping_add(offset), fitting))
    }
}
