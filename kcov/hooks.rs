// SPDX-License-Identifier: GPL-2.0

//! The functions that compiled code calls.
//!
//! The hooks are called at every basic block and every comparison of the kernel, from all contexts.
//! They are leaves where [`crate::arch`] is: whatever they call is inlined, nothing in them can
//! panic, block or touch memory that other CPUs write to. `scripts/leafcheck.py` proves it of a
//! kernel image.
//!
//! Their names and signatures are given by the compilers. Only the mode of a running collection
//! decides whether a call is recorded; see [`crate::task`].

#![expect(unsafe_code)]

/// Gives a hook an entry that `gate.c` can patch: an instruction of 5 bytes that does nothing.
///
/// Where functions have to have padding in front of them, hooks get that too; an attribute replaces
/// what the command line asks for.
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
