// SPDX-License-Identifier: GPL-2.0

//! The tasks and CPUs of a test: one for each of its threads.

use crate::bindings::task_struct;
use core::model::{thread, THREADS};
use std::cell::{Cell, UnsafeCell};

/// The kernel's data about a task.
pub(crate) struct Task {
    /// The number of locks that forbid to sleep.
    pub(crate) atomic: Cell<u32>,
    preempt_count: Cell<u32>,
    cpu: Cell<u32>,
    task: UnsafeCell<task_struct>,
}

fn tasks() -> &'static [Task; THREADS] {
    std::thread_local! {
        static TASKS: &'static [Task; THREADS] = Box::leak(Box::new(std::array::from_fn(|_| Task {
            atomic: Cell::new(0),
            preempt_count: Cell::new(0),
            cpu: Cell::new(0),
            // SAFETY: Zeroed memory is a task that KCOV has not used.
            task: UnsafeCell::new(unsafe { std::mem::zeroed() }),
        })));
    }
    TASKS.with(|tasks| *tasks)
}

pub(crate) fn task() -> &'static Task {
    &tasks()[thread()]
}

/// Replaces all tasks by new ones.
pub fn new_tasks() {
    for task in tasks() {
        task.atomic.set(0);
        task.preempt_count.set(0);
        task.cpu.set(0);
        // SAFETY: As in `tasks`; no thread of a model runs.
        unsafe { task.task.get().write(std::mem::zeroed()) };
    }
}

pub fn current_task() -> *mut task_struct {
    task().task.get()
}

pub fn preempt_count() -> u32 {
    task().preempt_count.get()
}

pub fn cpu() -> u32 {
    task().cpu.get()
}

/// Moves the current task to another CPU.
pub fn set_cpu(cpu: u32) {
    task().cpu.set(cpu);
}

/// Runs `body` as a softirq on top of the current task.
pub fn in_softirq(body: impl FnOnce()) {
    let count = &task().preempt_count;
    count.set(count.get() + crate::bindings::kcov_context_bits_KCOV_CONTEXT_SOFTIRQ);
    without_sleep(body);
    count.set(count.get() - crate::bindings::kcov_context_bits_KCOV_CONTEXT_SOFTIRQ);
}

/// Runs `body` in a context in which it may not sleep.
pub fn without_sleep(body: impl FnOnce()) {
    task().atomic.set(task().atomic.get() + 1);
    body();
    task().atomic.set(task().atomic.get() - 1);
}

pub fn may_sleep() -> bool {
    task().atomic.get() == 0
}
