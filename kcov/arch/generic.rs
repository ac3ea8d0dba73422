// SPDX-License-Identifier: GPL-2.0

//! Every other architecture: functions in C, which are compiled without instrumentation.
//!
//! Works everywhere, at the price of two calls in a hook that records.

use kernel::bindings;

/// Returns the task that runs on this CPU.
#[inline(always)]
pub(crate) fn current_task() -> *mut bindings::task_struct {
    // SAFETY: Can be called in every context.
    unsafe { bindings::kcov_current_task() }
}

/// Returns the preempt count of this CPU.
///
/// Interrupts change it, but have changed it back when they return.
#[inline(always)]
pub(crate) fn preempt_count() -> u32 {
    // SAFETY: Can be called in every context.
    unsafe { bindings::kcov_preempt_count() }
}

/// Returns the number of this CPU, which is a hint only: the task may be moved at any time.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: Can be called in every context.
    unsafe { bindings::kcov_cpu() }
}
