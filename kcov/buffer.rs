// SPDX-License-Identifier: GPL-2.0

//! The memory that a descriptor shares with user space.

#![expect(unsafe_code)]

use crate::{
    division::{Division, Memory},
    gate,
    mode::Mode,
    records::WORD, //
};
use core::{alloc::Layout, ops::Deref, ptr::NonNull};
use kernel::{
    alloc::{allocator::Vmalloc, flags::__GFP_NOWARN, Allocator, Flags, NumaNode},
    bindings,
    page::{BorrowedPage, PAGE_SIZE},
    prelude::*,
    sync::Arc, //
};

/// The largest buffer that can be asked for, in words: `INT_MAX` bytes.
const MAX_WORDS: usize = i32::MAX as usize / WORD;

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
}

/// A buffer that is divided for a mode.
///
/// # Invariants
///
/// `division` is one of the memory of `buffer`.
pub(crate) struct DividedBuffer {
    buffer: Arc<Buffer>,
    division: Division,
    mode: Mode,
}

impl DividedBuffer {
    /// Divides `buffer`. In the modes that have two parts, `front` is the size of the first one in
    /// words; [`EINVAL`] if one has no room for anything.
    pub(crate) fn new(buffer: Arc<Buffer>, mode: Mode, front: usize) -> Result<Self> {
        let memory = Memory {
            start: buffer.start().cast(),
            words: buffer.words,
        };
        // SAFETY: The value keeps the buffer.
        let division = unsafe { Division::of_buffer(mode, memory, front) }?;
        // INVARIANT: As above.
        Ok(Self {
            buffer,
            division,
            mode,
        })
    }

    pub(crate) fn buffer(&self) -> &Arc<Buffer> {
        &self.buffer
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }
}

impl Deref for DividedBuffer {
    type Target = Division;

    fn deref(&self) -> &Division {
        &self.division
    }
}
