// SPDX-License-Identifier: GPL-2.0

//! Memory that is lent to a section to record in.
//!
//! An area starts with a header that only the kernel sees. While the area is lent, the header holds
//! the [`Section`], and with it what was recorded on the task before. So sections nest without a
//! limit, and without memory for it in the task.

#![expect(unsafe_code)]

use crate::{
    buffer::{Pages, Records, WORD},
    mode::Mode,
    session::Section,
    statistics, //
};
use core::{
    ffi::c_void,
    marker::PhantomData,
    mem::{ManuallyDrop, MaybeUninit},
    ptr::NonNull, //
};
use kernel::{page::PAGE_SIZE, prelude::*, types::ForeignOwnable};

/// The kernel's part of an area. Aligned so that the records start at a cache line.
#[repr(C, align(64))]
pub(crate) struct Header {
    /// The number of words after the header.
    words: usize,
    section: MaybeUninit<Section>,
}

/// Memory to record a section in.
///
/// # Invariants
///
/// Points to the header at the start of [`Pages`] that the value owns, followed by `words` words.
/// `section` is not initialized.
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
    /// Allocates an area for `words` words. Sleeps.
    pub(crate) fn new(words: usize) -> Result<Self> {
        let bytes = words
            .checked_mul(WORD)
            .and_then(|bytes| bytes.checked_add(size_of::<Header>()))
            .ok_or(ENOMEM)?;
        // The records that matter are those that the hooks wrote.
        let pages = Pages::new(bytes.next_multiple_of(PAGE_SIZE), GFP_KERNEL)?;
        let words = (pages.bytes() - size_of::<Header>()) / WORD;
        statistics::area_added(pages.bytes());
        let header: NonNull<Header> = pages.into_raw().cast();
        // SAFETY: There is room for the header.
        unsafe { (*header.as_ptr()).words = words };
        // INVARIANT: The pages were given away right now.
        Ok(Self(header))
    }

    /// The number of words that the area has room for, the count included.
    pub(crate) fn words(&self) -> usize {
        // SAFETY: By the type invariant.
        unsafe { (*self.0.as_ptr()).words }
    }

    /// Where the records go: the count is reset.
    pub(crate) fn reset(&mut self) -> *mut u8 {
        let start = records_start(self.0);
        // SAFETY: There is room for a count of either size.
        unsafe { start.cast::<u64>().write(0) };
        start
    }

    /// The first `words` words of the area as records.
    pub(crate) fn records(&self, mode: Mode, words: usize) -> Records<'_> {
        let capacity = mode.capacity(words.min(self.words()));
        // SAFETY: The area was reset before it was lent, and nobody but the hooks wrote to it
        // since. It is not lent any more.
        unsafe { Records::new(records_start(self.0), mode, capacity) }
    }

    /// Puts a section into the header.
    pub(crate) fn lend(self, section: Section) -> LentArea {
        let header = ManuallyDrop::new(self).0;
        // SAFETY: By the type invariant.
        unsafe { (*header.as_ptr()).section.write(section) };
        // INVARIANT: The section has just been written.
        LentArea(header)
    }
}

impl LentArea {
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

    /// # Safety
    ///
    /// The caller is the task that the section runs on, and has no other reference to the section.
    pub(crate) unsafe fn section<'a>(self) -> &'a mut Section {
        // SAFETY: By the type invariant and this function's requirement.
        unsafe { (*self.0.as_ptr()).section.assume_init_mut() }
    }

    /// Takes the section out of the header.
    ///
    /// # Safety
    ///
    /// The caller is the task that the section runs on, and does not use this or another copy of
    /// `self` again.
    pub(crate) unsafe fn give_back(self) -> (Area, Section) {
        // SAFETY: By the type invariant and this function's requirement.
        let section = unsafe { (*self.0.as_ptr()).section.assume_init_read() };
        // INVARIANT: The section has just been moved out.
        (Area(self.0), section)
    }
}

fn records_start(header: NonNull<Header>) -> *mut u8 {
    // The header is followed by the records; wrapping, as this is no place for a check.
    header.as_ptr().wrapping_add(1).cast()
}

impl Drop for Area {
    fn drop(&mut self) {
        let bytes = size_of::<Header>() + self.words() * WORD;
        statistics::area_removed(bytes);
        // SAFETY: By the type invariant; `new` computed `words` from `bytes`, without a remainder.
        drop(unsafe { Pages::from_raw(self.0.cast(), bytes) });
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
