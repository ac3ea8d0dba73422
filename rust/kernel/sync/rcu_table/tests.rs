// SPDX-License-Identifier: GPL-2.0

//! Tests of the table.

use super::*;

#[kunit_tests(kcov_rcu_table)]
mod kcov_rcu_table {
    use super::*;

    const BUCKETS: usize = 4;

    /// Counts how many values were dropped.
    type Drops = Atomic<u32>;

    struct Value {
        number: u32,
        drops: &'static Drops,
    }

    impl Drop for Value {
        fn drop(&mut self) {
            self.drops.add(1, ordering::Relaxed);
        }
    }

    type Table = RcuTable<Value, BUCKETS>;

    /// The table of one test, and the number of its values that were dropped.
    struct Place {
        table: Table,
        drops: Drops,
    }

    impl Place {
        const fn new() -> Self {
            Self {
                table: Table::new(),
                drops: Drops::new(0),
            }
        }

        /// Returns the only writer. A test may run more than once in a boot.
        fn writer(&'static self) -> Writer<Value, BUCKETS> {
            self.drops.store(0, ordering::Relaxed);
            // INVARIANT: The test that the place belongs to calls this once in a run, and its runs
            // follow each other.
            Writer { table: &self.table }
        }

        fn insert(
            &'static self,
            writer: &mut Writer<Value, BUCKETS>,
            number: u32,
            keys: &[u64],
        ) -> Result<Entry<Value, BUCKETS>> {
            let value = Value {
                number,
                drops: &self.drops,
            };
            let new = NewEntry::new(value, keys.len())?;
            writer.insert(new, keys.iter().copied().map(Ok))
        }

        fn find(&self, key: u64) -> Option<u32> {
            self.table
                .get(key, &rcu::read_lock())
                .map(|value| value.number)
        }

        /// Returns the values of the keys.
        fn find_all<const N: usize>(&self, keys: [u64; N]) -> [Option<u32>; N] {
            keys.map(|key| self.find(key))
        }

        /// Waits for all callbacks; returns the number of values that were dropped.
        fn dropped(&self) -> u32 {
            rcu::rcu_barrier();
            self.drops.load(ordering::Relaxed)
        }

        /// Returns the keys of a bucket, in the order of its chain.
        fn keys_of(&self, bucket: usize) -> Result<KVec<u64>> {
            let mut keys = KVec::new();
            let mut node = Table::follow(&self.table.buckets[bucket].head);
            while !node.is_null() {
                // SAFETY: Only the test removes nodes, and it does so later.
                let found = unsafe { &*node };
                keys.push(found.key, GFP_KERNEL)?;
                node = Table::follow(&found.next);
            }
            Ok(keys)
        }

        fn is_empty(&self) -> bool {
            self.table.buckets.iter().all(|bucket| {
                bucket.summary.load(ordering::Relaxed) == 0 && Table::follow(&bucket.head).is_null()
            })
        }
    }

    /// Returns keys that share a bucket but have different bits in its summary.
    fn colliding<const N: usize>() -> [u64; N] {
        let mut keys = [0; N];
        let mut number = 0;
        let mut bits = 0;
        for key in 1.. {
            let hash = Table::hash(key);
            if number == N {
                break;
            }
            if hash.bucket == 2 && bits & hash.bit == 0 {
                keys[number] = key;
                bits |= hash.bit;
                number += 1;
            }
        }
        keys
    }

    #[test]
    fn hashes() {
        // 0x61c8864680b583eb begins with 01, and 100001 follows.
        let hash = Table::hash(1);
        assert_eq!(hash.bucket, 1);
        assert_eq!(hash.bit, 1 << 0b100001);
        // Twice that begins with 11, and 000011 follows.
        let hash = Table::hash(2);
        assert_eq!(hash.bucket, 3);
        assert_eq!(hash.bit, 1 << 0b000011);
        let hash = Table::hash(0);
        assert_eq!(hash.bucket, 0);
        assert_eq!(hash.bit, 1);
        // The largest number of buckets that KCOV uses is 2048: eleven bits.
        let hash = RcuTable::<u8, 2048>::hash(1);
        assert_eq!(hash.bucket, 0b01100001110);
        assert_eq!(hash.bit, 1 << 0b010001);
    }

