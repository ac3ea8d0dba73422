// SPDX-License-Identifier: GPL-2.0

//! The format of records, and traces of them.
//!
//! A trace is a count and the records that it counts. A PC takes one word, a comparison four 64-bit
//! words: type, two operands, PC. User space may map the memory and may write anything to it at any
//! time. Therefore the count is read once per use and treated as a number that the user chose:
//! either it selects a record inside the trace, or the trace is taken to be full.

#![expect(unsafe_code)]

use crate::memory::{Memory, Volatile};
use core::marker::PhantomData;
use kernel::{bindings, prelude::*};

/// The size of the interface's words, `unsigned long`.
pub(crate) const WORD: usize = size_of::<usize>();

/// The number of 64-bit words in the record of a comparison.
pub(crate) const COMPARISON_WORDS: usize = 4;

/// The kind of records in a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Pc,
    Comparison,
}

impl Kind {
    /// Returns the number of records that fit into `words` words, which include the count.
    pub(crate) const fn capacity(self, words: usize) -> usize {
        (words * WORD).saturating_sub(self.count_bytes()) / self.record_bytes()
    }

    /// Returns the size of a record in bytes.
    pub(crate) const fn record_bytes(self) -> usize {
        match self {
            Kind::Pc => WORD,
            Kind::Comparison => size_of::<u64>() * COMPARISON_WORDS,
        }
    }

    /// Returns the size of the count in bytes.
    pub(crate) const fn count_bytes(self) -> usize {
        match self {
            Kind::Pc => WORD,
            Kind::Comparison => size_of::<u64>(),
        }
    }
}

/// One comparison to be recorded.
pub(crate) struct Comparison {
    /// The `KCOV_CMP_*` bits of the interface.
    pub(crate) kind: u64,
    pub(crate) arg1: u64,
    pub(crate) arg2: u64,
    /// The run-time address after the call of the hook.
    pub(crate) pc: usize,
}

/// A trace: a count, and space for records of one kind.
///
/// # Invariants
///
/// `start` points to a count and `capacity` records, which are valid while the trace is used. If
/// `capacity` is 0, the count is only read.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Trace {
    start: *mut u8,
    capacity: usize,
}

/// The count of traces that have no memory.
static NO_RECORDS: u64 = 0;

impl Trace {
    // INVARIANT: `NO_RECORDS` is a count.
    pub(crate) const NONE: Self = Self {
        start: (&raw const NO_RECORDS).cast_mut().cast(),
        capacity: 0,
    };

    /// Makes a trace of all of `memory`.
    pub(crate) fn new(kind: Kind, memory: Memory) -> Self {
        if memory.words() * WORD < kind.count_bytes() {
            return Self::NONE;
        }
        // INVARIANT: By the invariant of `Memory`.
        Self {
            start: memory.start().cast(),
            capacity: kind.capacity(memory.words()),
        }
    }

    #[inline(always)]
    pub(crate) fn start(self) -> *mut u8 {
        self.start
    }

    #[inline(always)]
    pub(crate) fn capacity(self) -> usize {
        self.capacity
    }

    /// Returns the count, which may exceed the capacity; 0 if the trace has no space for records.
    #[inline(always)]
    pub(crate) fn count(self, kind: Kind) -> usize {
        if self.capacity == 0 {
            return 0;
        }
        match kind {
            // SAFETY: By the type invariant.
            Kind::Pc => unsafe { Volatile::at(self.start.cast::<usize>(), 0) }.get(),
            Kind::Comparison => {
                // SAFETY: As above.
                let count = unsafe { Volatile::at(self.start.cast::<u64>(), 0) }.get();
                usize::try_from(count).unwrap_or(usize::MAX)
            }
        }
    }

