// SPDX-License-Identifier: GPL-2.0

//! The functions that the rest of the kernel calls: on fork, on exit, and in annotated subsystems.

#![expect(unsafe_code)]

use crate::{
    context::Context,
    remote::section,
    task::{self, elsewhere}, //
};
use kernel::{bindings, prelude::*};

/// Prepares the KCOV fields of a new task.
///
/// # Safety
///
/// `t` is a copy of the current task and does not run yet.
#[export]
pub(crate) unsafe extern "C" fn kcov_task_init(t: *mut bindings::task_struct) {
    // SAFETY: By this function's requirement.
    unsafe { task::init_task(t) };
}

/// Disables all descriptors that the current task has enabled.
///
/// # Safety
///
/// `_t` is the current task, which is exiting and may sleep.
#[export]
pub(crate) unsafe extern "C" fn kcov_task_exit(_t: *mut bindings::task_struct) {
    let mut paused = task::pause();
    section::abandon(&mut paused);
    if let Some(descriptor) = paused.detach_local(None) {
        descriptor.leave();
    }
    if let Some(descriptor) = paused.detach_remote(None) {
        descriptor.leave();
    }
}

/// Ends a recording of the current task, which another task has asked for.
///
/// # Safety
///
/// `descriptor` was given to `kcov_ask`.
#[export]
pub(crate) unsafe extern "C" fn kcov_disable_here(descriptor: *mut c_void) {
    // SAFETY: By this function's requirement.
    unsafe { elsewhere::answer(descriptor) };
}

/// Starts a remote section; see Documentation/dev-tools/kcov.rst.
///
/// May sleep in a task that is allowed to sleep. Does nothing in hard interrupts and NMIs.
///
/// # Safety
///
/// None; C functions are unsafe to call by definition.
#[export]
pub(crate) unsafe extern "C" fn kcov_remote_start(handle: u64) {
    section::start(handle);
}

/// Stops the remote section that was started last in this context.
///
/// Does not sleep. Does nothing in hard interrupts and NMIs.
///
/// # Safety
///
/// None; C functions are unsafe to call by definition.
#[export]
pub(crate) unsafe extern "C" fn kcov_remote_stop() {
    section::stop();
}

/// Returns the common handle of the current task; 0 outside task context.
///
/// # Safety
///
/// None; C functions are unsafe to call by definition.
#[export]
pub(crate) unsafe extern "C" fn kcov_common_handle() -> bindings::kcov_common_handle_id {
    let val = match Context::current() {
        Some(Context::Task) => task::common_handle(),
        _ => 0,
    };
    bindings::kcov_common_handle_id { val }
}
