// SPDX-License-Identifier: GPL-2.0

//! What differs by architecture: the current task, the preempt count, the CPU, the caller's
//! PC.
//!
//! The `kernel` crate and the C helpers have functions for the first three, but those are
//! instrumented themselves, so that a hook which called them would never return. Everything here is
//! inlined into the hooks.

#![expect(unsafe_code)]

#[cfg_attr(CONFIG_X86_64, path = "arch/x86.rs")]
mod native;

pub(crate) use native::{cpu, current_task, preempt_count};

extern "C" {
    #[link_name = "llvm.returnaddress"]
    pub(crate) fn return_address(level: i32) -> *const core::ffi::c_void;
}

/// The PC after the call of the function that this expands in, as it is at run time.
macro_rules! caller_pc {
    () => {{
        // SAFETY: Level 0 is the return address of the function itself, which always exists.
        unsafe { $crate::arch::return_address(0) as usize }
    }};
}
pub(crate) use caller_pc;
