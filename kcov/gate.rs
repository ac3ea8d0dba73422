// SPDX-License-Identifier: GPL-2.0

//! Whether anybody may be collecting coverage, anywhere.
//!
//! While no buffer exists, a jump label at the entry of every hook sends it home, at the cost of a
//! `nop`. The gate only saves time: whether a task is recorded is decided by the task's mode.

#![expect(unsafe_code)]

#[cfg(CONFIG_JUMP_LABEL)]
use core::mem::offset_of;
use kernel::bindings;

/// Says whether the gate is open.
#[inline(always)]
pub(crate) fn is_open() -> bool {
    // This is `static_branch_unlikely!`, but for one word: the jump does not touch the stack.
    // Without a promise of that, every hook would align the stack before it.
    #[cfg(CONFIG_JUMP_LABEL)]
    'open: {
        // SAFETY: `kcov_gate` is a static key, defined in `support.c`, and off at boot as the
        // branch is.
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
                off = const offset_of!(bindings::static_key_false_deferred, key),
                branch = const 0,
                options(nostack, preserves_flags),
            )
        };
        break 'open false;
    }
    // Without jump labels the test would cost as much as the one of the mode.
    #[cfg(not(CONFIG_JUMP_LABEL))]
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

/// Prepares what the hooks need to know about the kernel image, before the gate is first opened.
pub(crate) fn init() {
    // SAFETY: Called once, at boot.
    unsafe { bindings::kcov_support_init() };
}
