// SPDX-License-Identifier: GPL-2.0

//! The table: a HashMap from keys to values.

use kernel::{
    prelude::*,
    sync::{
        rcu,
        rcu_table::{NewEntry, RcuTable},
    },
};
use proptest::{collection::vec, prelude::*};
use std::{
    collections::HashMap,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        Arc,
    },
};

struct Value {
    number: usize,
    alive: Arc<AtomicUsize>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Relaxed);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<Option<u64>>, usize),
    Remove(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Step> {
    let key = prop_oneof![20 => (0..30_u64).prop_map(Some), 1 => any::<u64>().prop_map(Some), 1 => Just(None)];
    prop_oneof![
        2 => (vec(key, 0..5), 0..6_usize).prop_map(|(keys, space)| Step::Insert(keys, space)),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn is_a_map(steps in vec(steps(), 0..80)) {
        let table: &'static RcuTable<Value, 4> = Box::leak(Box::new(RcuTable::new()));
        // SAFETY: Values are dropped in the test.
        let mut writer = unsafe { table.writer() }.unwrap();
        let alive = Arc::new(AtomicUsize::new(0));
        let mut entries = Vec::new();
        let mut expected = HashMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(keys, space) => {
                    alive.fetch_add(1, Relaxed);
                    let value = Value { number, alive: alive.clone() };
                    let new = NewEntry::new(value, space).unwrap();
                    // The first key that cannot be taken decides.
                    let mut error = None;
                    let mut own: Vec<u64> = Vec::new();
                    for key in &keys {
                        match key {
                            None => error = Some(EBUSY),
                            Some(key) if expected.contains_key(key) || own.contains(key) => error = Some(EEXIST),
                            Some(_) if own.len() == space => error = Some(EINVAL),
                            Some(key) => own.push(*key),
                        }
                        if error.is_some() {
                            break;
                        }
                    }
                    let result = writer.insert(new, keys.iter().map(|key| key.ok_or(EBUSY)));
                    prop_assert_eq!(result.as_ref().err().copied(), error);
                    if let Ok(entry) = result {
                        prop_assert_eq!(entry.keys(), own.len());
                        prop_assert_eq!(entry.value().number, number);
                        expected.extend(own.iter().map(|&key| (key, number)));
                        entries.push(entry);
                    }
                }
                Step::Remove(index) if !entries.is_empty() => {
                    let entry = entries.swap_remove(index.index(entries.len()));
                    let number = entry.value().number;
                    writer.remove(entry);
                    expected.retain(|_, value| *value != number);
                }
                Step::Remove(_) => {}
            }
            prop_assert_eq!(alive.load(Relaxed), entries.len());
            let guard = rcu::read_lock();
            for key in 0..32 {
                let found = table.get(key, &guard).map(|value| value.number);
                prop_assert_eq!(found, expected.get(&key).copied());
                prop_assert!(found.is_none() || table.may_contain(key));
            }
        }
        for entry in entries {
            writer.remove(entry);
        }
        prop_assert_eq!(alive.load(Relaxed), 0);
        // The table is empty, and so are the summaries.
        prop_assert!(!(0..1000).any(|key| table.may_contain(key)));
    }
}
