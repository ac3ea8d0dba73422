// SPDX-License-Identifier: GPL-2.0

//! Replacements for bindgen's bindings and for the C files of KCOV. The numbers are those of the
//! headers.

#![allow(non_camel_case_types, non_upper_case_globals, non_snake_case)]

use crate::{alloc::allocator, host, sync::rcu};
use std::ffi::c_void;

// include/uapi/linux/kcov.h
pub const KCOV_TRACE_PC: u32 = 0;
pub const KCOV_TRACE_CMP: u32 = 1;
pub const KCOV_TRACE_UNIQUE_PC: u32 = 2;
pub const KCOV_TRACE_PC_CMP: u32 = 3;
pub const KCOV_TRACE_EDGE: u32 = 4;
pub const KCOV_REMOTE_MAX_HANDLES: u32 = 0x100;

// include/linux/kcov.h
pub const KCOV_RECORD_PCS: u32 = 1;
pub const KCOV_RECORD_COMPARISONS: u32 = 2;

// include/linux/preempt.h, as support.h reads it
pub const kcov_context_bits_KCOV_CONTEXT_SOFTIRQ: u32 = 0x100;
pub const kcov_context_bits_KCOV_CONTEXT_INTERRUPT: u32 = 0xff_0000;

/// A machine with few CPUs: a model of loom has one.
pub const kcov_sizes_KCOV_POSSIBLE_CPUS: u32 = if cfg!(feature = "loom") { 1 } else { 2 };
pub const kcov_sizes_KCOV_SOFTIRQ_AREA_WORDS: u32 = 256;

/// A kernel that was moved by this distance.
pub static mut kcov_kaslr_offset: usize = 0x120_0000;

pub struct kcov_text {
    pub start: usize,
    pub size: usize,
    pub modules: usize,
}

pub static kcov_text: kcov_text = kcov_text {
    start: 0xffff_ffff_8100_0000,
    // Not a multiple of the size of the code that one word of a set covers.
    size: 0x1_0234,
    modules: 0xffff_ffff_c000_0000,
};

/// # Safety
///
/// None.
pub unsafe fn kcov_support_init() {}

/// # Safety
///
/// None.
pub unsafe fn kcov_memory_suffices(_pages: usize) -> bool {
    true
}

/// # Safety
///
/// None.
pub unsafe fn kcov_may_sleep() -> bool {
    host::may_sleep()
}

/// Calls nothing: a thread of a test is never blocked.
///
/// # Safety
///
/// None.
pub unsafe fn kcov_call_blocked(
    _task: *mut task_struct,
    _function: Option<unsafe extern "C" fn(*mut task_struct, *mut c_void)>,
    _arg: *mut c_void,
) {
}

/// Asks nobody, as if the task was exiting.
///
/// # Safety
///
/// None.
pub unsafe fn kcov_ask(_task: *mut task_struct, _descriptor: *mut c_void) -> i32 {
    crate::error::code::ESRCH.to_errno()
}

/// Does not wait, as if the caller was killed.
///
/// # Safety
///
/// None.
pub unsafe fn kcov_wait(_ticks: i64) -> i32 {
    crate::error::code::EINTR.to_errno()
}

/// # Safety
///
/// `start` is an allocation that the caller owns.
pub unsafe fn kvfree_atomic(start: *mut c_void) {
    allocator::free_at(start.cast());
}

#[repr(C)]
pub struct callback_head {
    _next: *mut callback_head,
}

/// Calls `function` as early as a grace period may end: when all readers that had begun before have
/// ended.
///
/// # Safety
///
/// `head` meets the requirements of `function`.
pub unsafe fn call_rcu(
    head: *mut callback_head,
    function: Option<unsafe extern "C" fn(*mut callback_head)>,
) {
    rcu::call(|| {
        if let Some(function) = function {
            // SAFETY: By this function's requirement.
            unsafe { function(head) };
        }
    });
}

// include/linux/kcov_types.h
#[repr(C)]
pub struct kcov_ctx {
    pub mode: u32,
    pub softirq: u32,
    pub capacity: u32,
    pub area: *mut c_void,
    pub layout: *mut c_void,
    pub section: *mut c_void,
    pub local: *mut c_void,
    pub remote: *mut c_void,
    pub handle: u64,
}

#[repr(C)]
pub struct task_struct {
    pub kcov: kcov_ctx,
}
