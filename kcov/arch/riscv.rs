// SPDX-License-Identifier: GPL-2.0

//! RISC-V: the current task is in the thread pointer, and the preempt count is in the task.

use crate::offsets;
use core::arch::asm;
use kernel::bindings;

/// True if an access to vmalloc memory may fault, and be handled by instrumented code.
///
/// The top level of the page tables of vmalloc memory is allocated at boot and shared by all tasks:
/// `preallocate_pgd_pages_range()`. Where a processor has cached that there was no entry, the entry
/// code in assembler removes it and goes back: `new_valid_map_cpus_check`.
pub(crate) const VMALLOC_FAULTS: bool = false;

/// Returns the task that runs on this CPU.
#[inline(always)]
pub(crate) fn current_task() -> *mut bindings::task_struct {
    let task;
    // SAFETY: Reads a register. The value is the same for the code that reads it whenever that code
    // runs, so the compiler may merge reads.
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
