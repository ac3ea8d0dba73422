// SPDX-License-Identifier: GPL-2.0

//! Memory that a section borrows to record into.
//!
//! An area starts with a header that only the kernel can access. While the area is lent, the header
//! holds the [`Section`], which includes the recording that the section suspended. Therefore
//! sections nest without a limit, and the task needs no memory for that.

#![expect(unsafe_code)]

use crate::{
    buffer::Pages,
    context::Context,
    edges::Edge,
    layout::Layout,
    memory::Memory,
    mode::Mode,
    recording::{Recording, Section, Target},
    records::{Kind, Records, WORD},
    statistics, //
};
use core::{
    ffi::c_void,
    marker::PhantomData,
    mem::{offset_of, ManuallyDrop, MaybeUninit},
    ptr::NonNull, //
};
use kernel::{
    alloc::Flags,
    page::PAGE_SIZE,
    prelude::*,
    types::ForeignOwnable, //
};

/// The kernel's part of an area. Aligned so that the records start at a cache line.
#[repr(C, align(64))]
pub(crate) struct Header {
    /// The number of words after the header.
    words: usize,
    /// The layout of the words, and the mode that it is for: the next section mostly needs the same
    /// layout.
    layout: Layout,
    laid_out_for: Option<(Mode, usize)>,
    section: MaybeUninit<Section>,
}

/// Everything that a hook reads to record a PC must share a cache line of 64 bytes.
const _: () = assert!(offset_of!(Header, layout) + Layout::BYTES_FOR_PCS <= 64);

/// Memory to record a section into.
///
/// # Invariants
///
/// Points to the header at the start of [`Pages`] that the value owns. `words` words follow the
/// header, and `layout` is a layout of them. `section` is not initialized.
pub(crate) struct Area(NonNull<Header>);

/// An area that holds a section.
///
/// # Invariants
///
/// The invariants of [`Area`] hold during `'a`, with two differences: the owner is the task that
/// the section runs on, and `section` is initialized.
pub(crate) struct LentArea<'a>(NonNull<Header>, PhantomData<&'a Header>);

// SAFETY: An area that is not lent is plain memory.
unsafe impl Send for Area {}

impl Area {
    /// Allocates an area for `words` words. May sleep.
    ///
    /// `flags` are added to `GFP_KERNEL` and decide how hard the allocator tries. A failure is not
    /// reported in the log, and the kernel kills no process to get the memory.
    pub(crate) fn new(words: usize, flags: Flags) -> Result<Self> {
        let bytes = words
            .checked_mul(WORD)
            .and_then(|bytes| bytes.checked_add(size_of::<Header>()))
            .ok_or(ENOMEM)?;
        // The words are not cleared: only records that the hooks have written are read.
        let pages = Pages::new(bytes.next_multiple_of(PAGE_SIZE), flags)?;
        let words = (pages.bytes() - size_of::<Header>()) / WORD;
        statistics::area_added(pages.bytes());
        let header: NonNull<Header> = pages.into_raw().cast();
        let content = Header {
            words,
            layout: Layout::nothing(),
            laid_out_for: None,
            section: MaybeUninit::uninit(),
        };
        // SAFETY: The pages have space for the header.
        unsafe { header.write(content) };
        // INVARIANT: `into_raw` has just given the pages to this value.
        Ok(Self(header))
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: By the type invariant; the value is the only owner.
        unsafe { self.0.as_mut() }
    }

    /// Returns the number of words that fit into the area, the count included.
    pub(crate) fn words(&self) -> usize {
        self.header().words
    }

    /// Lays out the first `words` words of the area for a mode, with nothing recorded.
    #[inline(always)]
    pub(crate) fn lay_out(&mut self, mode: Mode, words: usize) {
        let header = self.header();
        if header.laid_out_for == Some((mode, words)) {
            header.layout.reset_counts();
            return;
        }
        self.lay_out_anew(mode, words);
    }

    #[cold]
    fn lay_out_anew(&mut self, mode: Mode, words: usize) {
        let words_used = words.min(self.words());
        // SAFETY: By the type invariant. The layout is part of the area, so it is not used after
        // it.
        let memory = unsafe { Memory::new(records_start(self.0), words_used) };
        self.header_mut().layout = Layout::of_area(mode, memory);
        self.header_mut().laid_out_for = Some((mode, words));
    }

    /// Returns the layout of the area.
    pub(crate) fn layout(&self) -> &Layout {
        &self.header().layout
    }

