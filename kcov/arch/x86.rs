// SPDX-License-Identifier: GPL-2.0

//! x86-64: the current task and the preempt count are per-CPU variables at a fixed offset from the
//! GS base. A kernel for one CPU uses ordinary variables: an exception that interrupts the kernel
//! may run with the GS base of user space there.

use core::{
    arch::asm,
    ffi::{c_int, c_void}, //
};
use kernel::bindings;

extern "C" {
    #[link_name = "current_task"]
    static CURRENT_TASK: *mut c_void;
    #[link_name = "__preempt_count"]
    static PREEMPT_COUNT: c_int;
    #[cfg(CONFIG_SMP)]
    #[link_name = "cpu_number"]
    static CPU_NUMBER: c_int;
}

/// Formats a per-CPU variable as a memory operand.
#[cfg(CONFIG_SMP)]
macro_rules! per_cpu {
    () => {
        "gs:[rip + {}]"
    };
}
#[cfg(not(CONFIG_SMP))]
macro_rules! per_cpu {
    () => {
        "[rip + {}]"
    };
}

/// True if an access to vmalloc memory may fault, and be handled by instrumented code.
///
/// The top levels of the page tables of vmalloc memory are allocated at boot and shared by all
/// tasks: `preallocate_vmalloc_pages()`.
pub(crate) const VMALLOC_FAULTS: bool = false;

/// Returns the task that runs on this CPU.
#[inline(always)]
pub(crate) fn current_task() -> *mut bindings::task_struct {
    let task;
    // SAFETY: Loads a per-CPU variable. The value is the same for the code that reads it whenever
    // that code runs, so the compiler may merge loads.
    unsafe {
        asm!(
            concat!("mov {}, qword ptr ", per_cpu!()),
            out(reg) task,
            sym CURRENT_TASK,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
    task
}

/// Loads a per-CPU variable of 32 bits.
macro_rules! load {
    ($variable:ident) => {{
        let value;
        // SAFETY: Loads a per-CPU variable.
        unsafe {
            asm!(
                concat!("mov {:e}, dword ptr ", per_cpu!()),
                out(reg) value,
                sym $variable,
                options(readonly, nostack, preserves_flags)
            )
        };
        value
    }};
}

/// Returns the preempt count of this CPU.
///
/// Interrupts change the count, but restore it before they return.
#[inline(always)]
pub(crate) fn preempt_count() -> u32 {
    load!(PREEMPT_COUNT)
}

/// Returns the number of this CPU, which is only a hint: the task may be moved at any time.
#[cfg(CONFIG_SMP)]
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    load!(CPU_NUMBER)
}

/// Returns the number of the only CPU.
#[cfg(not(CONFIG_SMP))]
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    0
}
