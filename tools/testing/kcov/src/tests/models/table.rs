// SPDX-License-Identifier: GPL-2.0

//! The table against readers and grace periods.

use super::{failure, holds, needs, spawn, Place};
use core::model;
use kernel::{
    prelude::*,
    sync::{
        rcu,
        rcu_table::{Entry, NewEntry, RcuTable, Writer},
    },
};
use loom::cell::UnsafeCell;
use std::{
    cell::RefCell,
    sync::{
        atomic::Ordering::{Acquire, Release},
        Arc,
    },
};

const BUCKETS: usize = 2;

/// Three keys of one bucket.
fn keys() -> [u64; 3] {
    let bucket = |key: u64| key.wrapping_mul(0x61c8_8646_80b5_83eb) >> 63;
    let mut found = (1..).filter(|&key| bucket(key) == 1);
    std::array::from_fn(|_| found.next().unwrap())
}

/// A value whose content was written before it is inserted. It is destroyed after the grace period
/// that follows its removal.
struct Value {
    number: Arc<Number>,
}

struct Number(UnsafeCell<u64>);

// SAFETY: Loom checks all accesses of the cell.
unsafe impl Send for Number {}
// SAFETY: As above.
unsafe impl Sync for Number {}

impl Value {
    fn new(number: u64) -> Self {
        Self {
            number: Arc::new(Number(UnsafeCell::new(number))),
        }
    }

    fn number(&self) -> u64 {
        // SAFETY: Loom ends the test if the value is destroyed at the same time.
        self.number.0.with(|number| unsafe { *number })
    }
}

thread_local! {
    /// The content of the value that is removed.
    static REMOVED: RefCell<Option<Arc<Number>>> = const { RefCell::new(None) };
}

fn destroy() {
    if let Some(number) = REMOVED.take() {
        // SAFETY: As above.
        number.0.with_mut(|number| unsafe { *number = u64::MAX });
    }
}

fn remove(writer: &mut Writer<Value, BUCKETS>, entry: Entry<Value, BUCKETS>) {
    rcu::before_callback(destroy);
    REMOVED.set(Some(entry.value().number.clone()));
    writer.remove(entry);
}

type Table = RcuTable<Value, BUCKETS>;

/// A table that all threads of the model use, and its writer.
fn table() -> (&'static Table, Writer<Value, BUCKETS>) {
    let table: &'static Table = Box::leak(Box::new(Table::new()));
    // SAFETY: Values are dropped in the execution.
    let writer = unsafe { table.writer() }.unwrap();
    for key in keys() {
        assert!(!table.may_contain(key));
        assert_eq!(find(table, key), None);
    }
    (table, writer)
}

fn insert(writer: &mut Writer<Value, BUCKETS>, number: u64, keys: &[u64]) -> Entry<Value, BUCKETS> {
    let new = NewEntry::new(Value::new(number), keys.len()).unwrap();
    match writer.insert(new, keys.iter().copied().map(Ok)) {
        Ok(entry) => entry,
        Err(error) => panic!("{error:?}"),
    }
}

fn find(table: &Table, key: u64) -> Option<u64> {
    table.get(key, &rcu::read_lock()).map(Value::number)
}

/// A reader finds a complete entry or none, and the entry after the insertion has returned.
fn insertion() {
    let (table, mut writer) = table();
    let [a, b, _] = keys();
    let reader = spawn(1, move || {
        for key in [a, b] {
            assert!(matches!(find(table, key), None | Some(1)));
        }
    });
    let entry = insert(&mut writer, 1, &[a, b]);
    reader.join().unwrap();
    assert_eq!([a, b].map(|key| find(table, key)), [Some(1); 2]);
    assert!(table.may_contain(a) && table.may_contain(b));
    remove(&mut writer, entry);
}

