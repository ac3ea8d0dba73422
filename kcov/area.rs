// SPDX-License-Identifier: GPL-2.0

//! Memory that is lent to a section to record in.
//!
//! An area starts with a header that only the kernel sees. While the area is lent, the header holds
//! the [`Section`], and with it what was recorded on the task before. So sections nest without a
//! limit, and without memory for it in the task.

#![expect(unsafe_code)]

use crate::{
    buffer::Pages,
    layout::{Layout, Memory, Records},
    mode::Mode,
    recording::Section,
    records::{Kind, WORD},
    statistics, //
};
use core::{
    ffi::c_void,
    marker::PhantomData,
    mem::{ManuallyDrop, MaybeUninit},
    ptr::{self, NonNull}, //
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
    /// The layout of the words, and what it is for: the next section mostly wants the same.
    layout: Layout,
    laid_out_for: Option<(Mode, usize)>,
    section: MaybeUninit<Section>,
}

/// Memory to record a section in.
///
/// # Invariants
///
/// Points to the header at the start of [`Pages`] that the value owns, followed by `words` words,
/// of which `layout` is a layout. `section` is not initialized.
pub(crate) struct Area(NonNull<Header>);

/// An area that holds a section.
///
/// # Invariants
///
/// As for [`Area`], but owned by the task that the section runs on, and `section` is initialized.
#[derive(Clone, Copy)]
pub(crate) struct LentArea(NonNull<Header>);

// SAFETY: An area that is not lent is plain memory.
unsafe impl Send for Area {}

impl Area {
    /// Allocates an area for `words` words. May sleep.
    ///
    /// `flags` says how hard to try, in addition to `GFP_KERNEL`. No failure is reported to the
    /// log, and no process is killed for the memory.
    pub(crate) fn new(words: usize, flags: Flags) -> Result<Self> {
        let bytes = words
            .checked_mul(WORD)
            .and_then(|bytes| bytes.checked_add(size_of::<Header>()))
            .ok_or(ENOMEM)?;
        // The records that matter are those that the hooks wrote.
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
        // SAFETY: There is room for the header.
        unsafe { header.as_ptr().write(content) };
        // INVARIANT: The pages were given away right now.
        Ok(Self(header))
    }

    /// The number of words that the area has room for, the count included.
    pub(crate) fn words(&self) -> usize {
        // SAFETY: By the type invariant.
        unsafe { (*self.0.as_ptr()).words }
    }

    /// Lays out the first `words` words of the area for a mode, with nothing recorded.
    #[inline(always)]
    pub(crate) fn lay_out(&mut self, mode: Mode, words: usize) {
        let header = self.0.as_ptr();
        // SAFETY: By the type invariant, the header is valid, and nobody else uses it.
        unsafe {
            if (*header).laid_out_for == Some((mode, words)) {
                (*header).layout.reset_counts();
                return;
            }
        }
        self.lay_out_anew(mode, words);
    }

    #[cold]
    fn lay_out_anew(&mut self, mode: Mode, words: usize) {
        let memory = Memory {
            start: records_start(self.0),
            words: words.min(self.words()),
        };
        let header = self.0.as_ptr();
        // SAFETY: As above. The layout is used as long as the area exists at the most.
        unsafe {
            (*header).layout = Layout::of_area(mode, memory);
            (*header).laid_out_for = Some((mode, words));
        }
    }

    /// The layout of the area.
    pub(crate) fn layout(&self) -> &Layout {
        // SAFETY: By the type invariant, the header is valid.
        unsafe { &(*self.0.as_ptr()).layout }
    }

    /// Puts a section into the header.
    #[inline(always)]
    pub(crate) fn lend(self, section: Section) -> LentArea {
        let header = ManuallyDrop::new(self).0;
        // SAFETY: By the type invariant.
        unsafe { (*header.as_ptr()).section.write(section) };
        // INVARIANT: The section has just been written.
        LentArea(header)
    }
}

