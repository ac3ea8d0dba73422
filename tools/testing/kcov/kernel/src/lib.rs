// SPDX-License-Identifier: GPL-2.0

//! The part of the `kernel` crate that KCOV uses.
//!
//! `rcu_table` and `slot` are the kernel's own files. Everything else is minimal: memory has
//! red zones and an owner, locks spin, callbacks of RCU run as early as a grace period may end, and
//! work runs when a test calls it.

#![allow(missing_docs)]

// The sources use the names `core` and `crate`.
extern crate seam as core;

pub mod alloc;
pub mod bindings;
pub mod error;
pub mod host;
pub mod init;
pub mod page;
pub mod sync;
pub mod types;
pub mod workqueue;

pub mod cpu {
    /// Returns the number of CPUs.
    pub fn nr_cpu_ids() -> u32 {
        crate::bindings::kcov_sizes_KCOV_POSSIBLE_CPUS
    }
}

pub mod task {
    use crate::bindings;

    /// A task, which lives as long as the program.
    #[repr(transparent)]
    pub struct Task(bindings::task_struct);

    impl Task {
        pub fn as_ptr(&self) -> *mut bindings::task_struct {
            std::ptr::from_ref(&self.0).cast_mut()
        }
    }

    /// Ends the test if the caller holds a spin lock or reads under RCU.
    pub fn might_sleep() {
        assert!(
            crate::host::may_sleep(),
            "a function that may sleep was called where that is forbidden"
        );
    }
}

pub mod time {
    pub fn msecs_to_jiffies(milliseconds: u32) -> u64 {
        u64::from(milliseconds)
    }
}

pub mod prelude {
    pub use crate::{
        alloc::{
            flags::{__GFP_ZERO, GFP_KERNEL},
            KBox, KVVec, KVec,
        },
        error::{code::*, Error, Result},
        init::PinInit,
        pin_init, pr_err, pr_warn,
    };
    pub use core::{
        ffi::{c_long, c_void},
        pin::Pin,
    };
    pub use macros::pin_data;
}

#[macro_export]
macro_rules! pr_warn {
    ($($argument:tt)*) => {
        std::eprint!($($argument)*)
    };
}

#[macro_export]
macro_rules! pr_err {
    ($($argument:tt)*) => {
        std::eprint!($($argument)*)
    };
}

/// A warning ends the test.
#[macro_export]
macro_rules! warn_on {
    ($condition:expr) => {{
        let condition: bool = $condition;
        assert!(
            !condition,
            "a warning of the kernel: {}",
            stringify!($condition)
        );
        condition
    }};
}

#[macro_export]
macro_rules! do_once_lite {
    ($($body:tt)*) => {{ $($body)* }};
}

#[macro_export]
macro_rules! container_of {
    ($field:expr, $type:ty, $name:ident) => {
        $field
            .byte_sub(::std::mem::offset_of!($type, $name))
            .cast::<$type>()
    };
}