    #[test]
    fn keys_share_a_bucket() -> Result {
        static PLACE: Place = Place::new();
        let [a, b, c] = colliding();
        let mut writer = PLACE.writer();
        let first = PLACE.insert(&mut writer, 1, &[a])?;
        // In the same bucket, but not in its summary.
        assert!(PLACE.table.may_contain(a));
        assert!(!PLACE.table.may_contain(b));
        assert_eq!(PLACE.find_all([a, b, c]), [Some(1), None, None]);
        let second = PLACE.insert(&mut writer, 2, &[b, c])?;
        assert_eq!(second.keys(), 2);
        assert_eq!(second.value().number, 2);
        assert_eq!(PLACE.find_all([a, b, c]), [Some(1), Some(2), Some(2)]);
        assert_eq!(&PLACE.keys_of(2)?[..], &[c, b, a][..]);
        writer.remove(first);
        assert_eq!(PLACE.find_all([a, b, c]), [None, Some(2), Some(2)]);
        assert!(!PLACE.table.may_contain(a));
        assert!(PLACE.table.may_contain(b));
        writer.remove(second);
        assert!(PLACE.is_empty());
        assert_eq!(PLACE.dropped(), 2);
        Ok(())
    }

    /// Removes one of three values whose keys are in one chain, then the others.
    fn remove_from_chain(place: &'static Place, index: usize) -> Result {
        let keys: [u64; 3] = colliding();
        let mut writer = place.writer();
        let mut entries = [None, None, None];
        for (number, entry) in entries.iter_mut().enumerate() {
            *entry = Some(place.insert(&mut writer, number as u32, &[keys[number]])?);
        }
        let mut expected = [Some(0), Some(1), Some(2)];
        for index in [index, (index + 1) % 3, (index + 2) % 3] {
            let entry = entries[index].take().ok_or(EINVAL)?;
            writer.remove(entry);
            expected[index] = None;
            let found = place.find_all(keys);
            let may = keys.map(|key| place.table.may_contain(key));
            if found != expected || may != expected.map(|value| value.is_some()) {
                pr_err!("{:?} and {:?} without value {}\n", found, may, index);
                return Err(EINVAL);
            }
        }
        if !place.is_empty() || place.dropped() != 3 {
            return Err(EBUSY);
        }
        Ok(())
    }

    #[test]
    fn first_of_a_chain_is_removed() -> Result {
        static PLACE: Place = Place::new();
        // The value that was inserted last comes first.
        remove_from_chain(&PLACE, 2)
    }

    #[test]
    fn middle_of_a_chain_is_removed() -> Result {
        static PLACE: Place = Place::new();
        remove_from_chain(&PLACE, 1)
    }

    #[test]
    fn last_of_a_chain_is_removed() -> Result {
        static PLACE: Place = Place::new();
        remove_from_chain(&PLACE, 0)
    }

    #[test]
    fn keys_share_a_bit_of_the_summary() -> Result {
        static PLACE: Place = Place::new();
        let [a]: [u64; 1] = colliding();
        let hash = Table::hash(a);
        let Some(b) = (a + 1..).find(|&key| {
            let other = Table::hash(key);
            other.bucket == hash.bucket && other.bit == hash.bit
        }) else {
            return Err(EINVAL);
        };
        let mut writer = PLACE.writer();
        let first = PLACE.insert(&mut writer, 1, &[a])?;
        // The summary may be wrong, but the lookup is not.
        assert!(PLACE.table.may_contain(b));
        assert_eq!(PLACE.find(b), None);
        let second = PLACE.insert(&mut writer, 2, &[b])?;
        writer.remove(second);
        // The bit still belongs to the other key.
        assert!(PLACE.table.may_contain(a));
        assert_eq!(PLACE.find_all([a, b]), [Some(1), None]);
        writer.remove(first);
        assert!(PLACE.is_empty());
        Ok(())
    }