/// A key that was inserted before is found, whatever happens to its neighbours in the chain.
fn neighbours() {
    let (table, mut writer) = table();
    let [a, b, c] = keys();
    let last = insert(&mut writer, 1, &[a]);
    let middle = insert(&mut writer, 2, &[b]);
    let reader = spawn(1, move || {
        assert!(table.may_contain(a));
        assert_eq!(find(table, a), Some(1));
        assert!(matches!(find(table, b), None | Some(2)));
    });
    let first = insert(&mut writer, 3, &[c]);
    remove(&mut writer, middle);
    reader.join().unwrap();
    assert_eq!(
        [a, b, c].map(|key| find(table, key)),
        [Some(1), None, Some(3)]
    );
    assert!(table.may_contain(a) && table.may_contain(c));
    remove(&mut writer, first);
    remove(&mut writer, last);
    assert!(!keys().into_iter().any(|key| table.may_contain(key)));
}

/// An entry that a reader has found stays until the reader has ended.
fn removal() {
    let (table, mut writer) = table();
    let [a, b, _] = keys();
    let other = insert(&mut writer, 1, &[b]);
    let entry = insert(&mut writer, 2, &[a]);
    let readers = [1, 2].map(|number| {
        spawn(number, move || {
            let guard = rcu::read_lock();
            if let Some(value) = table.get(a, &guard) {
                assert_eq!(value.number(), 2);
                // The entry may be removed here.
                loom::thread::yield_now();
                assert_eq!(value.number(), 2);
            }
            assert_eq!(table.get(b, &guard).map(Value::number), Some(1));
        })
    });
    remove(&mut writer, entry);
    assert_eq!(find(table, a), None);
    for reader in readers {
        reader.join().unwrap();
    }
    remove(&mut writer, other);
}

/// A reader that comes to an entry by the link that another one's removal has written finds it
/// filled.
fn removal_in_front() {
    let (table, mut writer) = table();
    let [a, b, _] = keys();
    let reader = spawn(1, move || {
        assert!(matches!(find(table, a), None | Some(1)));
    });
    let last = insert(&mut writer, 1, &[a]);
    let first = insert(&mut writer, 2, &[b]);
    remove(&mut writer, first);
    reader.join().unwrap();
    remove(&mut writer, last);
}

/// The summary has every key whose insertion has returned, according to another thread.
fn summary() {
    let (table, mut writer) = table();
    let [a, b, _] = keys();
    let told: &'static loom::sync::atomic::AtomicBool =
        Box::leak(Box::new(loom::sync::atomic::AtomicBool::new(false)));
    let reader = spawn(1, move || {
        if told.load(Acquire) {
            assert!(table.may_contain(a));
            assert_eq!(find(table, a), Some(1));
        }
    });
    let other = insert(&mut writer, 2, &[b]);
    let entry = insert(&mut writer, 1, &[a]);
    told.store(true, Release);
    remove(&mut writer, other);
    reader.join().unwrap();
    remove(&mut writer, entry);
}

const LINK: Place = Place {
    file: "rcu_table.rs",
    text: "head.store(ptr::from_ref(node).cast_mut(), ordering::Release)",
};
const UNLINK: Place = Place {
    file: "rcu_table.rs",
    text: "link.store(node.next.load(ordering::Relaxed), ordering::Release)",
};
const FOLLOW: Place = Place {
    file: "rcu_table.rs",
    text: "unsafe { link.as_ptr().read_volatile() }",
};

#[test]
fn insertion_against_a_reader() {
    holds(3, insertion);
}

#[test]
fn neighbours_in_a_chain() {
    holds(3, neighbours);
}

#[test]
fn removal_against_two_readers() {
    holds(2, removal);
}

#[test]
fn removal_in_front_of_an_entry() {
    holds(3, removal_in_front);
}

#[test]
fn summary_after_insertion() {
    holds(3, summary);
}

#[test]
fn insertion_needs_release() {
    needs(Release, LINK, 3, insertion);
}

#[test]
fn removal_needs_release() {
    needs(Release, UNLINK, 3, removal_in_front);
}

#[test]
fn lookup_needs_the_dependency() {
    needs(Acquire, FOLLOW, 3, insertion);
}

#[test]
fn removal_needs_the_grace_period() {
    model::weaken(None);
    rcu::skip_grace_periods(true);
    let message = failure(2, removal);
    rcu::skip_grace_periods(false);
    println!(
        "fails as it must: {}",
        message.expect("the model holds without grace periods")
    );
}
