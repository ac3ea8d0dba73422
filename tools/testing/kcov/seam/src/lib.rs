// SPDX-License-Identifier: GPL-2.0

//! The `core` library as the kernel's sources see it.
//!
//! This is the only seam between the sources and the models. The crates that include the sources
//! have `extern crate seam as core`, so that `core::` in the sources leads here. Everything comes
//! from the real library except [`sync::atomic`], whose operations are those of a model, and two
//! hints that are not stable.

pub use ::core::*;

pub mod model;

/// Hints to the optimizer.
pub mod intrinsics {
    /// `core::intrinsics::likely`.
    #[inline(always)]
    pub const fn likely(condition: bool) -> bool {
        condition
    }

    /// `core::intrinsics::unlikely`.
    #[inline(always)]
    pub const fn unlikely(condition: bool) -> bool {
        condition
    }
}

/// Synchronisation.
pub mod sync {
    pub mod atomic;
}
