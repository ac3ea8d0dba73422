// SPDX-License-Identifier: GPL-2.0

//! The set of recorded PCs: one bit for each [`STEP`] bytes of the kernel's code.
//!
//! The bit of a PC is at [`position`]: the distance from the start of the kernel's code, in steps
//! of [`STEP`] bytes. Every instruction that calls a hook by its address is at least that long, so
//! two PCs never share a bit, and one PC is never taken for another. A PC whose bit is outside the
//! set is recorded every time.
//!
//! The set needs no table: the position is a subtraction and a shift, and it is the same in every
//! boot of a kernel, except for modules, whose addresses change. 64 bytes of the set cover 2 KiB of
//! code, so functions next to each other share a cache line.

#![expect(unsafe_code)]

use crate::{
    memory::{opaque, Memory, Volatile},
    mode::UNIQUE, //
};
use core::{intrinsics, ptr};
use kernel::bindings;

/// The number of bytes of code that share a bit of the set: the length of the shortest call by
/// address on any architecture.
pub(crate) const STEP: usize = 4;

/// The number of bytes of code that share a word of the set.
const WORD_BYTES: usize = STEP * usize::BITS as usize;

/// A set, at the start of a buffer.
///
/// # Invariants
///
/// `start` points to `words` words, and `words` is at least `direct_words`. The words are valid
/// while the set is used.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Set {
    start: *mut usize,
    /// The number of words that are used only for code of the kernel image.
    direct_words: usize,
    words: usize,
}

impl Set {
    pub(crate) const NONE: Self = Self {
        start: ptr::null_mut(),
        direct_words: 0,
        words: 0,
    };

    /// Makes a set that takes all of `memory`.
    pub(crate) fn new(memory: Memory) -> Self {
        // INVARIANT: By the invariant of `Memory`.
        Self {
            start: memory.start(),
            direct_words: memory.words().min(text().size / WORD_BYTES),
            words: memory.words(),
        }
    }

    /// Returns the size of the set in words; 0 if the layout has no set.
    #[inline(always)]
    pub(crate) fn words(&self) -> usize {
        if UNIQUE {
            self.words
        } else {
            0
        }
    }

    /// Returns whether a PC of the kernel image is in the set; false for other PCs. `position` is
    /// its [`direct_position`].
    ///
    /// Most PCs are in the kernel image, so this skips the steps that PCs of modules need.
    #[inline(always)]
    pub(crate) fn has_direct(&self, position: usize) -> bool {
        if !UNIQUE {
            return false;
        }
        let index = position / usize::BITS as usize;
        if !intrinsics::likely(index < self.direct_words) {
            return false;
        }
        // SAFETY: By the type invariants.
        let word = unsafe { Volatile::at(self.start, index) };
        word.get() & bit_at(position) != 0
    }

    /// Returns the bit at a [`position`]; `None` if the set is too small for it.
    #[inline(always)]
    pub(crate) fn bit(&self, position: usize) -> Option<Bit<'_>> {
        if position / usize::BITS as usize >= self.words {
            return None;
        }
        // INVARIANT: The set has the word.
        Some(Bit {
            set: self,
            position,
        })
    }

    /// Removes the PCs whose bits are in the `number` words that start at word `from`.
    pub(crate) fn clear(&self, from: usize, number: usize) {
        let from = from.min(self.words());
        let number = number.min(self.words() - from);
        // SAFETY: By the type invariants. If user space writes to the set at the same time, user
        // space decides which PCs it contains.
        unsafe { self.start.wrapping_add(from).write_bytes(0, number) };
    }
}

/// The bit of a PC in a set.
///
/// # Invariants
///
/// `position` is the number of a bit of `set`.
pub(crate) struct Bit<'a> {
    set: &'a Set,
    position: usize,
}

impl Bit<'_> {
    #[inline(always)]
    fn word(&self) -> &Volatile<usize> {
        // SAFETY: By the type invariants.
        unsafe { Volatile::at(self.set.start, self.position / usize::BITS as usize) }
    }

    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        self.word().get() & bit_at(self.position) != 0
    }

    #[inline(always)]
    pub(crate) fn set(&self) {
        let word = self.word();
        word.set(word.get() | bit_at(self.position));
    }
}

/// Returns the bit number of a canonical PC of the kernel image.
#[inline(always)]
pub(crate) fn direct_position(pc: usize) -> usize {
    // Otherwise the compiler would shift the difference anew for each use.
    opaque(pc.wrapping_sub(text().start) / STEP)
}

/// Returns the bit number of a canonical PC. `direct` is its [`direct_position`].
///
/// The bits of the kernel image come first. The bits of modules follow, counted from the lowest
/// address that a module can have.
#[inline(always)]
pub(crate) fn position(pc: usize, direct: usize) -> usize {
    let text = text();
    // The size is a multiple of a step.
    if intrinsics::unlikely(direct.wrapping_mul(STEP) >= text.size) {
        return pc.wrapping_sub(text.modules).wrapping_add(text.size) / STEP;
    }
    direct
}

/// Returns the mask of a position's bit in its word.
#[inline(always)]
fn bit_at(position: usize) -> usize {
    1_usize.wrapping_shl(position as u32)
}

#[inline(always)]
fn text() -> &'static bindings::kcov_text {
    let text = ptr::addr_of!(bindings::kcov_text);
    // SAFETY: The variable is written once, before anything is recorded.
    unsafe { &*text }
}

/// Returns the PC whose bit is the first of a set.
pub(crate) fn start() -> usize {
    text().start
}

/// Returns the address that replaces [`start`] for PCs of modules, whose bits follow those of the
/// image.
pub(crate) fn modules() -> usize {
    text().modules.wrapping_sub(text().size)
}

/// Returns the number of words that a set needs for all code of the kernel image, without modules.
pub(crate) fn image_words() -> usize {
    text().size.div_ceil(WORD_BYTES)
}
