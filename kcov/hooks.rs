// SPDX-License-Identifier: GPL-2.0

//! The functions that compiled code calls.
//!
//! Compiled code calls the hooks at every basic block and every comparison of the kernel, in all
//! contexts. The hooks are leaves if the functions of [`crate::arch`] are: everything that they
//! call is inlined, and they cannot panic, block, or touch memory that other CPUs write to.
//! `scripts/leafcheck.py` proves this for a kernel image.
//!
//! The compilers dictate the names and signatures. Only the mode of the current task decides
//! whether a call is recorded; see [`crate::task`].

#![expect(unsafe_code)]

/// Gives a hook an entry that `gate.c` can patch: a 5-byte instruction that does nothing.
///
/// If the kernel pads the entries of functions, this includes the padding of hooks: the attribute
/// replaces the command-line option that would add it.
macro_rules! hook {
    ($($function:tt)*) => {
        #[cfg_attr(
            all(CONFIG_KCOV_PATCHED_ENTRY, not(CONFIG_CALL_PADDING)),
            patchable_function_entry(entry_nops = 5)
        )]
        #[cfg_attr(
            all(CONFIG_KCOV_PATCHED_ENTRY, CONFIG_CALL_PADDING),
            patchable_function_entry(prefix_nops = 16, entry_nops = 5)
        )]
        $($function)*
    };
}

#[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
pub(crate) mod cmp;
pub(crate) mod pc;
