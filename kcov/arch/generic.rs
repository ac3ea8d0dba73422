// SPDX-License-Identifier: GPL-2.0

//! All other architectures: functions in C that are compiled without instrumentation.
//!
//! They work everywhere, but a hook that records pays for two calls.

use kernel::bindings;

/// True if an access to vmalloc memory may fault, and be handled by instrumented code.
///
/// The architecture is not known, so it may be one whose tasks learn of vmalloc memory by faults.
pub(crate) const VMALLOC_FAULTS: bool = true;

/// Returns the task that runs on this CPU.
#[inline(always)]
pub(crate) fn current_task() -> *mut bindings::task_struct {
    // SAFETY: The function may be called in every context.
    unsafe { bindings::kcov_current_task() }
}

/// Returns the preempt count of this CPU.
///
/// Interrupts change the count, but restore it before they return.
#[inline(always)]
pub(crate) fn preempt_count() -> u32 {
    // SAFETY: The function may be called in every context.
    unsafe { bindings::kcov_preempt_count() }
}

/// Returns the number of this CPU, which is only a hint: the task may be moved at any time.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: The function may be called in every context.
    unsafe { bindings::kcov_cpu() }
}
