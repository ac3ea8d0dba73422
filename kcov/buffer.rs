// SPDX-License-Identifier: GPL-2.0

//! Layouts of the memory that coverage is recorded in, and the only raw writes into it.
//!
//! The first word counts the records that follow it. In [`Mode::Pc`] each is one word, in
//! [`Mode::Cmp`] four of 64 bits: type, two operands, PC.
//!
//! A [`Buffer`] belongs to a descriptor and is mapped by user space, which may write anything to it
//! at any time. So the count is read once per use, and taken for what it is, a number that the user
//! chose: it only ever selects a place inside the buffer. An [`Area`](super::area::Area) is seen by
//! the kernel alone.

#![expect(unsafe_code)]

use crate::{gate, mode::Mode};
use core::{
    alloc::Layout,
    ptr::{self, NonNull}, //
};
use kernel::{
    alloc::{allocator::Vmalloc, flags::__GFP_NOWARN, Allocator, Flags, NumaNode},
    bindings,
    page::{BorrowedPage, PAGE_SIZE},
    prelude::*,
    sync::barrier, //
};

/// The size of the interface's words, `unsigned long`.
pub(crate) const WORD: usize = size_of::<usize>();

/// The number of 64-bit words in the record of a comparison.
const COMPARISON_WORDS: usize = 4;

/// The largest buffer that can be asked for, in words: `INT_MAX` bytes.
const MAX_WORDS: usize = i32::MAX as usize / WORD;

impl Mode {
    /// The number of records that fit into `words` words, the count included.
    pub(crate) const fn capacity(self, words: usize) -> usize {
        match self {
            Mode::Pc => words.saturating_sub(1),
            Mode::Cmp => {
                (words * WORD).saturating_sub(size_of::<u64>())
                    / (size_of::<u64>() * COMPARISON_WORDS)
            }
        }
    }

    /// The size of a record in bytes.
    const fn record_bytes(self) -> usize {
        match self {
            Mode::Pc => WORD,
            Mode::Cmp => size_of::<u64>() * COMPARISON_WORDS,
        }
    }

