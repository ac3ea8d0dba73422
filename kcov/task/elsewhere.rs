// SPDX-License-Identifier: GPL-2.0

//! `KCOV_DISABLE_ANY`: disables a descriptor that another task has enabled.
//!
//! A task that runs may be in the middle of a hook, so nothing else may end its recording then.
//! There are two safe points. While the task is blocked, it is in the scheduler and in no hook, and
//! the caller ends the recording for it. On its way to user space, the task ends the recording
//! itself, because the caller has asked it to. The caller waits for whichever comes first. Until
//! then, the descriptor stays enabled and keeps its buffer.

#![expect(unsafe_code)]

use super::Task;
use crate::{arch, descriptor::Descriptor, mode};
use core::ptr;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::{aref::ARef, Arc, ArcBorrow},
    task,
    types::ForeignOwnable, //
};

/// A pointer to the task that has enabled a descriptor.
pub(crate) struct Pointer(*mut bindings::task_struct);

// SAFETY: Only `Pointer::task` uses the pointer, and any thread may call it.
unsafe impl Send for Pointer {}

impl Pointer {
    pub(crate) const fn none() -> Self {
        Self(ptr::null_mut())
    }

    pub(crate) fn current() -> Self {
        Self(arch::current_task())
    }

    /// Returns the task; `None` for [`Pointer::none`].
    ///
    /// # Safety
    ///
    /// The task was not freed yet.
    pub(crate) unsafe fn task(&self) -> Option<ARef<task::Task>> {
        // SAFETY: By this function's requirement. The type is transparent.
        let task = unsafe { self.0.cast::<task::Task>().as_ref() };
        task.map(ARef::from)
    }
}

/// The first wait between two looks at the task, in timer ticks. Each wait is twice as long as the
/// one before.
const FIRST_WAIT: c_long = 1;

/// The longest wait, in timer ticks.
const LONGEST_WAIT: c_long = 1 << 5;

/// Disables the descriptor, whichever task has enabled it. May sleep.
///
/// Returns [`EINVAL`] if it is not enabled, [`EINTR`] if the calling task is killed while it waits,
/// and [`ENOMEM`] without memory for the request.
pub(crate) fn disable_any(descriptor: ArcBorrow<'_, Descriptor>, unused: usize) -> Result {
    if unused != 0 {
        return Err(EINVAL);
    }
    let (owner, number) = descriptor.enabled().ok_or(EINVAL)?;
    if owner.as_ptr() == arch::current_task() {
        return descriptor.disable(0);
    }
    let mut asked = false;
    let mut wait = FIRST_WAIT;
    while descriptor.is_enabled(number) {
        if let Some(detached) = detach_blocked(&owner, &descriptor, number) {
            detached.leave();
            break;
        }
        if !asked {
            ask(&owner, descriptor.into())?;
            asked = true;
        }
        // SAFETY: The caller may sleep.
        to_result(unsafe { bindings::kcov_wait(wait) })?;
        wait = LONGEST_WAIT.min(2 * wait);
    }
    Ok(())
}

/// Undoes the enable of `descriptor` with the given number for its owner, if that task is blocked,
/// and returns the task's reference to the descriptor. Does nothing if the task is not blocked, or
/// does not have the descriptor.
///
/// The caller keeps the task until it has called [`Descriptor::leave`].
fn detach_blocked(
    owner: &task::Task,
    descriptor: &Descriptor,
    number: usize,
) -> Option<Arc<Descriptor>> {
    struct Wanted<'a> {
        descriptor: &'a Descriptor,
        number: usize,
        detached: Option<Arc<Descriptor>>,
    }

    /// # Safety
    ///
    /// `task` is blocked, and `wanted` points to a [`Wanted`].
    unsafe extern "C" fn detach(task: *mut bindings::task_struct, wanted: *mut c_void) {
        // SAFETY: By this function's requirement.
        let wanted = unsafe { &mut *wanted.cast::<Wanted<'_>>() };
        // INVARIANT: The task does not run until this returns.
        let task = Task::at(task);
        let descriptor = Some(wanted.descriptor);
        // A task that is blocked in a pause goes on with the recording that it had before.
        let is_paused = task.mode.get() == mode::DISABLED && task.local.is(descriptor);
        if is_paused || wanted.descriptor.enables() != wanted.number {
            return;
        }
        let mut paused = task.pause();
        wanted.detached = paused
            .detach_local(descriptor)
            .or_else(|| paused.detach_remote(descriptor));
    }

    let mut wanted = Wanted {
        descriptor,
        number,
        detached: None,
    };
    // SAFETY: The task is valid, and `wanted` lives until the function returns.
    unsafe {
        bindings::kcov_call_blocked(
            owner.as_ptr(),
            Some(detach),
            ptr::from_mut(&mut wanted).cast(),
        )
    };
    wanted.detached
}

/// Asks a task to disable the descriptor on its way to user space. A task that exits disables its
/// descriptors without being asked.
fn ask(task: &task::Task, descriptor: Arc<Descriptor>) -> Result {
    let descriptor = descriptor.into_foreign();
    // SAFETY: The task is valid. The request gives the reference to `answer`.
    let ret = to_result(unsafe { bindings::kcov_ask(task.as_ptr(), descriptor) });
    if ret.is_err() {
        // SAFETY: The reference comes from `into_foreign`, and nobody else has it now.
        drop(unsafe { Arc::<Descriptor>::from_foreign(descriptor) });
    }
    match ret {
        Err(error) if error == ESRCH => Ok(()),
        ret => ret,
    }
}

/// Answers a request in the task that was asked, before it can enable a descriptor again.
///
/// # Safety
///
/// `descriptor` is the reference that was given to `kcov_ask`.
pub(crate) unsafe fn answer(descriptor: *mut c_void) {
    // SAFETY: By this function's requirement.
    let descriptor = unsafe { Arc::<Descriptor>::from_foreign(descriptor) };
    // Fails if the recording has ended in the meantime.
    let _ = descriptor.disable(0);
}
