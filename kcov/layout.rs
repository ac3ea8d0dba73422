// SPDX-License-Identifier: GPL-2.0

//! How the memory of a buffer or of an area is laid out: traces, and what is known of PCs that were
//! seen already.
//!
//! In the plain modes, all of it is one trace. With both kinds of records there are two traces, one
//! behind the other. To record each PC once, the front of a buffer holds a *set*, one bit for each
//! place in the kernel's code, and the end of an area a *filter*, which forgets, but is small.
//!
//! # The set
//!
//! The bit of a PC is at [`position`]: the distance from the start of the kernel's code, in steps
//! of [`STEP`] bytes. No instruction that calls a hook by its address is shorter than that, so no
//! two PCs share a bit, and no PC is taken for another. What does not fit into the set is recorded
//! every time.
//!
//! This needs no table: the position is a subtraction and a shift, it is the same in every boot of
//! a kernel (but for modules, which have other addresses then), and 64 bytes of the set are for
//! 2 KiB of code, so that functions next to each other use one cache line.

#![expect(unsafe_code)]

use crate::{
    mode::Mode,
    records::{self, Kind, WORD},
};
use core::{
    intrinsics,
    marker::PhantomData,
    ptr,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed}, //
};
use kernel::{bindings, prelude::*, sync::barrier};

/// How many bytes of code share a bit of the set. The shortest call of an address on any
/// architecture.
pub(crate) const STEP: usize = 4;

/// How many bytes of code share a word of the set.
const SET_WORD: usize = STEP * usize::BITS as usize;

/// The binary logarithm of how many words of an area there are for each slot of its filter. Half a
/// word each, so the filter takes an eighth of the area.
const FILTER_SHARE: u32 = 2;

/// The largest number of slots of a filter, as a binary logarithm: 16 KiB.
const MAX_FILTER_BITS: u32 = 12;

/// Whether there are sets and filters at all. Without them, the code that is for them is left out.
const UNIQUE: bool = cfg!(CONFIG_KCOV_UNIQUE);

/// A trace: a count, and room for so many records of one kind.
#[derive(Clone, Copy)]
#[repr(C)]
struct Trace {
    start: *mut u8,
    capacity: usize,
}

impl Trace {
    const NONE: Self = Self {
        start: ptr::null_mut(),
        capacity: 0,
    };

    fn new(kind: Kind, start: *mut usize, words: usize) -> Self {
        Self {
            start: start.cast(),
            capacity: kind.capacity(words),
        }
    }
}

/// How memory is laid out, and how many records it had no room for.
///
/// # Invariants
///
/// The traces with a capacity, the set and the filter are parts of one piece of memory that do not
/// overlap, which is valid as long as the layout is used: a trace has room for a count and
/// `capacity` records, the set has `set_words` words, `direct_words` or more, and the filter,
/// unless it is null, as many slots as 64 - `filter_shift` bits can number.
#[repr(C)]
pub(crate) struct Layout {
    set: *mut usize,
    /// How many words of the set are for code of the kernel image, and for nothing else.
    direct_words: usize,
    pcs: Trace,
    set_words: usize,
    filter: *mut u32,
    filter_shift: u32,
    /// Not 0 while a hook is between its look at the count and its record. An interrupt that is not
    /// recognised as one yet would set bits of PCs then, whose records that hook overwrites.
    busy: AtomicU32,
    comparisons: Trace,
    /// Not an `Atomic` of the `kernel` crate, whose operations are calls. Written by one task or
    /// under one lock.
    dropped: AtomicUsize,
}

// SAFETY: What the pointers lead to is memory of the owner of the layout, who sees to it that
// only one CPU at a time writes to it.
unsafe impl Send for Layout {}

/// The words that a pointer leads to, and how many.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) start: *mut usize,
    pub(crate) words: usize,
}

impl Layout {
    /// No memory, laid out for nothing.
    pub(crate) const fn nothing() -> Self {
        Self {
            set: ptr::null_mut(),
            direct_words: 0,
            pcs: Trace::NONE,
            set_words: 0,
            filter: ptr::null_mut(),
            filter_shift: 0,
            busy: AtomicU32::new(0),
            comparisons: Trace::NONE,
            dropped: AtomicUsize::new(0),
        }
    }

