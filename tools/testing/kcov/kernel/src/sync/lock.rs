// SPDX-License-Identifier: GPL-2.0

//! Spinning locks.

use crate::{host, task::might_sleep};
use core::{
    model,
    sync::atomic::{AtomicBool, Ordering},
};
use std::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
};

/// A lock. Its holder may sleep if `SLEEPS`.
pub struct Lock<T, const SLEEPS: bool> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

pub type Mutex<T> = Lock<T, true>;
pub type SpinLockIrq<T> = Lock<T, false>;

// SAFETY: As a lock of the library.
unsafe impl<T: Send, const SLEEPS: bool> Send for Lock<T, SLEEPS> {}
// SAFETY: As a lock of the library.
unsafe impl<T: Send, const SLEEPS: bool> Sync for Lock<T, SLEEPS> {}

impl<T, const SLEEPS: bool> Lock<T, SLEEPS> {
    pub const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    pub fn lock(&self) -> Guard<'_, T, SLEEPS> {
        if SLEEPS {
            might_sleep();
        }
        while self.taken.swap(true, Ordering::AcqRel) {
            model::wait();
        }
        if !SLEEPS {
            let atomic = &host::task().atomic;
            atomic.set(atomic.get() + 1);
        }
        Guard(self)
    }
}

pub struct Guard<'a, T, const SLEEPS: bool>(&'a Lock<T, SLEEPS>);

impl<T, const SLEEPS: bool> Deref for Guard<'_, T, SLEEPS> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The lock is held.
        unsafe { &*self.0.value.get() }
    }
}

impl<T, const SLEEPS: bool> DerefMut for Guard<'_, T, SLEEPS> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The lock is held.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T, const SLEEPS: bool> Drop for Guard<'_, T, SLEEPS> {
    fn drop(&mut self) {
        if !SLEEPS {
            let atomic = &host::task().atomic;
            atomic.set(atomic.get() - 1);
        }
        self.0.taken.store(false, Ordering::Release);
    }
}

/// A lock in a variable of the program.
pub struct GlobalLock<T>(Mutex<T>);

impl<T> GlobalLock<T> {
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// # Safety
    ///
    /// None.
    pub unsafe fn init(&self) {}

    pub fn lock(&self) -> Guard<'_, T, true> {
        self.0.lock()
    }
}

#[macro_export]
macro_rules! new_mutex {
    ($value:expr) => {
        move || $crate::sync::Mutex::new($value)
    };
}

#[macro_export]
macro_rules! new_spinlock_irq {
    ($value:expr) => {
        move || $crate::sync::SpinLockIrq::new($value)
    };
}
