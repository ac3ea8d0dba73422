// SPDX-License-Identifier: GPL-2.0

//! The filter of an area: a small table of PCs that were recorded recently.
//!
//! The filter is a direct-mapped table. A slot holds the number of a record, or garbage: the filter
//! relies on it only if that record is the PC in question. Therefore a filter may forget PCs, but
//! it is small and never has to be cleared.

#![expect(unsafe_code)]

use crate::{
    memory::{Memory, Volatile},
    mode::UNIQUE,
    records::{Trace, WORD}, //
};
use core::ptr;

/// The binary logarithm of the number of area words for each slot of the filter. A slot takes half
/// a word, so the filter takes an eighth of the area.
const SHARE: u32 = 2;

/// The binary logarithm of the largest number of slots, which take 16 KiB.
const MAX_BITS: u32 = 12;

/// A filter, at the end of an area.
///
/// # Invariants
///
/// `slots` is null, or points to 2^(64 - `shift`) slots, which are valid while the filter is used.
#[repr(C)]
pub(crate) struct Filter {
    slots: *mut u32,
    shift: u32,
    /// A field of the layout that fills padding here: see `Layout`.
    pub(crate) busy: Volatile<u32>,
}

impl Filter {
    /// Returns a filter without slots.
    pub(crate) const fn none() -> Self {
        Self {
            slots: ptr::null_mut(),
            shift: 0,
            busy: Volatile::new(0),
        }
    }

    /// Returns the memory before the filter, and the filter; `None` if `memory` is too small.
    pub(crate) fn at_end_of(memory: Memory) -> Option<(Memory, Self)> {
        let bits = (memory.words() >> SHARE)
            .checked_ilog2()
            .unwrap_or(0)
            .min(MAX_BITS);
        let words = (size_of::<u32>() << bits) / WORD;
        if !UNIQUE || bits == 0 || words == 0 {
            return None;
        }
        let (front, back) = memory.split_at(memory.words() - words)?;
        // INVARIANT: By the invariant of `Memory`.
        let filter = Self {
            slots: back.start().cast(),
            shift: u64::BITS - bits,
            ..Self::none()
        };
        Some((front, filter))
    }

    #[inline(always)]
    pub(crate) fn exists(&self) -> bool {
        UNIQUE && !self.slots.is_null()
    }

    /// Returns whether the filter knows that `pc` is among the `count` PCs of `pcs`. If it does
    /// not, it expects that the caller records `pc` next.
    #[inline(always)]
    pub(crate) fn has(&self, pcs: Trace, count: usize, pc: usize) -> bool {
        let hash = (pc as u64)
            .wrapping_mul(0x61c8_8646_80b5_83eb)
            .wrapping_shr(self.shift);
        // SAFETY: By the type invariants.
        let slot = unsafe { Volatile::at(self.slots, hash as usize) };
        let index = slot.get() as usize;
        if index < count {
            let record = index.wrapping_add(1);
            // SAFETY: The trace has `count` records, and only the hooks write to an area.
            if unsafe { Volatile::at(pcs.start().cast::<usize>(), record) }.get() == pc {
                return true;
            }
        }
        slot.set(count as u32);
        false
    }
}