    /// Lays out a buffer. In the modes that have two parts, `front` is the size of the first one in
    /// words.
    ///
    /// [`EINVAL`] if a part has no room for anything.
    ///
    /// # Safety
    ///
    /// The memory is valid as long as the layout is used.
    pub(crate) unsafe fn of_buffer(mode: Mode, memory: Memory, front: usize) -> Result<Self> {
        if mode.is_plain() {
            return Ok(Self::plain(mode, memory));
        }
        let behind = memory.words.checked_sub(front).ok_or(EINVAL)?;
        // INVARIANT: By this function's requirement; the parts follow each other.
        let layout = if UNIQUE && mode == Mode::Unique {
            Self {
                set: memory.start,
                direct_words: front.min(text().size / SET_WORD),
                set_words: front,
                pcs: Trace::new(Kind::Pc, memory.start.wrapping_add(front), behind),
                ..Self::nothing()
            }
        } else {
            Self::with_both(memory, front)
        };
        let fits = match mode {
            Mode::Unique => UNIQUE && front > 0 && layout.pcs.capacity > 0,
            // Comparisons are of 64 bits.
            _ => {
                layout.pcs.capacity > 0
                    && layout.comparisons.capacity > 0
                    && (front * WORD) % size_of::<u64>() == 0
            }
        };
        if !fits {
            return Err(EINVAL);
        }
        Ok(layout)
    }

    /// Lays out an area, and resets its counts.
    ///
    /// # Safety
    ///
    /// As for [`Layout::of_buffer`]; nobody else uses the memory.
    pub(crate) unsafe fn of_area(mode: Mode, memory: Memory) -> Self {
        // INVARIANT: By this function's requirement.
        let layout = match mode {
            Mode::Pc | Mode::Cmp => Self::plain(mode, memory),
            Mode::Unique => Self::with_filter(memory),
            Mode::PcCmp => Self::with_both(memory, memory.words / 2),
        };
        layout.reset_counts();
        layout
    }

    fn plain(mode: Mode, memory: Memory) -> Self {
        if mode == Mode::Cmp {
            Self {
                comparisons: Trace::new(Kind::Comparison, memory.start, memory.words),
                ..Self::nothing()
            }
        } else {
            Self {
                pcs: Trace::new(Kind::Pc, memory.start, memory.words),
                ..Self::nothing()
            }
        }
    }

    /// A trace of PCs in the first `front` words, of which there are so many, and one of
    /// comparisons behind it.
    fn with_both(memory: Memory, front: usize) -> Self {
        Self {
            pcs: Trace::new(Kind::Pc, memory.start, front),
            comparisons: Trace::new(
                Kind::Comparison,
                memory.start.wrapping_add(front),
                memory.words - front,
            ),
            ..Self::nothing()
        }
    }

    /// A trace of PCs, and a filter behind it; only the trace if there is no room for both.
    fn with_filter(memory: Memory) -> Self {
        let bits = (memory.words >> FILTER_SHARE)
            .checked_ilog2()
            .unwrap_or(0)
            .min(MAX_FILTER_BITS);
        let words = (size_of::<u32>() << bits) / WORD;
        if !UNIQUE || bits == 0 || words == 0 {
            return Self::plain(Mode::Pc, memory);
        }
        let trace = memory.words - words;
        Self {
            pcs: Trace::new(Kind::Pc, memory.start, trace),
            filter: memory.start.wrapping_add(trace).cast(),
            filter_shift: u64::BITS - bits,
            ..Self::nothing()
        }
    }

    /// Where a hook writes in the usual case: the start of a trace, and its capacity. In modes that
    /// are not plain, the capacity is 0, and the hook asks the layout.
    pub(crate) fn fast_path(&self, mode: Mode) -> (*mut u8, usize) {
        match mode {
            Mode::Pc => (self.pcs.start, self.pcs.capacity),
            Mode::Cmp => (self.comparisons.start, self.comparisons.capacity),
            Mode::Unique | Mode::PcCmp => (self.pcs.start, 0),
        }
    }

    /// Records a canonical PC that a hook found no room for in the usual place, unless it has been
    /// recorded already, or counts it as dropped.
    ///
    /// What an interrupt calls before it is recognised as one may be left out, as if it had come
    /// later.
    #[inline(always)]
    pub(crate) fn push_pc(&self, pc: usize) {
        if UNIQUE {
            // The usual case of a PC that has been seen, without what the others need.
            let offset = pc.wrapping_sub(text().start);
            let index = offset / SET_WORD;
            if intrinsics::likely(index < self.direct_words) {
                // SAFETY: By the type invariants, here and below.
                let seen = unsafe { self.set.wrapping_add(index).read_volatile() };
                if seen & bit_at(offset / STEP) != 0 {
                    return;
                }
            }
        }
        let busy = self.busy.as_ptr();
        // ORDERING: Against interrupts of this CPU, here and at the end; volatile accesses keep
        // their order.
        //
        // SAFETY: The field is valid, and nobody else writes to it.
        unsafe {
            if busy.read_volatile() != 0 {
                return;
            }
            busy.write_volatile(1);
        }
        if let Some((words, count)) = self.place_for_pc(pc) {
            // SAFETY: There is room for one more.
            unsafe { records::write_pc(words, count, pc) };
        }
        // SAFETY: As above.
        unsafe { busy.write_volatile(0) };
    }