    /// The size of the count in bytes.
    const fn count_bytes(self) -> usize {
        match self {
            Mode::Pc => WORD,
            Mode::Cmp => size_of::<u64>(),
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

/// Where the hooks write.
///
/// # Invariants
///
/// `start` points to at least as much memory as `capacity` records of the mode that the recorder
/// was made for need, valid until the hook that made the recorder returns.
#[derive(Clone, Copy)]
pub(crate) struct Recorder {
    start: *mut u8,
    capacity: usize,
}

impl Recorder {
    /// # Safety
    ///
    /// The arguments fulfil the type's invariants.
    #[inline(always)]
    pub(crate) unsafe fn new(start: *mut u8, capacity: usize) -> Self {
        // INVARIANT: By this function's requirements.
        Self { start, capacity }
    }

    /// Appends a PC, or drops it if the buffer is full.
    ///
    /// The mode is [`Mode::Pc`].
    #[inline(always)]
    pub(crate) fn push_pc(self, pc: usize) {
        let words = self.start.cast::<usize>();
        // SAFETY: The count is at the start.
        let count = unsafe { words.read_volatile() };
        if count >= self.capacity {
            return;
        }
        // An interrupt that is not recognised as one yet may call the hook between these stores.
        // With the count first, its record comes after this one; the other way round it
        // would be overwritten.
        //
        // ORDERING: Against code of this CPU only; volatile accesses keep their order. User space
        // reads both as the same task, or knows the record only after that task has
        // stopped.
        //
        // SAFETY: `count + 1` is at most `capacity`, and there is that much room by the type
        // invariant.
        unsafe {
            words.write_volatile(count.wrapping_add(1));
            words
                .wrapping_add(count)
                .wrapping_add(1)
                .write_volatile(canonical(pc));
        }
    }

    /// Appends a comparison, or drops it if the buffer is full.
    ///
    /// The mode is [`Mode::Cmp`].
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
    /// The mode is [`Mode::Cmp`].
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
    fn reserve(self, wanted: u64) -> Option<(*mut u64, u64)> {
        let words = self.start.cast::<u64>();
        // SAFETY: The count is at the start.
        let count = unsafe { words.read_volatile() };
        let capacity = self.capacity as u64;
        if count >= capacity {
            return None;
        }
        let free = capacity.wrapping_sub(count);
        let fitting = if wanted < free { wanted } else { free };
        // The count first, see `push_pc`.
        //
        // SAFETY: As above.
        unsafe { words.write_volatile(count.wrapping_add(fitting)) };
        let offset = (count as usize)
            .wrapping_mul(COMPARISON_WORDS)
            .wrapping_add(1);
        Some((words.wrapping_add(offset), fitting))
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
fn canonical(pc: usize) -> usize {
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

/// Memory in whole pages.
///
/// # Invariants
///
/// `start` points to an allocation of `Vmalloc` of at least `bytes` bytes, owned by the value.
pub(crate) struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: Memory can be freed by any thread.
unsafe impl Send for Pages {}
// SAFETY: A shared `Pages` gives out addresses only.
unsafe impl Sync for Pages {}

impl Pages {
    /// Allocates `bytes` bytes. Sleeps.
    pub(crate) fn new(bytes: usize, flags: Flags) -> Result<Self> {
        let layout = Layout::from_size_align(bytes, PAGE_SIZE).map_err(|_| ENOMEM)?;
        // How much is asked for is up to the user, who gets to know of a failure by its error code.
        let memory = Vmalloc::alloc(layout, flags | __GFP_NOWARN, NumaNode::NO_NODE)?;
        // INVARIANT: Allocated right now.
        Ok(Self {
            start: memory.cast(),
            bytes,
        })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the memory away.
    pub(crate) fn into_raw(self) -> NonNull<u8> {
        core::mem::ManuallyDrop::new(self).start
    }

    /// Takes back what [`Pages::into_raw`] gave away.
    ///
    /// # Safety
    ///
    /// `start` and `bytes` belong to `Pages` that were given away, and have not been taken back.
    pub(crate) unsafe fn from_raw(start: NonNull<u8>, bytes: usize) -> Self {
        // INVARIANT: By this function's requirement.
        Self { start, bytes }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // The last reference to a descriptor may go in a softirq, or in a task that must not sleep.
        //
        // SAFETY: By the type invariant, this is the allocation's only owner.
        unsafe { bindings::kvfree_atomic(self.start.as_ptr().cast()) };
    }
}

/// A descriptor's buffer, shared with user space.
pub(crate) struct Buffer {
    pages: Pages,
    words: usize,
    _gate: gate::KeepOpen,
}

impl Buffer {
    /// Allocates a buffer of `words` words, all zero. Sleeps.
    pub(crate) fn new(words: usize) -> Result<Self> {
        // The smallest holds the count and one PC.
        if !(2..=MAX_WORDS).contains(&words) {
            return Err(EINVAL);
        }
        Ok(Self {
            pages: Pages::new(words * WORD, GFP_KERNEL | __GFP_ZERO)?,
            words,
            _gate: gate::KeepOpen::new(),
        })
    }

    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// The size of a mapping of the buffer, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.words * WORD
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.pages.start().as_ptr()
    }

    /// The buffer's pages with their offsets in bytes, in order. The last may be used in part.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (usize, BorrowedPage<'_>)> {
        (0..self.bytes()).step_by(PAGE_SIZE).map(|offset| {
            let address = self.pages.start().as_ptr().wrapping_add(offset);
            // SAFETY: The address is inside of the allocation, so it is not null, and it is valid
            // as long as the buffer is borrowed.
            let page = unsafe { Vmalloc::to_page(NonNull::new_unchecked(address)) };
            (offset, page)
        })
    }

    /// Makes sure that the hooks can write to the buffer without a fault.
    ///
    /// On some architectures a task's page tables learn of a vmalloc area only by faults, whose
    /// handling is instrumented.
    pub(crate) fn fault_in(&self) {
        for offset in (0..self.bytes()).step_by(PAGE_SIZE) {
            // SAFETY: The address is inside of the allocation.
            unsafe { self.start().wrapping_add(offset).read_volatile() };
        }
    }

    /// Appends records `from..` of `source`, at most `limit` of them; returns how many of them are
    /// dealt with, appended or not for lack of room.
    ///
    /// Only one CPU at a time may append to a buffer, which callers see to with the descriptor's
    /// lock.
    pub(crate) fn append(&self, source: &Records<'_>, from: usize, limit: usize) -> usize {
        let mode = source.mode;
        let left = source.count.saturating_sub(from);
        let capacity = mode.capacity(self.words);
        let count = self.count(mode);
        if count >= capacity {
            return left;
        }
        let number = left.min(limit).min(capacity - count);
        let size = mode.record_bytes();
        // SAFETY: `count + number` is at most `capacity`, and `from + number` at most
        // `source.count`. The areas are different allocations.
        unsafe {
            ptr::copy_nonoverlapping(
                source.start.add(mode.count_bytes() + from * size),
                self.start().add(mode.count_bytes() + count * size),
                number * size,
            )
        };
        // ORDERING: Records before the count. Pairs with the acquire load of the count in user
        // space, as the interface's documentation asks for.
        barrier::smp_mb(barrier::Write);
        self.set_count(mode, count + number);
        number
    }

    fn count(&self, mode: Mode) -> usize {
        // SAFETY: The count is at the start.
        unsafe {
            match mode {
                Mode::Pc => self.start().cast::<usize>().read_volatile(),
                Mode::Cmp => usize::try_from(self.start().cast::<u64>().read_volatile())
                    .unwrap_or(usize::MAX),
            }
        }
    }

    fn set_count(&self, mode: Mode, count: usize) {
        // SAFETY: The count is at the start.
        unsafe {
            match mode {
                Mode::Pc => self.start().cast::<usize>().write_volatile(count),
                Mode::Cmp => self.start().cast::<u64>().write_volatile(count as u64),
            }
        }
    }
}

/// The records of an area.
///
/// # Invariants
///
/// `start` points to a count and `count` records of `mode`, which do not change during `'a`.
pub(crate) struct Records<'a> {
    start: *const u8,
    count: usize,
    mode: Mode,
    _area: core::marker::PhantomData<&'a u8>,
}

impl Records<'_> {
    /// # Safety
    ///
    /// `start` points to a count of records of `mode`, and so many of them, at most `capacity`, as
    /// far as the hooks wrote them; nothing writes to them during the life of the result.
    pub(crate) unsafe fn new(start: *const u8, mode: Mode, capacity: usize) -> Self {
        // SAFETY: By this function's requirement.
        let count = unsafe {
            match mode {
                Mode::Pc => start.cast::<usize>().read(),
                Mode::Cmp => start.cast::<u64>().read() as usize,
            }
        };
        // INVARIANT: By this function's requirement.
        Self {
            start,
            count: count.min(capacity),
            mode,
            _area: core::marker::PhantomData,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The records as PCs; nothing if they are comparisons.
    #[cfg(CONFIG_KCOV_SELFTEST)]
    pub(crate) fn pcs(&self) -> &[usize] {
        if self.mode != Mode::Pc {
            return &[];
        }
        // SAFETY: By the type invariant.
        unsafe { core::slice::from_raw_parts(self.start.cast::<usize>().add(1), self.count) }
    }
}
