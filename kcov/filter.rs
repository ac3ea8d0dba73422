// SPDX-License-Identifier: GPL-2.0

//! The filter of an area: which PCs were recorded, as far as it knows.
//!
//! A direct-mapped table. A slot holds the number of a record, or anything: it is believed only if
//! that record is the PC. So a filter forgets, but it is small, and never has to be cleared.

#![expect(unsafe_code)]

use crate::{
    memory::{Memory, Volatile},
    mode::UNIQUE,
    records::{Trace, WORD}, //
};
use core::ptr;

/// The binary logarithm of the number of words of an area for each slot of its filter. A slot takes
/// half a word, so the filter takes an eighth of the area.
const SHARE: u32 = 2;

/// The largest number of slots, as a binary logarithm: 16 KiB.
const MAX_BITS: u32 = 12;

/// A filter, at the end of an area.
///
/// # Invariants
///
/// `slots` is null, or points to as many slots as 64 - `shift` bits can number, which are valid as
/// long as the filter is used.
#[repr(C)]
pub(crate) struct Filter {
    slots: *mut u32,
    shift: u32,
    /// A field of the layout, here where padding would be: `Layout` says what for.
    pub(crate) busy: Volatile<u32>,
}

impl Filter {
    /// No filter.
    pub(crate) const fn none() -> Self {
        Self {
            slots: ptr::null_mut(),
            shift: 0,
            busy: Volatile::new(0),
        }
    }

    /// Returns the memory before a filter, and the filter; nothing if `memory` is too small.
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
        // INVARIANT: By that of `Memory`.
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

    /// Returns whether a PC is known to be among the `count` ones of `pcs`. If not, it is expected
    /// to be recorded next.
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
            // SAFETY: The trace has `count` records; only the hooks write to an area.
            if unsafe { Volatile::at(pcs.start().cast::<usize>(), record) }.get() == pc {
                return true;
            }
        }
        slot.set(count as u32);
        false
    }
}
