// SPDX-License-Identifier: GPL-2.0

//! arm64: the current task is in a register that the kernel reserves, and the preempt count is in
//! the task.
//!
//! A return address may carry a signature. The compiler removes it when it returns a function's own
//! return address, even if the processor signs nothing.

use crate::offsets;
use core::arch::asm;
use kernel::bindings;

/// True if an access to vmalloc memory may fault, and be handled by instrumented code.
///
/// All tasks share the page tables of the kernel, including those of vmalloc memory.
pub(crate) const VMALLOC_FAULTS: bool = false;

/// Returns the task that runs on this CPU.
#[inline(always)]
pub(crate) fn current_task() -> *mut bindings::task_struct {
    let task;
    // SAFETY: Reads a register. The value is the same for the code that reads it whenever that code
    // runs, so the compiler may merge reads.
    unsafe {
        asm!(
            "mrs {}, sp_el0",
            out(reg) task,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
    task
}

/// Returns the preempt count of the current task, without the flag in the upper half of the field.
///
/// Interrupts change the count, but restore it before they return.
#[inline(always)]
pub(crate) fn preempt_count() -> u32 {
    let count = current_task()
        .wrapping_byte_add(offsets::TASK_PREEMPT_COUNT)
        .cast::<u32>();
    // SAFETY: The current task is valid, and its preempt count is at this offset.
    unsafe { count.read_volatile() }
}

/// Returns the number of this CPU, which is only a hint: the task may be moved at any time.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    let cpu = current_task()
        .wrapping_byte_add(offsets::TASK_CPU)
        .cast::<u32>();
    // SAFETY: The current task is valid, and the number of its CPU is at this offset.
    unsafe { cpu.read_volatile() }
}
