// SPDX-License-Identifier: GPL-2.0

//! Work that is done later, when a test calls [`run`].
//!
//! The queue makes the same promise as the kernel's: the work sees all writes from before the call
//! that queued it, and from before calls that found it queued already.

use crate::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use std::{
    collections::BTreeMap,
    marker::PhantomData,
    sync::{Mutex, PoisonError},
};

pub struct Pending(AtomicBool);

pub struct Work<T, const ID: u64 = 0>(pub Pending, PhantomData<fn(T)>);
pub type DelayedWork<T, const ID: u64 = 0> = Work<T, ID>;

impl<T, const ID: u64> Work<T, ID> {
    pub const fn new() -> Self {
        Self(Pending(AtomicBool::new(false)), PhantomData)
    }
}

impl<T, const ID: u64> Default for Work<T, ID> {
    fn default() -> Self {
        Self::new()
    }
}

pub trait WorkItem<const ID: u64> {
    type Pointer;

    fn run(this: Self::Pointer);
}

pub trait HasWork<const ID: u64> {
    fn pending(&self) -> &Pending;
}

pub struct Queue(());

pub fn system_dfl() -> &'static Queue {
    &Queue(())
}

type Runner = std::sync::Arc<dyn Fn() -> bool + Send + Sync>;

static RUNNERS: Mutex<BTreeMap<u64, Runner>> = Mutex::new(BTreeMap::new());

pub trait Queued<const ID: u64>: Clone + Send + Sync + 'static {
    fn state(&self) -> &Pending;
    fn call(self);
}

impl<T, const ID: u64> Queued<ID> for Arc<T>
where
    T: WorkItem<ID, Pointer = Self> + HasWork<ID> + Send + Sync + 'static,
{
    fn state(&self) -> &Pending {
        self.pending()
    }

    fn call(self) {
        T::run(self);
    }
}

impl Queue {
    pub fn enqueue<W: Queued<ID>, const ID: u64>(&self, work: W) -> Result<(), W> {
        let again = work.clone();
        RUNNERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(ID)
            .or_insert_with(|| {
                std::sync::Arc::new(move || {
                    let queued = again.state().0.swap(false, Ordering::AcqRel);
                    if queued {
                        again.clone().call();
                    }
                    queued
                })
            });
        if work.state().0.swap(true, Ordering::AcqRel) {
            Err(work)
        } else {
            Ok(())
        }
    }

    pub fn enqueue_delayed<W: Queued<ID>, const ID: u64>(
        &self,
        work: W,
        _delay: u64,
    ) -> Result<(), W> {
        self.enqueue::<W, ID>(work)
    }
}

/// Runs the work with a number if it is queued; returns whether it was.
///
/// Returns false for work that was never queued.
pub fn run(id: u64) -> bool {
    let runner = RUNNERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&id)
        .cloned();
    runner.is_some_and(|runner| runner())
}

#[macro_export]
macro_rules! impl_has_work {
    (impl HasWork<Self, $id:literal> for $type:ty { self.$field:ident }) => {
        impl $crate::workqueue::HasWork<$id> for $type {
            fn pending(&self) -> &$crate::workqueue::Pending {
                &self.$field.0
            }
        }
    };
}

#[macro_export]
macro_rules! impl_has_delayed_work {
    (impl HasDelayedWork<Self, $id:literal> for $type:ty { self.$field:ident }) => {
        $crate::impl_has_work! { impl HasWork<Self, $id> for $type { self.$field } }
    };
}

#[macro_export]
macro_rules! new_work {
    ($name:expr) => {
        || $crate::workqueue::Work::new()
    };
}

#[macro_export]
macro_rules! new_delayed_work {
    ($name:expr) => {
        || $crate::workqueue::Work::new()
    };
}
