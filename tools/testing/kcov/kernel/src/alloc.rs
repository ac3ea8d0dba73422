// SPDX-License-Identifier: GPL-2.0

//! Memory.

pub mod allocator;
mod kbox;
mod kvec;

pub use allocator::{Allocator, NumaNode};
pub use kbox::KBox;
pub use kvec::KVec;

/// The vector for large numbers of values.
pub type KVVec<T> = KVec<T>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(u32);

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Flags {
    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

pub mod flags {
    use super::Flags;

    pub const GFP_KERNEL: Flags = Flags(1);
    pub const __GFP_NOWARN: Flags = Flags(2);
    pub const __GFP_ZERO: Flags = Flags(4);
    pub const __GFP_NORETRY: Flags = Flags(8);
    pub const __GFP_RETRY_MAYFAIL: Flags = Flags(16);
}