    /// Where a PC goes, and the count there; there is room for one more.
    ///
    /// Nothing if it is not to be recorded: it has been, or there is no room.
    #[inline(always)]
    fn place_for_pc(&self, pc: usize) -> Option<(*mut usize, usize)> {
        let words = self.pcs.start.cast::<usize>();
        // SAFETY: By the type invariants, here and below.
        let count = unsafe { words.read_volatile() };
        if self.set_words() != 0 {
            if let Some((word, bit)) = self.bit_of(pc) {
                // SAFETY: As above.
                unsafe {
                    if word.read_volatile() & bit != 0 {
                        return None;
                    }
                    // What finds no room now is to be recorded when there is some.
                    if count < self.pcs.capacity {
                        word.write_volatile(word.read_volatile() | bit);
                    }
                }
            }
        } else if UNIQUE && !self.filter.is_null() {
            let hash = (pc as u64)
                .wrapping_mul(0x61c8_8646_80b5_83eb)
                .wrapping_shr(self.filter_shift);
            let slot = self.filter.wrapping_add(hash as usize);
            // A slot holds the number of a record, or anything. Only the record is proof.
            //
            // SAFETY: As above.
            unsafe {
                let index = slot.read_volatile() as usize;
                if index < count && words.wrapping_add(index).wrapping_add(1).read_volatile() == pc
                {
                    return None;
                }
                slot.write_volatile(count as u32);
            }
        }
        if count >= self.pcs.capacity {
            self.drop_records(1);
            return None;
        }
        Some((words, count))
    }

    /// Where hooks write comparisons that have no place in the usual one, and how many there is
    /// room for.
    #[inline(always)]
    #[cfg_attr(not(CONFIG_KCOV_ENABLE_COMPARISONS), allow(dead_code))]
    pub(crate) fn place_for_comparisons(&self) -> (*mut u64, u64) {
        (
            self.comparisons.start.cast(),
            self.comparisons.capacity as u64,
        )
    }

    /// The word of the set that holds the bit of a PC, and the bit; nothing if the set is too
    /// small.
    #[inline(always)]
    fn bit_of(&self, pc: usize) -> Option<(*mut usize, usize)> {
        let position = position(pc);
        let index = position / usize::BITS as usize;
        if index >= self.set_words {
            return None;
        }
        Some((self.set.wrapping_add(index), bit_at(position)))
    }

    /// Counts records that were not recorded for lack of room.
    #[inline(always)]
    pub(crate) fn drop_records(&self, number: usize) {
        let dropped = self.dropped.load(Relaxed);
        self.dropped.store(dropped.wrapping_add(number), Relaxed);
    }