impl LentArea {
    /// The layout of the area. Valid until the area is given back.
    pub(crate) fn layout(self) -> *const Layout {
        // SAFETY: By the type invariant, the header is valid.
        unsafe { ptr::addr_of!((*self.0.as_ptr()).layout) }
    }

    pub(crate) fn as_ptr(self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    /// # Safety
    ///
    /// `pointer` is null, or comes from [`LentArea::as_ptr`] of an area that has not been returned.
    pub(crate) unsafe fn from_ptr(pointer: *mut c_void) -> Option<Self> {
        // INVARIANT: By this function's requirement.
        NonNull::new(pointer.cast()).map(Self)
    }

    /// Returns the section. Softirqs on top of the caller may have a reference to it, too.
    ///
    /// # Safety
    ///
    /// The caller is the task that the section runs on, and uses the result only until the area is
    /// given back.
    pub(crate) unsafe fn section<'a>(self) -> &'a Section {
        // SAFETY: By the type invariant and this function's requirement.
        unsafe { (*self.0.as_ptr()).section.assume_init_ref() }
    }

    /// Takes the area back.
    ///
    /// # Safety
    ///
    /// The caller is the task that the section runs on, nothing records into it any more, and
    /// neither this nor another copy of `self` is used again.
    #[inline(always)]
    pub(crate) unsafe fn give_back(self) -> EndedArea {
        // INVARIANT: By the type invariant and this function's requirement.
        EndedArea(Area(self.0))
    }
}

/// An area that is not lent any more, with the section that has recorded into it.
///
/// # Invariants
///
/// `section` in the header is initialized, and nothing records into the area.
pub(crate) struct EndedArea(Area);

impl EndedArea {
    /// Says whether anything was recorded, or should have been.
    #[inline(always)]
    pub(crate) fn has_records(&self) -> bool {
        // SAFETY: See `records`.
        unsafe { self.0.layout().has_records() }
    }

    /// How many records there was no room for.
    pub(crate) fn dropped(&self) -> usize {
        self.0.layout().dropped()
    }

    pub(crate) fn section(&self) -> &Section {
        // SAFETY: By the type invariant.
        unsafe { (*self.0 .0.as_ptr()).section.assume_init_ref() }
    }

    /// What was recorded, of one kind.
    #[inline(always)]
    pub(crate) fn records(&self, kind: Kind) -> Records<'_> {
        // SAFETY: The counts were reset before the area was lent, and nobody but the hooks wrote to
        // it since.
        unsafe { self.0.layout().records(kind) }
    }

    /// The area, for the next section.
    pub(crate) fn into_area(self) -> Area {
        self.0
    }
}

fn records_start(header: NonNull<Header>) -> *mut usize {
    // The header is followed by the records; wrapping, as this is no place for a check.
    header.as_ptr().wrapping_add(1).cast()
}

impl Drop for Area {
    fn drop(&mut self) {
        let bytes = size_of::<Header>() + self.words() * WORD;
        statistics::area_removed(bytes);
        // SAFETY: By the type invariant; `new` computed `words` from `bytes`, without a remainder.
        let pages = unsafe { Pages::from_raw(self.0.cast(), bytes) };
        // The context that gives an area back may not be allowed to sleep. Users never see areas.
        pages.free_atomic();
    }
}

// SAFETY: `into_foreign` gives a pointer to the header, which is not null, at the start of a page.
unsafe impl ForeignOwnable for Area {
    const FOREIGN_ALIGN: usize = PAGE_SIZE;

    // Nobody looks at an area that is not lent.
    type Borrowed<'a> = PhantomData<&'a Area>;
    type BorrowedMut<'a> = PhantomData<&'a mut Area>;

    fn into_foreign(self) -> *mut c_void {
        ManuallyDrop::new(self).0.as_ptr().cast()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // INVARIANT: Ownership comes back from `into_foreign`.
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
