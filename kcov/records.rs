// SPDX-License-Identifier: GPL-2.0

//! Records, and how the hooks write them.
//!
//! A trace is a count and the records that it counts. A PC is one word, a comparison four of 64
//! bits: type, two operands, PC. The memory may be mapped by user space, which may write anything
//! to it at any time. So the count is read once per use, and taken for what it is, a number that
//! the user chose: it only ever selects a place inside the trace.

#![expect(unsafe_code)]

use crate::layout::Layout;
use core::{hint, intrinsics};
use kernel::{bindings, prelude::*};

/// The size of the interface's words, `unsigned long`.
pub(crate) const WORD: usize = size_of::<usize>();

/// The number of 64-bit words in the record of a comparison.
const COMPARISON_WORDS: usize = 4;

/// The kind of the records of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Pc,
    Comparison,
}

impl Kind {
    /// The number of records that fit into `words` words, the count included.
    pub(crate) const fn capacity(self, words: usize) -> usize {
        (words * WORD).saturating_sub(self.count_bytes()) / self.record_bytes()
    }

    /// The size of a record in bytes.
    pub(crate) const fn record_bytes(self) -> usize {
        match self {
            Kind::Pc => WORD,
            Kind::Comparison => size_of::<u64>() * COMPARISON_WORDS,
        }
    }

    /// The size of the count in bytes.
    pub(crate) const fn count_bytes(self) -> usize {
        match self {
            Kind::Pc => WORD,
            Kind::Comparison => size_of::<u64>(),
        }
    }
}

/// One comparison, as it is recorded.
pub(crate) struct Comparison {
    /// `KCOV_CMP_*` of the interface.
    pub(crate) kind: u64,
    pub(crate) arg1: u64,
    pub(crate) arg2: u64,
    /// The address after the call of the hook, at run time.
    pub(crate) pc: usize,
}

/// Where a hook writes.
///
/// In the usual case, that is a trace that begins at `start`. Whatever is not usual, which includes
/// modes other than the plain ones, looks like a trace that is full; what is to be done then is up
/// to the [`Layout`]. So the usual case pays nothing for the others.
///
/// # Invariants
///
/// `start` points to a count and room for `capacity` records of the kind that the recorder was made
/// for, valid until the hook that made it returns.
pub(crate) struct Recorder<D> {
    start: *mut u8,
    capacity: usize,
    layout: D,
}

impl<'a, D: Fn() -> &'a Layout> Recorder<D> {
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

    /// Appends a PC, or counts it as dropped if there is no room.
    ///
    /// The recorder is one for PCs.
    #[inline(always)]
    pub(crate) fn push_pc(self, pc: usize) {
        let words = self.start.cast::<usize>();
        let pc = canonical(pc);
        // SAFETY: The count is at the start.
        let count = unsafe { words.read_volatile() };
        if intrinsics::unlikely(count >= self.capacity) {
            (self.layout)().push_pc(pc);
            return;
        }
        // SAFETY: `count` is less than the capacity, so there is room for one more.
        unsafe { write_pc(words, count, pc) };
    }

    /// Appends a comparison, or counts it as dropped if there is no room.
    ///
    /// The recorder is one for comparisons.
    #[inline(always)]
    pub(crate) fn push_comparison(self, comparison: Comparison) {
        let Some((first, _)) = self.reserve(1) else {
            return;
        };
        let pc = canonical(comparison.pc);
        // SAFETY: `reserve` found room for one record.
        unsafe { write_comparison(first, Comparison { pc, ..comparison }) };
    }

    /// Appends a comparison of `value` with each of `count` cases, as far as they fit.
    ///
    /// The recorder is one for comparisons.
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
            // SAFETY: `fitting` is at most `count`, and `reserve` found room for that many records.
            unsafe {
                let comparison = Comparison {
                    kind,
                    arg1: case.read(),
                    arg2: value,
                    pc,
                };
                write_comparison(record, comparison);
            }
            record = record.wrapping_add(COMPARISON_WORDS);
            case = case.wrapping_add(1);
        }
    }

    /// Counts up to `wanted` records; returns where the first goes and how many there is room for.
    #[inline(always)]
    fn reserve(&self, wanted: u64) -> Option<(*mut u64, u64)> {
        let mut words = self.start.cast::<u64>();
        let mut capacity = self.capacity as u64;
        // SAFETY: The count is at the start.
        let mut count = unsafe { words.read_volatile() };
        if intrinsics::unlikely(count >= capacity) {
            let layout = (self.layout)();
            (words, capacity) = layout.place_for_comparisons();
            // SAFETY: As above.
            count = unsafe { words.read_volatile() };
            if count >= capacity {
                layout.drop_records(wanted as usize);
                return None;
            }
        }
        let free = capacity.wrapping_sub(count);
        let mut fitting = wanted;
        if intrinsics::unlikely(wanted > free) {
            (self.layout)().drop_records(wanted.wrapping_sub(free) as usize);
            // Keeps the compiler from storing the capacity as the new count, so that the check of
            // the order of the stores knows it as one.
            fitting = hint::black_box(free);
        }
        // The count first, see `write_pc`.
        //
        // SAFETY: As above.
        unsafe { words.write_volatile(count.wrapping_add(fitting)) };
        let offset = (count as usize)
            .wrapping_mul(COMPARISON_WORDS)
            .wrapping_add(1);
        Some((words.wrapping_add(offset), fitting))
    }
}

/// Writes a canonical PC behind the `count` ones of a trace, and counts it.
///
/// # Safety
///
/// `words` points to the count of a trace with room for `count + 1` PCs.
#[inline(always)]
pub(crate) unsafe fn write_pc(words: *mut usize, count: usize, pc: usize) {
    // An interrupt that is not recognised as one yet may call the hook between these stores. With
    // the count first, its record comes after this one; the other way round it would be
    // overwritten.
    //
    // ORDERING: Against code of this CPU only; volatile accesses keep their order. User space reads
    // both as the same task, or knows the record only after that task has stopped.
    //
    // SAFETY: By this function's requirement.
    unsafe {
        words.write_volatile(count.wrapping_add(1));
        words.wrapping_add(count).wrapping_add(1).write_volatile(pc);
    }
}

/// Writes a comparison whose PC is canonical.
///
/// # Safety
///
/// `record` points to room for a record.
#[inline(always)]
unsafe fn write_comparison(record: *mut u64, comparison: Comparison) {
    // SAFETY: By this function's requirement.
    unsafe {
        record.write_volatile(comparison.kind);
        record.wrapping_add(1).write_volatile(comparison.arg1);
        record.wrapping_add(2).write_volatile(comparison.arg2);
        record.wrapping_add(3).write_volatile(comparison.pc as u64);
    }
}

/// Turns an address of the running kernel into that of its symbol file.
#[inline(always)]
pub(crate) fn canonical(pc: usize) -> usize {
    if cfg!(CONFIG_RANDOMIZE_BASE) {
        // SAFETY: The variable is written once, before anything can be recorded.
        pc.wrapping_sub(unsafe { bindings::kcov_kaslr_offset })
    } else {
        pc
    }
}

/// Prepares [`canonical`], before anything is recorded.
pub(crate) fn init() {
    // SAFETY: Called once, at boot.
    unsafe { bindings::kcov_support_init() };
}
