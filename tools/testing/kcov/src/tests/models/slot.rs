// SPDX-License-Identifier: GPL-2.0

//! Slots: an object that one thread puts is taken by one other thread.

use super::{holds, needs, spawn, Place};
use kernel::{prelude::*, sync::slot::Slot, types::ForeignOwnable};
use loom::cell::UnsafeCell;
use std::{
    marker::PhantomData,
    sync::atomic::Ordering::{Acquire, Release},
};

/// An object that only its owner may touch.
struct Object(Box<UnsafeCell<u64>>);

impl Object {
    fn new(content: u64) -> Self {
        Self(Box::new(UnsafeCell::new(content)))
    }

    /// Adds a number to the content; returns the previous content.
    fn add(&self, number: u64) -> u64 {
        // SAFETY: Loom ends the test if another thread touches the object at the same time.
        self.0.with_mut(|content| unsafe {
            *content += number;
            *content - number
        })
    }
}

// SAFETY: Loom checks all accesses of the cell.
unsafe impl Send for Object {}

// SAFETY: The pointer of a box is not null.
unsafe impl ForeignOwnable for Object {
    const FOREIGN_ALIGN: usize = 8;

    type Borrowed<'a> = PhantomData<&'a Self>;
    type BorrowedMut<'a> = PhantomData<&'a Self>;

    fn into_foreign(self) -> *mut c_void {
        Box::into_raw(self.0).cast()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // SAFETY: By the trait's requirement.
        Self(unsafe { Box::from_raw(ptr.cast()) })
    }

    unsafe fn borrow<'a>(_ptr: *mut c_void) -> PhantomData<&'a Self> {
        PhantomData
    }

    unsafe fn borrow_mut<'a>(_ptr: *mut c_void) -> PhantomData<&'a Self> {
        PhantomData
    }
}

fn slot() -> &'static Slot<Object> {
    let slot: &'static Slot<Object> = Box::leak(Box::new(Slot::new()));
    assert!(slot.is_empty());
    slot
}

fn number_of(slot: &Slot<Object>) -> u32 {
    u32::from(slot.take().is_some())
}

/// The thread that takes the object sees its content.
fn transfer() {
    let slot = slot();
    let taker = spawn(1, move || {
        if let Some(object) = slot.take() {
            assert_eq!(object.add(1), 7);
        }
    });
    let object = Object::new(3);
    object.add(4);
    assert!(slot.put(object).is_ok());
    taker.join().unwrap();
    drop(slot.take());
    assert!(slot.is_empty());
}

/// An object is taken only once.
fn takers() {
    let slot = slot();
    assert!(slot.put(Object::new(0)).is_ok());
    let taken: &'static loom::sync::atomic::AtomicUsize =
        Box::leak(Box::new(loom::sync::atomic::AtomicUsize::new(0)));
    let threads = [1, 2].map(|number| {
        spawn(number, move || {
            if let Some(object) = slot.take() {
                assert_eq!(object.add(1), 0);
                taken.fetch_add(1, Release);
            }
        })
    });
    let here = slot.take().is_some();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(taken.load(Acquire) + usize::from(here), 1);
    assert!(slot.is_empty());
}

/// Of two objects that are put, one is in the slot and the other comes back to its owner.
fn putters() {
    let slot = slot();
    let putter = spawn(1, move || {
        if let Err(object) = slot.put(Object::new(1)) {
            assert_eq!(object.add(1), 1);
        }
    });
    if let Err(object) = slot.put(Object::new(2)) {
        assert_eq!(object.add(1), 2);
    }
    putter.join().unwrap();
    assert!(matches!(
        slot.take().map(|object| object.add(0)),
        Some(1 | 2)
    ));
    assert!(slot.is_empty());
}

/// Threads that take the object, change it and put it back lose no change.
fn exchange() {
    let slot = slot();
    assert!(slot.put(Object::new(0)).is_ok());
    let work = move || {
        let Some(object) = slot.take() else {
            return 0;
        };
        object.add(1);
        // The only object comes back to an empty slot.
        assert!(slot.put(object).is_ok());
        1
    };
    let done: &'static loom::sync::atomic::AtomicU64 =
        Box::leak(Box::new(loom::sync::atomic::AtomicU64::new(0)));
    let threads = [1, 2].map(|number| {
        spawn(number, move || {
            done.fetch_add(work(), Release);
        })
    });
    let here = work();
    for thread in threads {
        thread.join().unwrap();
    }
    let object = slot.take().expect("the object is lost");
    assert_eq!(object.add(0), here + done.load(Acquire));
}

/// A slot that is dropped drops its object.
fn end() {
    let slot = Slot::new();
    assert!(slot.put(Object::new(0)).is_ok());
    assert!(slot.put(Object::new(1)).is_err());
    drop(slot);
    assert_eq!(number_of(&Slot::new()), 0);
}

pub(super) const TAKE: Place = Place {
    file: "slot.rs",
    text: "self.pointer.swap(ptr::null_mut(), Ordering::AcqRel)",
};
pub(super) const PUT: Place = Place {
    file: "slot.rs",
    text: "self.pointer.compare_exchange(",
};

#[test]
fn objects_come_over_with_their_content() {
    holds(4, transfer);
}

#[test]
fn objects_are_taken_once() {
    holds(4, takers);
}

#[test]
fn objects_are_put_once() {
    holds(4, putters);
}

#[test]
fn objects_are_exchanged() {
    holds(3, exchange);
}

#[test]
fn objects_end_with_their_slot() {
    holds(1, end);
}

#[test]
fn take_needs_acquire() {
    needs(Acquire, TAKE, 4, transfer);
}

#[test]
fn put_needs_release() {
    needs(Release, PUT, 4, transfer);
}
