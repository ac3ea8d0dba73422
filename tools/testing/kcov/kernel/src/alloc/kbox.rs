// SPDX-License-Identifier: GPL-2.0

use super::Flags;
use crate::error::Result;
use std::ops::{Deref, DerefMut};

pub struct KBox<T>(Box<T>);

impl<T> KBox<T> {
    pub fn new(value: T, _flags: Flags) -> Result<Self> {
        Ok(Self(Box::new(value)))
    }

    pub fn into_raw(value: Self) -> *mut T {
        Box::into_raw(value.0)
    }

    /// # Safety
    ///
    /// `pointer` comes from `into_raw`, and nothing else owns it.
    pub unsafe fn from_raw(pointer: *mut T) -> Self {
        // SAFETY: By this function's requirement.
        Self(unsafe { Box::from_raw(pointer) })
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
