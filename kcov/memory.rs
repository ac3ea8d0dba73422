// SPDX-License-Identifier: GPL-2.0

//! Memory that other code may access at any moment: hooks in interrupts, or user space.

#![expect(unsafe_code)]

use core::{arch::asm, cell::UnsafeCell};
use kernel::sync::atomic::Atomic;

/// A value that is read and written as a whole, by volatile accesses, which keep their order.
///
/// That is sufficient against code that runs on the same CPU, and against user space, whose values
/// are not trusted.
#[repr(transparent)]
pub(crate) struct Volatile<T>(UnsafeCell<T>);

impl<T: Copy> Volatile<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Returns the value at `index` in an array that begins at `start`.
    ///
    /// # Safety
    ///
    /// The value is valid during `'a`, and no plain reference to it exists.
    #[inline(always)]
    pub(crate) unsafe fn at<'a>(start: *mut T, index: usize) -> &'a Self {
        // SAFETY: By this function's requirement.
        unsafe { &*start.wrapping_add(index).cast() }
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> T {
        // SAFETY: The reference is valid. Only volatile accesses reach the value.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: T) {
        // SAFETY: As above.
        unsafe { self.0.get().write_volatile(value) }
    }
}

/// Reads an atomic as `READ_ONCE()` does, which orders nothing. Inlined, where [`Atomic::load`]
/// calls a function in C.
#[inline(always)]
pub(crate) fn read_once(atomic: &Atomic<usize>) -> usize {
    // SAFETY: The pointer is valid, and a volatile access of a word is one access.
    unsafe { atomic.as_ptr().read_volatile() }
}

/// Writes an atomic as `WRITE_ONCE()` does, which orders nothing. Only for atomics that are loaded
/// and stored, and not changed by other operations.
#[inline(always)]
pub(crate) fn write_once(atomic: &Atomic<usize>, value: usize) {
    // SAFETY: As above.
    unsafe { atomic.as_ptr().write_volatile(value) }
}

/// Returns `value`. The compiler does not know that, so it uses the result in the form that it has,
/// in a register.
#[inline(always)]
pub(crate) fn opaque(mut value: usize) -> usize {
    // SAFETY: The block is empty.
    unsafe { asm!("/* {0} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

/// Words that are still to be laid out.
///
/// # Invariants
///
/// `start` points to `words` words, which are valid while a layout of them is used. Kernel code
/// accesses the words only through their layouts. User space may access the words of a buffer.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    start: *mut usize,
    words: usize,
}

impl Memory {
    /// Makes a value for `words` words at `start`.
    ///
    /// # Safety
    ///
    /// The arguments fulfil the type's invariants.
    pub(crate) unsafe fn new(start: *mut usize, words: usize) -> Self {
        // INVARIANT: By this function's requirement.
        Self { start, words }
    }

    pub(crate) fn start(self) -> *mut usize {
        self.start
    }

    /// Returns the number of words.
    pub(crate) fn words(self) -> usize {
        self.words
    }

    /// Returns the first `front` words and the remaining words; `None` if there are fewer than
    /// `front`.
    pub(crate) fn split_at(self, front: usize) -> Option<(Self, Self)> {
        let back = self.words.checked_sub(front)?;
        // INVARIANT: The second part starts at the end of the first.
        let front_part = Self {
            start: self.start,
            words: front,
        };
        let back_part = Self {
            start: self.start.wrapping_add(front),
            words: back,
        };
        Some((front_part, back_part))
    }
}
