// SPDX-License-Identifier: GPL-2.0

//! The running model: its executions, its threads, and the ordering that it leaves out.

use std::{
    cell::Cell,
    panic::Location,
    sync::atomic::{AtomicU64, Ordering},
};

/// An ordering that a source asks for, and that the model leaves out. The test that needs it must
/// fail then.
#[derive(Clone, Copy, Debug)]
pub struct Weakening {
    /// The end of the file's path.
    pub file: &'static str,
    /// The lines of the operation. The line of a call with several lines is the first, or the line
    /// with the method's name.
    pub lines: (u32, u32),
    /// The half of the ordering that is left out, `Acquire` or `Release`.
    pub lost: Ordering,
}

std::thread_local! {
    static EXECUTION: Cell<u64> = const { Cell::new(0) };
    static WEAKENING: Cell<Option<Weakening>> = const { Cell::new(None) };
    static APPLIED: Cell<bool> = const { Cell::new(false) };
}

/// Begins an execution: atomics have their initial values again.
///
/// The threads of a model of loom or shuttle are coroutines of one thread of the system, so a
/// variable of that thread is shared by all of them.
pub fn begin() {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    EXECUTION.set(NEXT.fetch_add(1, Ordering::Relaxed));
}

/// Returns the number of the execution, 0 outside of models.
pub fn execution() -> u64 {
    EXECUTION.get()
}

/// Sets the ordering to leave out from now on, if any.
pub fn weaken(weakening: Option<Weakening>) {
    WEAKENING.set(weakening);
    APPLIED.set(false);
}

/// Returns whether the ordering of an operation was left out since [`weaken`].
pub fn was_weakened() -> bool {
    APPLIED.get()
}

/// Returns the ordering that an operation in a source has in the model.
pub(crate) fn ordering(asked: Ordering, place: &Location<'_>) -> Ordering {
    let Some(weakening) = WEAKENING.get() else {
        return asked;
    };
    let (first, last) = weakening.lines;
    if !place.file().ends_with(weakening.file) || !(first..=last).contains(&place.line()) {
        return asked;
    }
    let (acquires, releases) = match asked {
        Ordering::Acquire => (true, false),
        Ordering::Release => (false, true),
        Ordering::AcqRel | Ordering::SeqCst => (true, true),
        _ => (false, false),
    };
    let lost = weakening.lost;
    let keeps = (
        acquires && lost != Ordering::Acquire,
        releases && lost != Ordering::Release,
    );
    if keeps != (acquires, releases) {
        APPLIED.set(true);
    }
    match keeps {
        (true, true) => asked,
        (true, false) => Ordering::Acquire,
        (false, true) => Ordering::Release,
        (false, false) => Ordering::Relaxed,
    }
}

#[cfg(feature = "loom")]
use loom::thread_local as local;
#[cfg(feature = "shuttle")]
use shuttle::thread_local as local;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
use std::thread_local as local;

local! {
    static THREAD: Cell<usize> = Cell::new(0);
}

/// The largest number of threads of a model.
pub const THREADS: usize = 6;

/// Gives the calling thread of a model its number; the first has 0 without it.
pub fn set_thread(number: usize) {
    assert!(number < THREADS);
    THREAD.with(|thread| thread.set(number));
}

/// Returns the number of the calling thread.
pub fn thread() -> usize {
    THREAD.with(|thread| thread.get())
}

/// Lets other threads of the model run before the caller, which waits for one of them, continues.
pub fn wait() {
    #[cfg(feature = "loom")]
    loom::thread::yield_now();
    #[cfg(feature = "shuttle")]
    shuttle::thread::yield_now();
    #[cfg(not(any(feature = "loom", feature = "shuttle")))]
    std::thread::yield_now();
}
