// SPDX-License-Identifier: GPL-2.0

//! The memory that a descriptor shares with user space.

#![expect(unsafe_code)]

use crate::{
    gate,
    layout::Layout,
    memory::Memory,
    mode::Mode,
    records::WORD, //
};
use core::{alloc, mem::ManuallyDrop, ops::Deref, ptr::NonNull};
use kernel::{
    alloc::{
        allocator::Vmalloc,
        flags::{__GFP_NOWARN, __GFP_RETRY_MAYFAIL},
        Allocator,
        Flags,
        NumaNode, //
    },
    bindings,
    page::{BorrowedPage, PAGE_SIZE},
    prelude::*,
    sync::Arc,
    task::might_sleep, //
};

/// The largest buffer that can be asked for, in words: `INT_MAX` bytes.
const MAX_WORDS: usize = i32::MAX as usize / WORD;

/// Memory in whole pages.
///
/// # Invariants
///
/// `start` points to an allocation of `Vmalloc` that was made with `layout`, owned by the value.
pub(crate) struct Pages {
    start: NonNull<u8>,
    layout: alloc::Layout,
}

// SAFETY: Memory can be freed by any thread.
unsafe impl Send for Pages {}
// SAFETY: A shared `Pages` gives out addresses only.
unsafe impl Sync for Pages {}

impl Pages {
    /// Allocates `bytes` bytes. May sleep.
    ///
    /// `flags` are added to `GFP_KERNEL`. The user chooses the size, and learns of a failure by an
    /// error code: nothing is printed, and no process is killed for the memory if `flags` has
    /// `__GFP_RETRY_MAYFAIL` or `__GFP_NORETRY`.
    pub(crate) fn new(bytes: usize, flags: Flags) -> Result<Self> {
        let layout = alloc::Layout::from_size_align(bytes, PAGE_SIZE).map_err(|_| ENOMEM)?;
        // When an allocation fails half-way, vmalloc() leaves it to a worker to free what it has
        // got. Until then another task may find no memory at all, and have a process killed.
        //
        // SAFETY: The function only reads counters.
        if !unsafe { bindings::kcov_memory_suffices(bytes.div_ceil(PAGE_SIZE)) } {
            return Err(ENOMEM);
        }
        let flags = GFP_KERNEL | __GFP_NOWARN | flags;
        let memory = Vmalloc::alloc(layout, flags, NumaNode::NO_NODE)?;
        // INVARIANT: Allocated right now.
        Ok(Self {
            start: memory.cast(),
            layout,
        })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn bytes(&self) -> usize {
        self.layout.size()
    }

    /// Gives the memory away.
    pub(crate) fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).start
    }

    /// Takes back what [`Pages::into_raw`] gave away.
    ///
    /// # Safety
    ///
    /// `start` and `bytes` belong to `Pages` that were given away, and have not been taken back.
    pub(crate) unsafe fn from_raw(start: NonNull<u8>, bytes: usize) -> Self {
        // SAFETY: By this function's requirement, `new` made this layout.
        let layout = unsafe { alloc::Layout::from_size_align_unchecked(bytes, PAGE_SIZE) };
        // INVARIANT: By this function's requirement.
        Self { start, layout }
    }

    /// Frees the memory later, by a worker. May be called from any context but NMI.
    ///
    /// Until then the memory itself holds a list node of the kernel, so it must not be memory that
    /// a user can write to or may still hold.
    pub(crate) fn free_atomic(self) {
        let start = self.into_raw();
        // SAFETY: By the type invariant, the value was the allocation's only owner.
        unsafe { bindings::kvfree_atomic(start.as_ptr().cast()) };
    }
}

impl Drop for Pages {
    /// Frees the memory at once. May sleep.
    fn drop(&mut self) {
        // In an interrupt, vfree() would put a list node of the kernel into the memory.
        might_sleep();
        // SAFETY: By the type invariant, this is the allocation's only owner.
        unsafe { Vmalloc::free(self.start, self.layout) };
    }
}

/// A descriptor's buffer, shared with user space.
///
/// User space may keep a page of it after all mappings and the buffer itself are gone, in a pipe
/// for example, and may write to it. So the memory never holds anything of the kernel's, and is
/// freed in contexts that may sleep only: the last reference goes when the file is closed, the task
/// ends, or a call that uses the file returns.
pub(crate) struct Buffer {
    pages: Pages,
    words: usize,
    _gate: gate::KeepOpen,
}

impl Buffer {
    /// Allocates a buffer of `words` words, all zero, and waits until the hooks are switched on.
    /// May sleep.
    ///
    /// [`ENOMEM`] if there is not so much memory; [`EINTR`] if the task is killed while it waits.
    pub(crate) fn new(words: usize) -> Result<Self> {
        // The smallest holds the count and one PC.
        if !(2..=MAX_WORDS).contains(&words) {
            return Err(EINVAL);
        }
        Ok(Self {
            pages: Pages::new(words * WORD, __GFP_ZERO | __GFP_RETRY_MAYFAIL)?,
            words,
            _gate: gate::KeepOpen::new()?,
        })
    }

    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Returns the size of a mapping of the buffer, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.words * WORD
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.pages.start().as_ptr()
    }

    /// Returns the buffer's pages with their offsets in bytes, in order. The last may be used in
    /// part.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (usize, BorrowedPage<'_>)> {
        (0..self.bytes()).step_by(PAGE_SIZE).map(|offset| {
            let start = self.pages.start();
            let page_start = start.map_addr(|address| address.saturating_add(offset));
            // SAFETY: The address is in the allocation, which is valid as long as the buffer is
            // borrowed.
            let page = unsafe { Vmalloc::to_page(page_start) };
            (offset, page)
        })
    }

    /// Reads each page, so that the hooks can write to the buffer without a fault.
    ///
    /// On some architectures a task's page tables learn of a vmalloc area only by faults, whose
    /// handling is instrumented.
    pub(crate) fn fault_in(&self) {
        for offset in (0..self.bytes()).step_by(PAGE_SIZE) {
            // SAFETY: The address is in the allocation.
            unsafe { self.start().wrapping_add(offset).read_volatile() };
        }
    }
}

/// A buffer that is laid out for a mode.
///
/// # Invariants
///
/// `layout` is one of the memory of `buffer`.
pub(crate) struct LaidOutBuffer {
    buffer: Arc<Buffer>,
    layout: Layout,
    mode: Mode,
}

impl LaidOutBuffer {
    /// Lays `buffer` out. In the modes that have two parts, `front` is the size of the first one in
    /// words; [`EINVAL`] if one has no space for anything.
    pub(crate) fn new(buffer: Arc<Buffer>, mode: Mode, front: usize) -> Result<Self> {
        // SAFETY: The value keeps the buffer.
        let memory = unsafe { Memory::new(buffer.start().cast(), buffer.words) };
        let layout = Layout::of_buffer(mode, memory, front)?;
        // INVARIANT: As above.
        Ok(Self {
            buffer,
            layout,
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

impl Deref for LaidOutBuffer {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        &self.layout
    }
}
