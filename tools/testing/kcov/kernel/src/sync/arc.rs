// SPDX-License-Identifier: GPL-2.0

use crate::{alloc::Flags, error::Result, init::PinInit, types::ForeignOwnable};
use std::{ffi::c_void, marker::PhantomData, ops::Deref, sync};

pub struct Arc<T>(sync::Arc<T>);

impl<T> Arc<T> {
    pub fn new(value: T, _flags: Flags) -> Result<Self> {
        Ok(Self(sync::Arc::new(value)))
    }

    pub fn pin_init(init: impl PinInit<T>, _flags: Flags) -> Result<Self> {
        Ok(Self(sync::Arc::new(init.make())))
    }

    pub fn as_arc_borrow(&self) -> ArcBorrow<'_, T> {
        ArcBorrow(sync::Arc::as_ptr(&self.0), PhantomData)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A reference that another owner holds during `'a`.
pub struct ArcBorrow<'a, T>(*const T, PhantomData<&'a T>);

impl<T> Clone for ArcBorrow<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ArcBorrow<'_, T> {}

impl<T> Deref for ArcBorrow<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The value lives as long as the reference.
        unsafe { &*self.0 }
    }
}

impl<T> From<ArcBorrow<'_, T>> for Arc<T> {
    fn from(borrowed: ArcBorrow<'_, T>) -> Self {
        // SAFETY: As above, and the pointer is that of an Arc.
        unsafe { sync::Arc::increment_strong_count(borrowed.0) };
        // SAFETY: The count is that of the new reference.
        Self(unsafe { sync::Arc::from_raw(borrowed.0) })
    }
}

// SAFETY: The pointer of an Arc is not null.
unsafe impl<T: 'static> ForeignOwnable for Arc<T> {
    const FOREIGN_ALIGN: usize = align_of::<T>();

    type Borrowed<'a> = ArcBorrow<'a, T>;
    type BorrowedMut<'a> = ArcBorrow<'a, T>;

    fn into_foreign(self) -> *mut c_void {
        sync::Arc::into_raw(self.0).cast_mut().cast()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // SAFETY: By the trait's requirement.
        Self(unsafe { sync::Arc::from_raw(ptr.cast()) })
    }

    unsafe fn borrow<'a>(ptr: *mut c_void) -> ArcBorrow<'a, T> {
        ArcBorrow(ptr.cast(), PhantomData)
    }

    unsafe fn borrow_mut<'a>(ptr: *mut c_void) -> ArcBorrow<'a, T> {
        // SAFETY: As above.
        unsafe { Self::borrow(ptr) }
    }
}
