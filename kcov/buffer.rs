// SPDX-License-Identifier: GPL-2.0

//! Memory that a descriptor shares with user space.

#![expect(unsafe_code)]

use crate::{
    arch,
    gate,
    layout::Layout,
    memory::Memory,
    mode::Mode,
    records::WORD, //
};
use core::{
    alloc,
    mem::ManuallyDrop,
    ops::{Deref, Range},
    ptr::NonNull, //
};
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
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        Arc, //
    },
    task::might_sleep, //
};

/// The largest buffer that a user may request, in words: `INT_MAX` bytes.
const MAX_WORDS: usize = i32::MAX as usize / WORD;

/// The number of bytes at the start of each trace that a program finds mapped, since a page fault
/// would be recorded. Also the size of the blocks that a page fault maps.
pub(crate) const AHEAD: usize = 64 * 1024;

/// Memory in whole pages.
///
/// # Invariants
///
/// `start` points to an allocation of `Vmalloc` that was made with `layout` and that the value
/// owns.
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
    /// `flags` are added to `GFP_KERNEL`. The user chooses the size and learns of a failure by an
    /// error code. Therefore the kernel logs nothing; if `flags` has `__GFP_RETRY_MAYFAIL` or
    /// `__GFP_NORETRY`, it kills no process to get the memory either.
    pub(crate) fn new(bytes: usize, flags: Flags) -> Result<Self> {
        let layout = alloc::Layout::from_size_align(bytes, PAGE_SIZE).map_err(|_| ENOMEM)?;
        // When an allocation fails half-way, vmalloc() leaves it to a worker to free the pages that
        // it has obtained. Until then, another task may find no free memory at all, and the kernel
        // may kill a process.
        //
        // SAFETY: The function only reads counters.
        if !unsafe { bindings::kcov_memory_suffices(bytes.div_ceil(PAGE_SIZE)) } {
            return Err(ENOMEM);
        }
        let flags = GFP_KERNEL | __GFP_NOWARN | flags;
        let memory = Vmalloc::alloc(layout, flags, NumaNode::NO_NODE)?;
        // INVARIANT: The memory was allocated above.
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

    /// Gives up ownership of the memory.
    pub(crate) fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).start
    }

    /// Takes back memory that [`Pages::into_raw`] gave away.
    ///
    /// # Safety
    ///
    /// `start` and `bytes` belong to `Pages` that were given away and have not been taken back.
    pub(crate) unsafe fn from_raw(start: NonNull<u8>, bytes: usize) -> Self {
        // SAFETY: By this function's requirement, `new` made this layout.
        let layout = unsafe { alloc::Layout::from_size_align_unchecked(bytes, PAGE_SIZE) };
        // INVARIANT: By this function's requirement.
        Self { start, layout }
    }

    /// Frees the memory later, in a worker. May be called from any context but NMI.
    ///
    /// Until the worker frees it, the memory holds a list node of the kernel. Therefore it must not
    /// be memory that a user can write to or may still hold.
    pub(crate) fn free_atomic(self) {
        let start = self.into_raw();
        // SAFETY: By the type invariant, the value was the only owner of the allocation.
        unsafe { bindings::kvfree_atomic(start.as_ptr().cast()) };
    }
}

impl Drop for Pages {
    /// Frees the memory immediately. May sleep.
    fn drop(&mut self) {
        // In an interrupt, vfree() would store a list node of the kernel in the memory.
        might_sleep();
        // SAFETY: By the type invariant, this value is the only owner of the allocation.
        unsafe { Vmalloc::free(self.start, self.layout) };
    }
}

/// The buffer of a descriptor, shared with user space.
///
/// User space may keep a page of it, in a pipe for example, after all mappings and the buffer
/// itself are gone, and may write to that page. Therefore the memory never holds anything of the
/// kernel's, and it is freed only in contexts that may sleep: the last reference is dropped when
/// the file is closed, when the task exits, or when a call that uses the file returns.
pub(crate) struct Buffer {
    pages: Pages,
    words: usize,
    mapping: Atomic<usize>,
    _gate: gate::KeepOpen,
}

