// SPDX-License-Identifier: GPL-2.0

//! Types between Rust and C.

use std::{cell::UnsafeCell, ffi::c_void, mem::MaybeUninit};

/// # Safety
///
/// `into_foreign` returns pointers that are not null.
pub unsafe trait ForeignOwnable: Sized {
    const FOREIGN_ALIGN: usize;
    type Borrowed<'a>;
    type BorrowedMut<'a>;

    fn into_foreign(self) -> *mut c_void;

    /// # Safety
    ///
    /// `ptr` comes from `into_foreign`, and nothing else owns it.
    unsafe fn from_foreign(ptr: *mut c_void) -> Self;

    /// # Safety
    ///
    /// As above, or `ptr` is null.
    unsafe fn try_from_foreign(ptr: *mut c_void) -> Option<Self> {
        if ptr.is_null() {
            return None;
        }
        // SAFETY: By this function's requirement.
        Some(unsafe { Self::from_foreign(ptr) })
    }

    /// # Safety
    ///
    /// `ptr` comes from `into_foreign`, and is not taken back during `'a`.
    unsafe fn borrow<'a>(ptr: *mut c_void) -> Self::Borrowed<'a>;

    /// # Safety
    ///
    /// As above, and the value is not borrowed otherwise.
    unsafe fn borrow_mut<'a>(ptr: *mut c_void) -> Self::BorrowedMut<'a>;
}

#[repr(transparent)]
pub struct Opaque<T>(UnsafeCell<MaybeUninit<T>>);

impl<T> Opaque<T> {
    pub const fn uninit() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    pub fn get(&self) -> *mut T {
        self.0.get().cast()
    }

    pub const fn cast_from(pointer: *const T) -> *const Self {
        pointer.cast()
    }
}
