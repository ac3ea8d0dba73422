// SPDX-License-Identifier: GPL-2.0

//! x86-64: both values are per-CPU variables, at a fixed offset from the GS base. A kernel for one
//! CPU has ordinary variables, and nothing in it keeps the GS base of user space out of an
//! exception that interrupts the kernel.

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

/// A per-CPU variable as an operand in memory.
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

/// Returns the task that runs on this CPU.
#[inline(always)]
pub(crate) fn current_task() -> *mut bindings::task_struct {
    let task;
    // SAFETY: A load of a per-CPU variable. It is the same whenever the code that reads it runs, so
    // the compiler may merge loads.
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
        // SAFETY: A load of a per-CPU variable.
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
/// Interrupts change it, but have changed it back when they return.
#[inline(always)]
pub(crate) fn preempt_count() -> u32 {
    load!(PREEMPT_COUNT)
}

/// Returns the number of this CPU, which is a hint only: the task may be moved at any time.
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
