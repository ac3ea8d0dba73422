// SPDX-License-Identifier: GPL-2.0

//! Readers and grace periods.
//!
//! This module orders only what RCU orders: for a reader and a grace period, either the reader sees
//! the writes from before the grace period, or the end of the grace period sees that the reader has
//! ended. This is user-space RCU with fences, because loom has a total order of fences only.

use crate::host;
use core::{
    model::{self, THREADS},
    sync::atomic::{fence, AtomicUsize, Ordering},
};
use std::cell::Cell;

fn readers() -> &'static [AtomicUsize; THREADS] {
    std::thread_local! {
        static READERS: &'static [AtomicUsize; THREADS] =
            Box::leak(Box::new([const { AtomicUsize::new(0) }; THREADS]));
    }
    READERS.with(|readers| *readers)
}

/// Prepares the execution of a model, before other threads read.
pub fn begin() {
    for reader in readers() {
        reader.store(0, Ordering::Relaxed);
    }
}

pub struct Guard(usize);

/// Returns true if a thread announces that it reads. In a model of loom, only thread 0 removes
/// entries, and it waits only for the others. Its own announcements would order more than RCU does.
fn announces(number: usize) -> bool {
    !cfg!(feature = "loom") || number != 0
}

pub fn read_lock() -> Guard {
    let number = model::thread();
    let atomic = &host::task().atomic;
    atomic.set(atomic.get() + 1);
    if announces(number) {
        readers()[number].fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
    Guard(number)
}

impl Drop for Guard {
    fn drop(&mut self) {
        if announces(self.0) {
            readers()[self.0].fetch_sub(1, Ordering::Release);
        }
        let atomic = &host::task().atomic;
        atomic.set(atomic.get() - 1);
    }
}

std::thread_local! {
    static SKIPPED: Cell<bool> = const { Cell::new(false) };
    static BEFORE_CALLBACK: Cell<fn()> = const { Cell::new(nothing) };
}

fn nothing() {}

/// Sets whether grace periods end at once, to show that a test detects it. Callbacks are not called
/// then, so that memory that is used too late still exists.
pub fn skip_grace_periods(skip: bool) {
    SKIPPED.set(skip);
}

/// Sets a function to be called when a grace period has ended. A callback itself cannot end a test.
pub fn before_callback(hook: fn()) {
    BEFORE_CALLBACK.set(hook);
}

/// Calls `callback` after a grace period.
pub(crate) fn call(callback: impl FnOnce()) {
    assert!(!cfg!(feature = "loom") || model::thread() == 0);
    if !SKIPPED.get() {
        synchronize();
    }
    BEFORE_CALLBACK.get()();
    if !SKIPPED.get() {
        callback();
    }
}

/// Waits for a grace period.
fn synchronize() {
    fence(Ordering::SeqCst);
    for (number, reader) in readers().iter().enumerate() {
        while number != model::thread() && reader.load(Ordering::Acquire) != 0 {
            model::wait();
        }
    }
    fence(Ordering::SeqCst);
}
