// SPDX-License-Identifier: GPL-2.0

//! What compiled code calls.
//!
//! The hooks are called at every basic block and every comparison of the kernel, from all contexts.
//! They are leaves: whatever they call is part of this crate and inlined, nothing in them can
//! panic, block or touch memory that other CPUs write to. `scripts/leafcheck.py` proves it of a
//! kernel image.
//!
//! Their names and signatures are given by the compilers. Only the mode of a running collection
//! decides whether a call is recorded; see [`crate::session`].

#![expect(unsafe_code)]

#[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
mod cmp;
mod pc;
