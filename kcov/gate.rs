// SPDX-License-Identifier: GPL-2.0

//! The gate: while it is open, the hooks are switched on.
//!
//! While no buffer exists, the gate is closed and every hook returns at once. The gate only saves
//! time: the task's mode decides whether a task is recorded.
//!
//! With `CONFIG_KCOV_PATCHED_ENTRY`, `gate.c` replaces the first instruction of each hook by a
//! return. Without it, a jump label in the hook returns, if the architecture has jump labels. With
//! `CONFIG_KCOV_SITES`, the gate also has the calls of the hooks removed (`sites.rs`). The boot
//! parameter `kcov_hooks=` can keep the gate open permanently.

#![expect(unsafe_code)]

use kernel::{bindings, error::to_result, prelude::*};

/// Returns whether the gate is open, or true if the calling hook does not have to check.
#[inline(always)]
pub(crate) fn is_open() -> bool {
    // This is `static_branch_unlikely!` with one more word: `nostack`, which promises that the jump
    // does not touch the stack. Without it, the compiler would align the stack in every hook before
    // the jump.
    #[cfg(all(CONFIG_JUMP_LABEL, not(CONFIG_KCOV_PATCHED_ENTRY)))]
    'open: {
        // SAFETY: `kcov_gate` is a static key that `gate.c` defines. It is off at boot, as the
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
                off = const core::mem::offset_of!(bindings::static_key_false, key),
                branch = const 0,
                options(nostack, preserves_flags),
            )
        };
        break 'open false;
    }
    // While the gate is closed, a hook with a patched entry does not get here. Without jump labels,
    // a test of the gate would cost as much as the test of the mode.
    #[cfg(any(not(CONFIG_JUMP_LABEL), CONFIG_KCOV_PATCHED_ENTRY))]
    {
        true
    }
}

/// Keeps the gate open while the value lives.
///
/// # Invariants
///
/// The gate was opened once for every value of this type.
pub(crate) struct KeepOpen(());

impl KeepOpen {
    /// Opens the gate. May sleep: a worker switches the hooks on.
    ///
    /// Returns [`EINTR`] if the task is killed while it waits.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Callers may sleep.
        to_result(unsafe { bindings::kcov_gate_open() })?;
        // INVARIANT: The gate was opened above.
        Ok(Self(()))
    }
}

impl Drop for KeepOpen {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the gate was opened for this value and has not been closed
        // for it.
        unsafe { bindings::kcov_gate_close() };
    }
}

/// Returns the state of the hooks as text: "on", "off", or "always" if they are never switched.
pub(crate) fn state() -> &'static str {
    // SAFETY: The function only reads variables.
    let state = unsafe { bindings::kcov_gate_state() };
    // SAFETY: The function returns a string literal.
    let state = unsafe { CStr::from_char_ptr(state) };
    state.to_str().unwrap_or_default()
}

/// Returns the number of times that the hooks were switched on or off since the boot.
pub(crate) fn switches() -> i32 {
    // SAFETY: The function only reads a counter.
    unsafe { bindings::kcov_gate_switches() }
}
