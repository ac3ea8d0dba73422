// SPDX-License-Identifier: GPL-2.0

//! Architecture differences: the current task, the preempt count, the CPU number, the caller's PC.
//!
//! The `kernel` crate and the C helpers have functions for the first three, but those are
//! instrumented: a hook that called one would call itself without end. Everything here is inlined
//! into the hooks, except on architectures that have no file of their own.

#![expect(unsafe_code)]

// User-mode Linux also sets the config options of the processor that it runs on.
#[cfg_attr(CONFIG_KCOV_GENERIC_ARCH, path = "arch/generic.rs")]
#[cfg_attr(all(not(CONFIG_KCOV_GENERIC_ARCH), CONFIG_UML), path = "arch/um.rs")]
#[cfg_attr(
    not(any(CONFIG_KCOV_GENERIC_ARCH, CONFIG_UML)),
    cfg_attr(CONFIG_X86_64, path = "arch/x86.rs"),
    cfg_attr(CONFIG_ARM64, path = "arch/arm64.rs"),
    cfg_attr(CONFIG_RISCV, path = "arch/riscv.rs")
)]
mod native;

pub(crate) use native::{cpu, current_task, preempt_count, VMALLOC_FAULTS};

/// The largest number of CPUs, `CONFIG_NR_CPUS`.
pub(crate) const POSSIBLE_CPUS: usize = kernel::bindings::kcov_sizes_KCOV_POSSIBLE_CPUS as usize;

/// Returns the bits of the current task's softirq count. With PREEMPT_RT, this count replaces the
/// softirq bits of the preempt count.
#[cfg(CONFIG_PREEMPT_RT)]
#[inline(always)]
pub(crate) fn softirq_disable_count() -> u32 {
    let count = current_task()
        .wrapping_byte_add(crate::offsets::TASK_SOFTIRQ_DISABLE_CNT)
        .cast::<u32>();
    // SAFETY: The current task is valid, and its softirq count is at this offset.
    unsafe { count.read_volatile() }
}

extern "C" {
    #[link_name = "llvm.returnaddress"]
    pub(crate) fn return_address(level: i32) -> *const core::ffi::c_void;
}

/// Returns the run-time PC after the call of the function in which the macro is expanded.
macro_rules! caller_pc {
    () => {{
        // SAFETY: Level 0 is the return address of the function itself, which always exists.
        unsafe { $crate::arch::return_address(0) as usize }
    }};
}
pub(crate) use caller_pc;
