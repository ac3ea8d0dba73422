// SPDX-License-Identifier: GPL-2.0

//! Whether anybody may be collecting coverage, anywhere.
//!
//! While no buffer exists, the gate is closed and every hook returns at once. The gate only saves
//! time: whether a task is recorded is decided by the task's mode.
//!
//! With `CONFIG_KCOV_PATCHED_ENTRY`, `gate.c` replaces the first instruction of the hooks by a
//! return. Elsewhere a jump label in the hooks sends them home, where there are jump labels.

#![expect(unsafe_code)]

use kernel::bindings;

/// Says whether the gate is open, as far as the hook that asks has to look.
#[inline(always)]
pub(crate) fn is_open() -> bool {
    // This is `static_branch_unlikely!`, but for one word: the jump does not touch the stack.
    // Without a promise of that, every hook would align the stack before it.
    #[cfg(all(CONFIG_JUMP_LABEL, not(CONFIG_KCOV_PATCHED_ENTRY)))]
    'open: {
        // SAFETY: `kcov_gate` is a static key, defined in `gate.c`, and off at boot as the branch
        // is.
        unsafe {
            kernel::asm!(
                include!(concat!(
                    env!("OBJTREE"),
                    "/rust/kernel/generated_arch_static_branch_asm.rs"
                ));
                l_yes = label {
                    break 'open true;
                },
                symb = sym bindings::kcov_gate,
                off = const core::mem::offset_of!(bindings::static_key_false, key),
                branch = const 0,
                options(nostack, preserves_flags),
            )
        };
        break 'open false;
    }
    // A hook with a patched entry does not come here while the gate is closed. Without jump labels
    // the test would cost as much as the one of the mode.
    #[cfg(any(not(CONFIG_JUMP_LABEL), CONFIG_KCOV_PATCHED_ENTRY))]
    {
        true
    }
}

/// Keeps the gate open as long as it lives.
///
/// # Invariants
///
/// The gate is opened once for every value of this type.
pub(crate) struct KeepOpen(());

impl KeepOpen {
    /// Opens the gate. Sleeps.
    pub(crate) fn new() -> Self {
        // SAFETY: Callers may sleep.
        unsafe { bindings::kcov_gate_open() };
        // INVARIANT: It was opened right now.
        Self(())
    }
}

impl Drop for KeepOpen {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, it was opened for this value, and not closed for it.
        unsafe { bindings::kcov_gate_close() };
    }
}