    /// How many records there was no room for.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Relaxed)
    }

    fn trace(&self, kind: Kind) -> Trace {
        match kind {
            Kind::Pc => self.pcs,
            Kind::Comparison => self.comparisons,
        }
    }

    fn count(&self, kind: Kind) -> usize {
        let trace = self.trace(kind);
        // SAFETY: By the type invariants, there is a count.
        unsafe {
            match kind {
                Kind::Pc => trace.start.cast::<usize>().read_volatile(),
                Kind::Comparison => {
                    usize::try_from(trace.start.cast::<u64>().read_volatile()).unwrap_or(usize::MAX)
                }
            }
        }
    }

    fn set_count(&self, kind: Kind, count: usize) {
        let trace = self.trace(kind);
        // SAFETY: By the type invariants, there is a count.
        unsafe {
            match kind {
                Kind::Pc => trace.start.cast::<usize>().write_volatile(count),
                Kind::Comparison => trace.start.cast::<u64>().write_volatile(count as u64),
            }
        }
    }

    /// Sets the counts to 0, that of what was dropped too.
    pub(crate) fn reset_counts(&self) {
        for kind in [Kind::Pc, Kind::Comparison] {
            if self.trace(kind).capacity > 0 {
                self.set_count(kind, 0);
            }
        }
        self.busy.store(0, Relaxed);
        self.dropped.store(0, Relaxed);
    }

    /// The size of the set in words, 0 if there is none.
    #[inline(always)]
    pub(crate) fn set_words(&self) -> usize {
        if UNIQUE {
            self.set_words
        } else {
            0
        }
    }

    /// Forgets the PCs whose bits are in the given words of the set.
    pub(crate) fn clear_set(&self, from: usize, number: usize) {
        let from = from.min(self.set_words());
        let number = number.min(self.set_words() - from);
        // SAFETY: By the type invariants. User space may write to it at the same time, which is its
        // own affair.
        unsafe { self.set.add(from).write_bytes(0, number) };
    }

    /// Says whether there are records, or were some that did not fit.
    #[inline(always)]
    pub(crate) fn has_records(&self) -> bool {
        [Kind::Pc, Kind::Comparison]
            .into_iter()
            .any(|kind| self.trace(kind).capacity > 0 && self.count(kind) > 0)
            || self.dropped() > 0
    }

    /// The records of one kind.
    ///
    /// # Safety
    ///
    /// The count is what the hooks have left there, and nothing writes to the trace during the life
    /// of the result.
    pub(crate) unsafe fn records(&self, kind: Kind) -> Records<'_> {
        let trace = self.trace(kind);
        let count = if trace.capacity > 0 {
            self.count(kind).min(trace.capacity)
        } else {
            0
        };
        // INVARIANT: By this function's requirement.
        Records {
            start: trace.start.wrapping_add(kind.count_bytes()),
            count,
            kind,
            _area: PhantomData,
        }
    }

    /// Appends records `from..` of `source`, at most `limit` of them; returns how many of them are
    /// dealt with, appended or not.
    ///
    /// Only one CPU at a time may append, which callers see to with the descriptor's lock.
    pub(crate) fn append(&self, source: &Records<'_>, from: usize, limit: usize) -> usize {
        let kind = source.kind;
        let number = source.count.saturating_sub(from).min(limit);
        let capacity = self.trace(kind).capacity;
        if capacity == 0 {
            return number;
        }
        let count = self.count(kind).min(capacity);
        let added = if self.set_words() != 0 {
            self.append_unseen(source, from, number, count)
        } else {
            let added = number.min(capacity - count);
            // SAFETY: `count + added` is at most `capacity`, and `from + added` at most
            // `source.count`. The areas are different allocations.
            unsafe {
                ptr::copy_nonoverlapping(
                    source.start.add(from * kind.record_bytes()),
                    self.record(kind, count),
                    added * kind.record_bytes(),
                )
            };
            self.drop_records(number - added);
            added
        };
        if added > 0 {
            // ORDERING: Records before the count. Pairs with the acquire load of the count in user
            // space, as the interface's documentation asks for.
            barrier::smp_mb(barrier::Write);
            self.set_count(kind, count + added);
        }
        number
    }

    /// Copies those of the PCs behind the trace's `count` that are not in the set, and puts them
    /// there; returns how many.
    fn append_unseen(
        &self,
        source: &Records<'_>,
        from: usize,
        number: usize,
        count: usize,
    ) -> usize {
        let mut added = 0;
        for &pc in &source.pcs()[from..from + number] {
            let bit = self.bit_of(pc);
            // SAFETY: `bit_of` gives words of the set.
            if bit.is_some_and(|(word, bit)| unsafe { word.read_volatile() } & bit != 0) {
                continue;
            }
            if count + added >= self.pcs.capacity {
                self.drop_records(1);
                continue;
            }
            // SAFETY: As above, and there is room for the record.
            unsafe {
                if let Some((word, bit)) = bit {
                    word.write_volatile(word.read_volatile() | bit);
                }
                self.record(Kind::Pc, count + added)
                    .cast::<usize>()
                    .write_volatile(pc);
            }
            added += 1;
        }
        added
    }

    /// Where record `index` of a trace is.
    fn record(&self, kind: Kind, index: usize) -> *mut u8 {
        let offset = kind.count_bytes() + index * kind.record_bytes();
        self.trace(kind).start.wrapping_add(offset)
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

    /// The records as PCs; nothing if they are comparisons.
    pub(crate) fn pcs(&self) -> &[usize] {
        if self.kind != Kind::Pc || self.count == 0 {
            return &[];
        }
        // SAFETY: By the type invariant.
        unsafe { core::slice::from_raw_parts(self.start.cast::<usize>(), self.count) }
    }
}

/// Where the bit of a canonical PC is in the set.
///
/// The kernel's own code comes first. That of modules follows, from the start of the addresses that
/// modules are loaded to.
#[inline(always)]
pub(crate) fn position(pc: usize) -> usize {
    let text = text();
    let mut offset = pc.wrapping_sub(text.start);
    if intrinsics::unlikely(offset >= text.size) {
        offset = pc.wrapping_sub(text.modules).wrapping_add(text.size);
    }
    offset / STEP
}

/// The bit of a position in its word.
#[inline(always)]
fn bit_at(position: usize) -> usize {
    1_usize.wrapping_shl(position as u32)
}

#[inline(always)]
fn text() -> &'static bindings::kcov_text {
    // SAFETY: Written once, before anything can be recorded.
    unsafe { &*ptr::addr_of!(bindings::kcov_text) }
}

/// The PC whose bit is the first of a set.
pub(crate) fn set_start() -> usize {
    text().start
}

/// What takes the place of [`set_start`] for the PCs of modules, whose bits follow the image's.
pub(crate) fn set_modules() -> usize {
    text().modules.wrapping_sub(text().size)
}

/// How many words a set needs for all code of the kernel image, without modules.
pub(crate) fn set_words() -> usize {
    text().size.div_ceil(SET_WORD)
}
