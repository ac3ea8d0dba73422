// SPDX-License-Identifier: GPL-2.0

//! The set of the PCs that were recorded: one bit for each [`STEP`] bytes of the kernel's code.
//!
//! The bit of a PC is at [`position`]: the distance from the start of the kernel's code, in steps
//! of [`STEP`] bytes. No instruction that calls a hook by its address is shorter than that, so no
//! two PCs share a bit, and no PC is taken for another. What does not fit into the set is recorded
//! every time.
//!
//! This needs no table: the position is a subtraction and a shift, it is the same in every boot of
//! a kernel (but for modules, which have other addresses then), and 64 bytes of the set are for
//! 2 KiB of code, so that functions next to each other use one cache line.

#![expect(unsafe_code)]

use crate::{
    memory::{Memory, Volatile},
    mode::UNIQUE, //
};
use core::{intrinsics, ptr};
use kernel::bindings;

/// The number of bytes of code that share a bit of the set: the shortest call of an address on any
/// architecture.
pub(crate) const STEP: usize = 4;

/// The number of bytes of code that share a word of the set.
const WORD_BYTES: usize = STEP * usize::BITS as usize;

/// A set, at the start of a buffer.
///
/// # Invariants
///
/// `start` points to `words` words, `direct_words` or more, which are valid as long as the set is
/// used.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Set {
    start: *mut usize,
    /// The number of words that are for code of the kernel image, and for nothing else.
    direct_words: usize,
    words: usize,
}

impl Set {
    pub(crate) const NONE: Self = Self {
        start: ptr::null_mut(),
        direct_words: 0,
        words: 0,
    };

    /// A set that takes all of `memory`.
    pub(crate) fn new(memory: Memory) -> Self {
        // INVARIANT: By that of `Memory`.
        Self {
            start: memory.start(),
            direct_words: memory.words().min(text().size / WORD_BYTES),
            words: memory.words(),
        }
    }

    /// Returns the size of the set in words, 0 if there is none.
    #[inline(always)]
    pub(crate) fn words(&self) -> usize {
        if UNIQUE {
            self.words
        } else {
            0
        }
    }

    /// Returns whether a PC of the kernel image is in the set.
    ///
    /// Most PCs are, so this does not do what others need.
    #[inline(always)]
    pub(crate) fn has_direct(&self, pc: usize) -> bool {
        if !UNIQUE {
            return false;
        }
        let offset = pc.wrapping_sub(text().start);
        let index = offset / WORD_BYTES;
        if !intrinsics::likely(index < self.direct_words) {
            return false;
        }
        // SAFETY: By the type invariants.
        let word = unsafe { Volatile::at(self.start, index) };
        word.get() & bit_at(offset / STEP) != 0
    }

    /// Returns the bit of a PC; nothing if the set is too small.
    #[inline(always)]
    pub(crate) fn bit(&self, pc: usize) -> Option<Bit<'_>> {
        let position = position(pc);
        let index = position / usize::BITS as usize;
        if index >= self.words {
            return None;
        }
        // SAFETY: By the type invariants.
        let word = unsafe { Volatile::at(self.start, index) };
        Some(Bit {
            word,
            bit: bit_at(position),
        })
    }

    /// Takes the PCs out of the set whose bits are in the given words.
    pub(crate) fn clear(&self, from: usize, number: usize) {
        let from = from.min(self.words());
        let number = number.min(self.words() - from);
        // SAFETY: By the type invariants. If user space writes to the set at the same time, it
        // decides what is in it.
        unsafe { self.start.wrapping_add(from).write_bytes(0, number) };
    }
}

/// The bit of a PC in a set.
pub(crate) struct Bit<'a> {
    word: &'a Volatile<usize>,
    bit: usize,
}

impl Bit<'_> {
    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        self.word.get() & self.bit != 0
    }

    #[inline(always)]
    pub(crate) fn set(&self) {
        self.word.set(self.word.get() | self.bit);
    }
}

/// Returns the number of the bit of a canonical PC.
///
/// The kernel's own code comes first. The code of modules follows, from the start of the addresses
/// that modules are loaded to.
#[inline(always)]
pub(crate) fn position(pc: usize) -> usize {
    let text = text();
    let mut offset = pc.wrapping_sub(text.start);
    if intrinsics::unlikely(offset >= text.size) {
        offset = pc.wrapping_sub(text.modules).wrapping_add(text.size);
    }
    offset / STEP
}

/// Returns the bit of a position in its word.
#[inline(always)]
fn bit_at(position: usize) -> usize {
    1_usize.wrapping_shl(position as u32)
}

#[inline(always)]
fn text() -> &'static bindings::kcov_text {
    let text = ptr::addr_of!(bindings::kcov_text);
    // SAFETY: Written once, before anything can be recorded.
    unsafe { &*text }
}

/// Returns the PC whose bit is the first of a set.
pub(crate) fn start() -> usize {
    text().start
}

/// Returns what takes the place of [`start`] for the PCs of modules, whose bits follow the image's.
pub(crate) fn modules() -> usize {
    text().modules.wrapping_sub(text().size)
}

/// Returns the number of words that a set needs for all code of the kernel image, without modules.
pub(crate) fn image_words() -> usize {
    text().size.div_ceil(WORD_BYTES)
}