    /// Sets the count, if the trace has space for records.
    #[inline(always)]
    pub(crate) fn set_count(self, kind: Kind, count: usize) {
        if self.capacity == 0 {
            return;
        }
        match kind {
            // SAFETY: By the type invariant.
            Kind::Pc => unsafe { Volatile::at(self.start.cast::<usize>(), 0) }.set(count),
            // SAFETY: As above.
            Kind::Comparison => unsafe { Volatile::at(self.start.cast(), 0) }.set(count as u64),
        }
    }

    /// Returns the address of record `index`.
    pub(crate) fn record(self, kind: Kind, index: usize) -> *mut u8 {
        let offset = kind.count_bytes() + index * kind.record_bytes();
        self.start.wrapping_add(offset)
    }

    /// Returns the records of the trace.
    ///
    /// # Safety
    ///
    /// `kind` is the kind of the trace. Nothing writes to the trace while the result lives.
    pub(crate) unsafe fn records<'a>(self, kind: Kind) -> Records<'a> {
        // INVARIANT: By the type invariant and this function's requirement.
        Records {
            start: self.start.wrapping_add(kind.count_bytes()),
            count: self.count(kind).min(self.capacity),
            kind,
            _area: PhantomData,
        }
    }
}

/// The records of an area.
///
/// # Invariants
///
/// `start` points to `count` records of `kind`, which do not change during `'a`.
pub(crate) struct Records<'a> {
    start: *const u8,
    count: usize,
    kind: Kind,
    _area: PhantomData<&'a u8>,
}

impl Records<'_> {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the address of record `index`.
    pub(crate) fn record(&self, index: usize) -> *const u8 {
        self.start.wrapping_add(index * self.kind.record_bytes())
    }

    /// Returns the records as PCs; an empty slice if they are comparisons.
    pub(crate) fn pcs(&self) -> &[usize] {
        if self.kind != Kind::Pc || self.count == 0 {
            return &[];
        }
        // SAFETY: By the type invariant.
        unsafe { core::slice::from_raw_parts(self.start.cast::<usize>(), self.count) }
    }
}

/// Writes a canonical PC after the first `count` PCs of a trace, and counts it.
///
/// # Safety
///
/// `words` points to the count of a trace with space for `count + 1` PCs.
#[inline(always)]
pub(crate) unsafe fn write_pc(words: *mut usize, count: usize, pc: usize) {
    // An interrupt that is not yet recognised as one may call the hook between these stores.
    // Because the count is stored first, the interrupt's record comes after this one; in the other
    // order, this one would overwrite it.
    //
    // ORDERING: Orders against code of this CPU only; volatile accesses keep their order. User
    // space reads both words as the same task, or learns of the record only after that task has
    // stopped.
    //
    // SAFETY: By this function's requirement.
    unsafe { Volatile::at(words, 0) }.set(count.wrapping_add(1));
    // SAFETY: As above.
    unsafe { Volatile::at(words, count.wrapping_add(1)) }.set(pc);
}

/// Writes a comparison whose PC is canonical.
///
/// # Safety
///
/// `record` points to space for a record.
#[inline(always)]
pub(crate) unsafe fn write_comparison(record: *mut u64, comparison: Comparison) {
    // SAFETY: By this function's requirement.
    let words = unsafe { &*record.cast::<[Volatile<u64>; COMPARISON_WORDS]>() };
    words[0].set(comparison.kind);
    words[1].set(comparison.arg1);
    words[2].set(comparison.arg2);
    words[3].set(comparison.pc as u64);
}

/// Converts an address of the running kernel into the address in its symbol file.
#[inline(always)]
pub(crate) fn canonical(pc: usize) -> usize {
    if cfg!(CONFIG_RANDOMIZE_BASE) {
        // SAFETY: The variable is written once, before anything can be recorded.
        pc.wrapping_sub(unsafe { bindings::kcov_kaslr_offset })
    } else {
        pc
    }
}

/// Prepares [`canonical`]. Must be called before anything is recorded.
pub(crate) fn init() {
    // SAFETY: Called once, at boot.
    unsafe { bindings::kcov_support_init() };
}
