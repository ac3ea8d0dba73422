// SPDX-License-Identifier: GPL-2.0

//! The context that code runs in, and whether code in that context is recorded.
//!
//! The coverage of a system call is meant to depend on its inputs, so the code of interrupts does
//! not belong to a task's coverage. The exception is a softirq that has a remote section of its
//! own.

use crate::arch;
use core::intrinsics;
use kernel::bindings;

/// Bits of the preempt count that are set while a hard interrupt or an NMI is served.
const INTERRUPT: u32 = bindings::kcov_context_bits_KCOV_CONTEXT_INTERRUPT;

/// Bits that are set while a softirq is served: of the preempt count, with PREEMPT_RT of the task's
/// softirq count.
const SOFTIRQ: u32 = bindings::kcov_context_bits_KCOV_CONTEXT_SOFTIRQ;

/// A context in which sections can start and stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    Task,
    Softirq,
}

impl Context {
    /// Returns the context of the caller, or `None` in hard interrupts and NMIs, including those
    /// that interrupted a softirq.
    #[inline(always)]
    pub(crate) fn current() -> Option<Self> {
        let count = arch::preempt_count();
        if count & INTERRUPT != 0 {
            None
        } else if serving_softirq(count) {
            Some(Context::Softirq)
        } else {
            Some(Context::Task)
        }
    }

    /// Returns whether the caller may sleep. `self` must be the caller's context.
    ///
    /// A task must not sleep while softirqs, preemption or interrupts are disabled, or in an RCU
    /// read-side critical section. A kernel that does not count how often preemption is disabled
    /// cannot tell that a task holds a spin lock, and then this function returns true.
    #[expect(unsafe_code)]
    pub(crate) fn may_sleep(self) -> bool {
        // SAFETY: The function only reads the state of the current task and CPU.
        self == Context::Task && unsafe { bindings::kcov_may_sleep() }
    }
}

#[inline(always)]
#[cfg(not(CONFIG_PREEMPT_RT))]
fn serving_softirq(count: u32) -> bool {
    count & SOFTIRQ != 0
}

/// With PREEMPT_RT, softirqs run in task context and can be preempted, so each task has a softirq
/// count of its own.
#[inline(always)]
#[cfg(CONFIG_PREEMPT_RT)]
fn serving_softirq(_count: u32) -> bool {
    arch::softirq_disable_count() & SOFTIRQ != 0
}

/// Returns whether the code that runs now is recorded for the current task, given that a mode is
/// set.
///
/// `softirq_section` returns whether the innermost section of the task belongs to a softirq; it is
/// called only in a softirq.
#[inline(always)]
pub(crate) fn recordable(softirq_section: impl FnOnce() -> bool) -> bool {
    let count = arch::preempt_count();
    // The fast path has one test and no taken jump: a taken jump alone would make a hook slower by
    // a fifth.
    #[cfg(not(CONFIG_PREEMPT_RT))]
    let fast_path = count & (INTERRUPT | SOFTIRQ) == 0;
    #[cfg(CONFIG_PREEMPT_RT)]
    let fast_path = count & INTERRUPT == 0 && !serving_softirq(count);

    intrinsics::likely(fast_path)
        || (count & INTERRUPT == 0 && (!serving_softirq(count) || softirq_section()))
}
