// SPDX-License-Identifier: GPL-2.0

//! RISC-V: the current task is in the thread pointer, and the preempt count in the task.

use crate::offsets;
use core::arch::asm;
use kernel::bindings;

/// Returns the task that runs on this CPU.
#[inline(always)]
pub(crate) fn current_task() -> *mut bindings::task_struct {
    let task;
    // SAFETY: A read of a register. It is the same whenever the code that reads it runs, so the
    // compiler may merge reads.
    unsafe {
        asm!(
            "mv {}, tp",
            out(reg) task,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
    task
}

/// Returns the preempt count of the current task.
///
/// Interrupts change it, but have changed it back when they return.
#[inline(always)]
pub(crate) fn preempt_count() -> u32 {
    let count = current_task()
        .wrapping_byte_add(offsets::TASK_PREEMPT_COUNT)
        .cast::<u32>();
    // SAFETY: The current task is valid, and has its count there.
    unsafe { count.read_volatile() }
}

/// Returns the number of this CPU, which is a hint only: the task may be moved at any time.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    let cpu = current_task()
        .wrapping_byte_add(offsets::TASK_CPU)
        .cast::<u32>();
    // SAFETY: The current task is valid, and has the number of its CPU there.
    unsafe { cpu.read_volatile() }
}