impl Buffer {
    /// Allocates a zeroed buffer of `words` words, and waits until the hooks are switched on. May
    /// sleep.
    ///
    /// Returns [`EINVAL`] if the size is out of range, [`ENOMEM`] if there is not enough memory,
    /// and [`EINTR`] if the task is killed while it waits.
    pub(crate) fn new(words: usize) -> Result<Self> {
        // The smallest buffer holds the count and one PC.
        if !(2..=MAX_WORDS).contains(&words) {
            return Err(EINVAL);
        }
        Ok(Self {
            pages: Pages::new(words * WORD, __GFP_ZERO | __GFP_RETRY_MAYFAIL)?,
            words,
            mapping: Atomic::new(0),
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

    /// Returns the page at an offset in bytes; `None` after the end of the buffer. The buffer may
    /// end inside its last page.
    pub(crate) fn page(&self, offset: usize) -> Option<BorrowedPage<'_>> {
        if offset >= self.bytes() {
            return None;
        }
        let start = self.pages.start();
        let address = start.map_addr(|address| address.saturating_add(offset));
        // SAFETY: The address is in the allocation, which is valid while the buffer is borrowed.
        Some(unsafe { Vmalloc::to_page(address) })
    }

    /// Returns the pages in a range of offsets, in order and with their offsets. All are in bytes,
    /// and the start of `range` is the start of a page.
    pub(crate) fn pages(
        &self,
        range: Range<usize>,
    ) -> impl Iterator<Item = (usize, BorrowedPage<'_>)> {
        let end = range.end.min(self.bytes());
        (range.start..end)
            .step_by(PAGE_SIZE)
            .filter_map(|offset| Some((offset, self.page(offset)?)))
    }

    /// Remembers the address of the last mapping of the buffer.
    pub(crate) fn set_mapping(&self, address: usize) {
        self.mapping.store(address, Relaxed);
    }

    /// Returns the address of the last mapping of the buffer, which may be gone, or be the mapping
    /// of another process.
    pub(crate) fn mapping(&self) -> usize {
        self.mapping.load(Relaxed)
    }

    /// Reads each page, so that the hooks can write to the buffer without a fault.
    ///
    /// On some architectures, a task's page tables learn of a vmalloc area only by faults, and the
    /// code that handles faults is instrumented.
    pub(crate) fn fault_in(&self) {
        if !arch::VMALLOC_FAULTS {
            return;
        }
        for offset in (0..self.bytes()).step_by(PAGE_SIZE) {
            // SAFETY: The address is in the allocation.
            unsafe { self.start().wrapping_add(offset).read_volatile() };
        }
    }
}

/// A buffer with its layout for a mode.
///
/// # Invariants
///
/// `layout` is a layout of the memory of `buffer`.
pub(crate) struct LaidOutBuffer {
    buffer: Arc<Buffer>,
    layout: Layout,
    mode: Mode,
}

impl LaidOutBuffer {
    /// Lays `buffer` out for `mode`.
    ///
    /// In the modes that have two parts, `front` is the size of the first part in words. Returns
    /// [`EINVAL`] if a part is too small for a record.
    pub(crate) fn new(buffer: Arc<Buffer>, mode: Mode, front: usize) -> Result<Self> {
        // SAFETY: The value keeps a reference to the buffer.
        let memory = unsafe { Memory::new(buffer.start().cast(), buffer.words) };
        let layout = Layout::of_buffer(mode, memory, front)?;
        // INVARIANT: The layout was made for the memory of `buffer` above.
        Ok(Self {
            buffer,
            layout,
            mode,
        })
    }

    /// Lays the buffer out anew, as [`LaidOutBuffer::new`] does. Without success, the layout stays
    /// what it was.
    #[inline(always)]
    pub(crate) fn lay_out(&mut self, mode: Mode, front: usize) -> Result {
        if mode.is_plain() && mode == self.mode {
            self.layout.restart();
            return Ok(());
        }
        // SAFETY: The value keeps a reference to the buffer.
        let memory = unsafe { Memory::new(self.buffer.start().cast(), self.buffer.words) };
        // INVARIANT: The layout is made for the memory of the buffer.
        self.layout = Layout::of_buffer(mode, memory, front)?;
        self.mode = mode;
        Ok(())
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
