// SPDX-License-Identifier: GPL-2.0

//! The gate: the hooks are switched on while it is open.
//!
//! While no buffer exists, the gate is closed and every hook returns at once. The gate only saves
//! time: the task's mode decides whether a task is recorded.
//!
//! With `CONFIG_KCOV_PATCHED_ENTRY`, `gate.c` replaces the first instruction of the hooks by a
//! return. Elsewhere a jump label in the hooks returns, where there are jump labels. The boot
//! parameter `kcov_hooks=` keeps the gate open for good.

#![expect(unsafe_code)]

use kernel::{bindings, error::to_result, prelude::*};

/// Returns whether the gate is open, as far as the calling hook has to look.
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
    /// Opens the gate. May sleep: a worker switches the hooks on.
    ///
    /// [`EINTR`] if the task is killed while it waits.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Callers may sleep.
        to_result(unsafe { bindings::kcov_gate_open() })?;
        // INVARIANT: It was opened right now.
        Ok(Self(()))
    }
}

impl Drop for KeepOpen {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, it was opened for this value, and not closed for it.
        unsafe { bindings::kcov_gate_close() };
    }
}

/// Returns the state of the hooks as a text: "on", "off", or "always" if they are never switched.
pub(crate) fn state() -> &'static str {
    // SAFETY: The function only reads variables.
    let state = unsafe { bindings::kcov_gate_state() };
    // SAFETY: It is a string literal.
    let state = unsafe { CStr::from_char_ptr(state) };
    state.to_str().unwrap_or_default()
}

/// Returns how often the hooks were switched on or off since the boot.
pub(crate) fn switches() -> i32 {
    // SAFETY: The function only reads a counter.
    unsafe { bindings::kcov_gate_switches() }
}
