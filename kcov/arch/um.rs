// SPDX-License-Identifier: GPL-2.0

//! User-mode Linux: a processor is a thread of the host. The current task is in a table with an
//! entry for each processor, and the preempt count is in the task.

use crate::offsets;
use core::{ffi::c_void, ptr::addr_of_mut};
use kernel::bindings;

extern "C" {
    #[link_name = "cpu_tasks"]
    static mut CPU_TASKS: [*mut c_void; super::POSSIBLE_CPUS];

    #[cfg(CONFIG_SMP)]
    #[link_name = "uml_curr_cpu"]
    fn current_cpu() -> core::ffi::c_int;
}

/// True if an access to vmalloc memory may fault, and be handled by instrumented code.
///
/// The host maps vmalloc memory when it is accessed first: `segv()` in `arch/um/kernel/trap.c`.
pub(crate) const VMALLOC_FAULTS: bool = true;

/// Returns the task that runs on this CPU.
///
/// With several processors, this calls a function that reads a thread-local variable of the host.
/// The function is in the part of the kernel that talks to the host, which is not instrumented.
#[inline(always)]
pub(crate) fn current_task() -> *mut bindings::task_struct {
    let entry = addr_of_mut!(CPU_TASKS)
        .cast::<*mut bindings::task_struct>()
        .wrapping_add(cpu() as usize);
    // SAFETY: The table has an entry for each possible CPU, even before the first task runs. Only a
    // switch of tasks writes the entry of this CPU, and a task that runs again finds itself there.
    unsafe { entry.read() }
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
#[cfg(CONFIG_SMP)]
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: The function may be called in every context.
    unsafe { current_cpu() as u32 }
}

/// Returns the number of the only CPU.
#[cfg(not(CONFIG_SMP))]
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    0
}