    #[test]
    fn refused_insertions_leave_no_trace() -> Result {
        static PLACE: Place = Place::new();
        let [a, b, c] = colliding();
        let mut writer = PLACE.writer();
        let entry = PLACE.insert(&mut writer, 1, &[a])?;
        let before = PLACE.keys_of(2)?;

        // A key in the table, a key twice in the list, a malformed key, and more keys than fit.
        assert_eq!(PLACE.insert(&mut writer, 2, &[b, a]).err(), Some(EEXIST));
        assert_eq!(PLACE.insert(&mut writer, 3, &[b, c, b]).err(), Some(EEXIST));
        let value = |number| Value {
            number,
            drops: &PLACE.drops,
        };
        let new = NewEntry::new(value(4), 2)?;
        let keys = [Ok(b), Err(ENOTSUPP), Ok(a)].into_iter();
        assert_eq!(writer.insert(new, keys).err(), Some(ENOTSUPP));
        let new = NewEntry::new(value(5), 1)?;
        let keys = (0..1000).filter(|&key| key != a).map(Ok);
        assert_eq!(writer.insert(new, keys).err(), Some(EINVAL));

        // Refused values are dropped at once.
        assert_eq!(PLACE.drops.load(ordering::Relaxed), 4);
        assert_eq!(PLACE.find_all([a, b, c]), [Some(1), None, None]);
        assert!(!PLACE.table.may_contain(b));
        assert_eq!(&PLACE.keys_of(2)?[..], &before[..]);

        // The rejected entries have not taken the keys.
        let other = PLACE.insert(&mut writer, 6, &[b, c])?;
        assert_eq!(PLACE.find_all([a, b, c]), [Some(1), Some(6), Some(6)]);
        writer.remove(entry);
        writer.remove(other);
        assert!(PLACE.is_empty());
        assert_eq!(PLACE.dropped(), 6);
        Ok(())
    }

    #[test]
    fn values_without_keys() -> Result {
        static PLACE: Place = Place::new();
        let mut writer = PLACE.writer();
        let entry = PLACE.insert(&mut writer, 1, &[])?;
        assert_eq!(entry.keys(), 0);
        assert!(PLACE.is_empty());
        writer.remove(entry);
        assert_eq!(PLACE.dropped(), 1);
        Ok(())
    }

    #[test]
    fn readers_keep_what_they_have_found() -> Result {
        static PLACE: Place = Place::new();
        let [a, b, c] = colliding();
        let mut writer = PLACE.writer();
        let last = PLACE.insert(&mut writer, 1, &[a])?;
        let middle = PLACE.insert(&mut writer, 2, &[b])?;
        let first = PLACE.insert(&mut writer, 3, &[c])?;
        let guard = rcu::read_lock();
        let value = PLACE.table.get(b, &guard);
        // A reader that has reached the middle of the chain.
        let head = Table::follow(&PLACE.table.buckets[2].head);
        // SAFETY: The chain has three nodes.
        let node = Table::follow(unsafe { &(*head).next });
        writer.remove(middle);
        assert_eq!(PLACE.find_all([a, b, c]), [Some(1), None, Some(3)]);
        // The reader continues to the end, and the node that it has found is still valid. SAFETY: A
        // node stays valid until the critical section ends.
        let next = Table::follow(unsafe { &(*node).next });
        assert!(!next.is_null());
        // SAFETY: As above.
        assert_eq!(unsafe { (*next).key }, a);
        assert_eq!(value.map(|value| value.number), Some(2));
        assert_eq!(PLACE.drops.load(ordering::Relaxed), 0);
        drop(guard);
        assert_eq!(PLACE.dropped(), 1);
        writer.remove(last);
        writer.remove(first);
        assert!(PLACE.is_empty());
        assert_eq!(PLACE.dropped(), 3);
        Ok(())
    }

    #[test]
    fn one_writer() {
        static TABLE: RcuTable<u8, 2> = RcuTable::new();
        // SAFETY: The test is built into the kernel.
        assert!(unsafe { TABLE.writer() }.is_some());
        // SAFETY: As above.
        assert!(unsafe { TABLE.writer() }.is_none());
        // For another run of the test: both results are gone.
        TABLE.writer_taken.store(false, ordering::Relaxed);
    }
}
