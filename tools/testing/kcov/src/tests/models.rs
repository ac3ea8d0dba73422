// SPDX-License-Identifier: GPL-2.0

//! Exhaustive models of lock-free code.
//!
//! Each ordering that the sources ask for has a test that leaves it out, and passes only if the
//! model fails then.

mod pool;
mod slot;
mod table;

use core::model::{self, Weakening};
use kernel::{host, sync::rcu};
use std::{
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc,
    },
};

/// An ordering in a source, by the text of the operation.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) file: &'static str,
    pub(super) text: &'static str,
}

impl Place {
    fn without(self, lost: Ordering) -> Weakening {
        let place = [env!("KCOV_SOURCES"), env!("SYNC_SOURCES")]
            .map(|top| Path::new(top).join(self.file))
            .into_iter()
            .find(|path| path.exists())
            .expect("a place names a file of the sources");
        let source = fs::read_to_string(place).unwrap();
        let start = source
            .find(self.text)
            .unwrap_or_else(|| panic!("{} has no `{}` any more", self.file, self.text));
        let line = |end: usize| 1 + source[..end].matches('\n').count() as u32;
        Weakening {
            file: self.file,
            lines: (line(start), line(start + self.text.len())),
            lost,
        }
    }
}

/// Runs a model in all executions that loom finds; returns their number.
///
/// A thread is preempted at most `preemptions` times while it does not wait. KCOV_LOOM_PREEMPTIONS
/// adds to that, or removes the bound if it is "all".
fn explore(preemptions: usize, body: fn()) -> u64 {
    let executions = Arc::new(AtomicU64::new(0));
    let count = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    let more = env::var("KCOV_LOOM_PREEMPTIONS").unwrap_or_else(|_| "0".into());
    builder.preemption_bound = if more == "all" {
        None
    } else {
        Some(preemptions + more.parse::<usize>().expect("a number, or all"))
    };
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model::begin();
        host::new_tasks();
        rcu::begin();
        body();
    });
    executions.load(Ordering::Relaxed)
}

/// Checks that a model holds.
fn holds(preemptions: usize, body: fn()) {
    model::weaken(None);
    println!("{} executions", explore(preemptions, body));
}

/// Checks that a model fails when one half of an ordering is left out.
fn needs(lost: Ordering, place: Place, preemptions: usize, body: fn()) {
    model::weaken(Some(place.without(lost)));
    let message = failure(preemptions, body);
    let applied = model::was_weakened();
    model::weaken(None);
    assert!(
        applied,
        "the model does not use {} in {}",
        place.text, place.file
    );
    let message = message.unwrap_or_else(|| {
        panic!(
            "the model holds without {lost:?} of `{}` in {}",
            place.text, place.file
        )
    });
    println!("fails as it must: {message}");
}

/// Returns the message with which a model fails.
fn failure(preemptions: usize, body: fn()) -> Option<String> {
    let result = panic::catch_unwind(AssertUnwindSafe(|| explore(preemptions, body)));
    result.err().map(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("without a message")
            .trim()
            .replace('\n', " ")
    })
}

/// Starts a thread of a model with a number of its own.
fn spawn(number: usize, body: impl FnOnce() + 'static) -> loom::thread::JoinHandle<()> {
    loom::thread::spawn(move || {
        model::set_thread(number);
        body();
    })
}
