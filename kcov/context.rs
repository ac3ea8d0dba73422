// SPDX-License-Identifier: GPL-2.0

//! The context that code runs in, and whether it may be recorded there.
//!
//! Coverage is a function of a system call's inputs, so code of interrupts does not belong into a
//! task's coverage. The exception is a softirq with a remote section of its own.

use crate::arch;
use core::intrinsics;
use kernel::bindings;

/// Bits of the preempt count: a hard interrupt or NMI is being served.
const INTERRUPT: u32 = bindings::kcov_context_bits_KCOV_CONTEXT_INTERRUPT;

/// Bits of the preempt count (with PREEMPT_RT, of the task's count): a softirq is being served.
const SOFTIRQ: u32 = bindings::kcov_context_bits_KCOV_CONTEXT_SOFTIRQ;

/// A context in which sections can start and stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    Task,
    Softirq,
}

impl Context {
    /// Returns the context of the caller, or nothing in hard interrupts and NMI.
    ///
    /// The latter includes hard interrupts and NMI that interrupted a softirq.
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

    /// Returns whether the caller may sleep; the context is the caller's.
    ///
    /// A task may not with softirqs, preemption or interrupts disabled, nor where it reads under
    /// RCU. A kernel that does not count how often preemption is disabled takes a task that holds a
    /// spin lock for one that may sleep.
    #[expect(unsafe_code)]
    pub(crate) fn may_sleep(self) -> bool {
        // SAFETY: The function only looks at the state of the current task and CPU.
        self == Context::Task && unsafe { bindings::kcov_may_sleep() }
    }
}

#[inline(always)]
#[cfg(not(CONFIG_PREEMPT_RT))]
fn serving_softirq(count: u32) -> bool {
    count & SOFTIRQ != 0
}

/// With PREEMPT_RT, softirqs run in task context and can be preempted, so each task has a count of
/// its own.
#[inline(always)]
#[cfg(CONFIG_PREEMPT_RT)]
fn serving_softirq(_count: u32) -> bool {
    arch::softirq_disable_count() & SOFTIRQ != 0
}

/// Returns whether code that runs right now is recorded for the current task, if a mode is set.
///
/// `softirq_section` returns whether the innermost section of the task belongs to a softirq; it is
/// called only in a softirq.
#[inline(always)]
pub(crate) fn recordable(softirq_section: impl FnOnce() -> bool) -> bool {
    let count = arch::preempt_count();
    // One test in the fast path, and no jump that is taken: that alone would make a hook slower by
    // a fifth.
    #[cfg(not(CONFIG_PREEMPT_RT))]
    let fast_path = count & (INTERRUPT | SOFTIRQ) == 0;
    #[cfg(CONFIG_PREEMPT_RT)]
    let fast_path = count & INTERRUPT == 0 && !serving_softirq(count);

    intrinsics::likely(fast_path)
        || (count & INTERRUPT == 0 && (!serving_softirq(count) || softirq_section()))
}