    /// Puts a section into the header; returns the recording into the area.
    ///
    /// `outer` is the recording that the section suspends.
    #[inline(always)]
    pub(crate) fn lend(
        mut self,
        target: Target,
        context: Context,
        outer: impl FnOnce() -> Recording,
    ) -> Recording {
        self.lay_out(target.mode, target.words);
        let section = Section::new(target, context, outer());
        self.header_mut().section.write(section);
        // SAFETY: The area was laid out for the mode. It is given back after the recording.
        let recording = unsafe { Recording::into_layout(target.mode, self.layout()) };
        // The recording owns the area from here on.
        let area = ManuallyDrop::new(self);
        // SAFETY: The recording goes to this area.
        unsafe { recording.of_section(context, area.0.as_ptr().cast()) }
    }
}

impl<'a> LentArea<'a> {
    /// Returns the area of a section.
    ///
    /// # Safety
    ///
    /// `section` is null, or comes from [`Area::lend`]. The area is not given back during `'a`,
    /// except by the result.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(section: *mut c_void) -> Option<Self> {
        // INVARIANT: By this function's requirement.
        NonNull::new(section.cast()).map(|header| Self(header, PhantomData))
    }

    /// Returns the section. Softirqs on top of the caller may hold a reference to it, too.
    #[inline(always)]
    pub(crate) fn section(&self) -> &'a Section {
        // SAFETY: By the type invariant.
        let header = unsafe { self.0.as_ref() };
        // SAFETY: As above.
        unsafe { header.section.assume_init_ref() }
    }

    /// Returns the area of the section that encloses this one.
    pub(crate) fn outer(&self) -> Option<Self> {
        // SAFETY: By the invariant of `Recording`. Inner sections end before outer ones.
        unsafe { Self::from_ptr(self.section().outer().parts().section) }
    }

    /// Takes the area back.
    ///
    /// # Safety
    ///
    /// The caller is the task that the section runs on, and it is paused. Neither this value nor
    /// another one for the same area is used afterwards.
    #[inline(always)]
    pub(crate) unsafe fn give_back(self) -> EndedArea {
        // INVARIANT: By the type invariant and this function's requirement.
        EndedArea(Area(self.0))
    }
}

/// An area that is no longer lent, together with the section that recorded into it.
///
/// # Invariants
///
/// `section` in the header is initialized, and no hook records into the area.
pub(crate) struct EndedArea(Area);

impl EndedArea {
    /// Returns whether the section produced any record, including those that did not fit.
    #[inline(always)]
    pub(crate) fn has_records(&self) -> bool {
        self.0.layout().has_records()
    }

    /// Returns the number of records that did not fit.
    pub(crate) fn dropped(&self) -> usize {
        self.0.layout().dropped()
    }

    pub(crate) fn section(&self) -> &Section {
        // SAFETY: By the type invariant.
        unsafe { self.0.header().section.assume_init_ref() }
    }

    /// Returns the records of one kind.
    #[inline(always)]
    pub(crate) fn records(&self, kind: Kind) -> Records<'_> {
        // SAFETY: By the type invariant. The counts were reset before the area was lent, and only
        // the hooks have written to it since then.
        unsafe { self.0.layout().records(kind) }
    }

    /// Returns the edges.
    pub(crate) fn edges(&self) -> &[Edge] {
        // SAFETY: As above.
        unsafe { self.0.layout().edges() }
    }

    /// Returns the area, for use by the next section.
    pub(crate) fn into_area(self) -> Area {
        self.0
    }
}

fn records_start(header: NonNull<Header>) -> *mut usize {
    // The records follow the header. The addition wraps because a check would cost time here.
    header.as_ptr().wrapping_add(1).cast()
}

impl Drop for Area {
    fn drop(&mut self) {
        let bytes = size_of::<Header>() + self.words() * WORD;
        statistics::area_removed(bytes);
        // SAFETY: By the type invariant; `new` computed `words` from `bytes` without a remainder.
        let pages = unsafe { Pages::from_raw(self.0.cast(), bytes) };
        // The caller may be in a context that must not sleep. Users never see areas.
        pages.free_atomic();
    }
}

// SAFETY: `into_foreign` returns a pointer to the header, which is not null and is at the start of
// a page.
unsafe impl ForeignOwnable for Area {
    const FOREIGN_ALIGN: usize = PAGE_SIZE;

    // An area that is not lent has no content to look at.
    type Borrowed<'a> = PhantomData<&'a Area>;
    type BorrowedMut<'a> = PhantomData<&'a mut Area>;

    fn into_foreign(self) -> *mut c_void {
        ManuallyDrop::new(self).0.as_ptr().cast()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // INVARIANT: The ownership comes back from `into_foreign`.
        //
        // SAFETY: The result of `into_foreign` is not null.
        Self(unsafe { NonNull::new_unchecked(ptr.cast()) })
    }

    unsafe fn borrow<'a>(_ptr: *mut c_void) -> PhantomData<&'a Area> {
        PhantomData
    }

    unsafe fn borrow_mut<'a>(_ptr: *mut c_void) -> PhantomData<&'a mut Area> {
        PhantomData
    }
}
