// SPDX-License-Identifier: GPL-2.0

//! A hash table from `u64` keys to values, read under RCU without a lock.
//!
//! [`RcuTable`] is for small registries that change seldom and are searched from every context,
//! including softirqs. A value is inserted together with all of its keys, in one allocation. After
//! its removal, it stays valid for readers until the end of a grace period.
//!
//! A table in zeroed memory is an empty table, so a `static` table can be searched as soon as the
//! kernel starts.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use crate::{
    bindings,
    prelude::*,
    sync::{
        atomic::{ordering, Atomic, AtomicFlag},
        rcu, //
    },
    types::Opaque, //
};
use core::ptr::{self, NonNull};

/// A hash table that is read under RCU.
///
/// `BUCKETS` is a power of two. Each bucket has a summary of its keys, so a lookup that finds
/// nothing mostly costs a multiplication and one load, also when there are more keys than buckets.
///
/// # Examples
///
/// ```
/// use kernel::sync::{
///     rcu,
///     rcu_table::{NewEntry, RcuTable}, //
/// };
///
/// static TABLE: RcuTable<&str, 16> = RcuTable::new();
///
/// // SAFETY: This example is built into the kernel.
/// let mut writer = unsafe { TABLE.writer() }.ok_or(EBUSY)?;
/// let entry = writer.insert(NewEntry::new("two keys", 2)?, [Ok(5), Ok(6)].into_iter())?;
/// assert_eq!(entry.keys(), 2);
/// assert!(TABLE.may_contain(6));
/// assert_eq!(TABLE.get(6, &rcu::read_lock()), Some(&"two keys"));
///
/// // A key leads to one value.
/// let taken = writer.insert(NewEntry::new("taken", 2)?, [Ok(7), Ok(6)].into_iter());
/// assert_eq!(taken.err(), Some(EEXIST));
/// assert_eq!(TABLE.get(7, &rcu::read_lock()), None);
///
/// writer.remove(entry);
/// assert_eq!(TABLE.get(6, &rcu::read_lock()), None);
/// # Ok::<(), Error>(())
/// ```
///
/// # Invariants
///
/// Every pointer reachable from `buckets` is valid for reads from a critical section that began
/// before the pointer was unlinked, until that section ends.
pub struct RcuTable<T, const BUCKETS: usize> {
    buckets: [Bucket<T>; BUCKETS],
    writer_taken: AtomicFlag,
}

struct Bucket<T> {
    /// Has the bit `Hash::bit` of every key in the bucket, and mostly no other.
    summary: Atomic<u64>,
    head: Atomic<*mut Node<T>>,
}

/// The location of a key.
struct Hash {
    bucket: usize,
    /// The bit of the key in the bucket's summary; exactly one bit is set.
    bit: u64,
}

/// One key of a group.
struct Node<T> {
    next: Atomic<*mut Node<T>>,
    key: u64,
    group: *const Group<T>,
}

/// A value and all of its keys.
struct Group<T> {
    value: T,
    nodes: KVec<Node<T>>,
    rcu: Opaque<bindings::callback_head>,
}

// SAFETY: The raw pointers of the nodes point into allocations that the table itself owns. The
// table hands out shared references to `T`, and the CPU that runs the RCU callback, which may be
// any CPU, drops the `T`.
unsafe impl<T: Send + Sync, const BUCKETS: usize> Send for RcuTable<T, BUCKETS> {}
// SAFETY: As above; all changes are made through the only `Writer`.
unsafe impl<T: Send + Sync, const BUCKETS: usize> Sync for RcuTable<T, BUCKETS> {}

impl<T: Send + Sync + 'static, const BUCKETS: usize> RcuTable<T, BUCKETS> {
    const BITS: u32 = {
        assert!(BUCKETS.is_power_of_two() && BUCKETS > 1);
        BUCKETS.trailing_zeros()
    };

    /// Creates an empty table.
    pub const fn new() -> Self {
        // INVARIANT: No pointer is reachable.
        Self {
            buckets: [const {
                Bucket {
                    summary: Atomic::new(0),
                    head: Atomic::new(ptr::null_mut()),
                }
            }; BUCKETS],
            writer_taken: AtomicFlag::new(false),
        }
    }

    #[inline(always)]
    fn hash(key: u64) -> Hash {
        // The multiplier of `hash_64()`: the fractional part of the golden ratio. Only the upper
        // bits of the product are well mixed: the topmost bits select the bucket, the bits below
        // them select the summary bit.
        let hash = key.wrapping_mul(0x61c8_8646_80b5_83eb);
        Hash {
            // The shift leaves less than `BUCKETS`; the mask tells the compiler so.
            bucket: (hash >> (u64::BITS - Self::BITS)) as usize & (BUCKETS - 1),
            bit: 1_u64.wrapping_shl((hash >> (u64::BITS - Self::BITS - 6)) as u32),
        }
    }

    #[inline(always)]
    fn bucket(&self, key: u64) -> &Bucket<T> {
        &self.buckets[Self::hash(key).bucket]
    }

    #[inline(always)]
    fn follow(link: &Atomic<*mut Node<T>>) -> *mut Node<T> {
        // Does the same as `rcu_dereference()`, but without a call: the addresses of later reads
        // depend on the pointer.
        //
        // ORDERING: The address dependency pairs with the release store in `Writer::insert`.
        //
        // SAFETY: `link` is valid, and volatile accesses of a pointer are single accesses.
        unsafe { link.as_ptr().read_volatile() }
    }

    /// Returns whether the table may hold `key`.
    ///
    /// `false` means that the table does not hold the key. May be called from any context, inside
    /// or outside an RCU read-side critical section.
    #[inline(always)]
    pub fn may_contain(&self, key: u64) -> bool {
        let hash = Self::hash(key);
        let summary = self.buckets[hash.bucket].summary.as_ptr();
        // Without a call, as in `follow`. Where this takes two loads, the bit is in one of them.
        //
        // ORDERING: None needed: who has to find a key calls after its insertion has returned.
        //
        // SAFETY: The pointer is valid.
        unsafe { summary.read_volatile() & hash.bit != 0 }
    }

    /// Returns the value of `key`; `None` if the table does not hold the key.
    ///
    /// May be called from any context in which RCU is watching.
    #[inline]
    pub fn get<'a>(&'a self, key: u64, _guard: &'a rcu::Guard) -> Option<&'a T> {
        let mut node = Self::follow(&self.bucket(key).head);
        while !node.is_null() {
            // SAFETY: By the type invariant, `node` is valid until the critical section of `_guard`
            // ends.
            let found = unsafe { &*node };
            if found.key == key {
                // SAFETY: A group lives as long as its nodes.
                return Some(unsafe { &(*found.group).value });
            }
            node = Self::follow(&found.next);
        }
        None
    }

    /// Returns the table's only writer to the first caller; `None` to all others.
    ///
    /// The user of the table puts the writer under the lock that serializes its changes.
    ///
    /// # Safety
    ///
    /// RCU callbacks drop the values. The caller is built into the kernel, or its module calls
    /// `rcu_barrier()` after its last change of the table and before it is unloaded.
    pub unsafe fn writer(&'static self) -> Option<Writer<T, BUCKETS>> {
        // ORDERING: Nothing is published through the flag.
        if self.writer_taken.xchg(true, ordering::Relaxed) {
            return None;
        }
        Some(Writer { table: self })
    }
}

impl<T: Send + Sync + 'static, const BUCKETS: usize> Default for RcuTable<T, BUCKETS> {
    fn default() -> Self {
        Self::new()
    }
}

/// The right to change an [`RcuTable`].
///
/// # Invariants
///
/// A table has at most one writer.
pub struct Writer<T: 'static, const BUCKETS: usize> {
    table: &'static RcuTable<T, BUCKETS>,
}

impl<T: Send + Sync + 'static, const BUCKETS: usize> Writer<T, BUCKETS> {
    /// Inserts a value under all of `keys`. Does not sleep.
    ///
    /// The keys are checked in order. The attempt ends at the first key that is an error, that the
    /// table or the list already holds ([`EEXIST`]), or that does not fit into `new` ([`EINVAL`]).
    /// All keys are checked before the first becomes visible, so a failure has no visible effect.
    pub fn insert(
        &mut self,
        new: NewEntry<T>,
        keys: impl Iterator<Item = Result<u64>>,
    ) -> Result<Entry<T, BUCKETS>> {
        let group = KBox::into_raw(new.0);
        for key in keys {
            // SAFETY: The group comes from a box, and none of its nodes is linked yet.
            if let Err(error) = key.and_then(|key| unsafe { self.add(group, key) }) {
                // SAFETY: As above.
                drop(unsafe { KBox::from_raw(group) });
                return Err(error);
            }
        }
        // SAFETY: The group is valid. From here on, all references to its nodes are shared.
        for node in unsafe { &*ptr::addr_of!((*group).nodes) } {
            self.link(node);
        }
        // INVARIANT: All nodes have just been linked into this table.
        Ok(Entry {
            // SAFETY: The pointer comes from a box and is not null.
            group: unsafe { NonNull::new_unchecked(group) },
            table: self.table,
        })
    }

    /// Adds a key to a group that is not in the table yet.
    ///
    /// # Safety
    ///
    /// `group` comes from a box, and none of its nodes is linked.
    unsafe fn add(&self, group: *mut Group<T>, key: u64) -> Result {
        // SAFETY: By this function's requirement, this is the only reference to it.
        let nodes = unsafe { &mut (*group).nodes };
        if self.holds(key) || nodes.iter().any(|node| node.key == key) {
            return Err(EEXIST);
        }
        let node = Node {
            next: Atomic::new(ptr::null_mut()),
            key,
            group,
        };
        // Does not allocate, so the nodes keep their addresses.
        nodes.push_within_capacity(node).map_err(|_| EINVAL)
    }

    fn link(&mut self, node: &Node<T>) {
        let hash = RcuTable::<T, BUCKETS>::hash(node.key);
        let Bucket { summary, head } = &self.table.buckets[hash.bucket];
        node.next
            .store(head.load(ordering::Relaxed), ordering::Relaxed);
        // ORDERING: Pairs with the address dependency in `RcuTable::follow`: a reader that sees the
        // node sees its fields filled. INVARIANT: The node lives until a grace period after
        // `remove`.
        head.store(ptr::from_ref(node).cast_mut(), ordering::Release);
        // The writer is the only one, so this need not be one operation.
        summary.store(
            summary.load(ordering::Relaxed) | hash.bit,
            ordering::Relaxed,
        );
    }

    fn holds(&self, key: u64) -> bool {
        self.table.get(key, &rcu::read_lock()).is_some()
    }

    /// Removes an entry from the table. The value is dropped in softirq context after a grace
    /// period. Does not sleep.
    ///
    /// If the entry belongs to another table, this function warns and the entry stays there
    /// permanently.
    pub fn remove(&mut self, entry: Entry<T, BUCKETS>) {
        if crate::warn_on!(!ptr::eq(entry.table, self.table)) {
            return;
        }
        let group = entry.group.as_ptr();
        // SAFETY: The entry is the only owner of the group; readers hold shared references to it.
        for node in unsafe { &*ptr::addr_of!((*group).nodes) } {
            self.unlink(node);
        }
        // SAFETY: The group was only in this table, so new readers cannot reach it, and its
        // ownership ends here. The creator of the writer has guaranteed that the callback's code
        // stays in memory.
        unsafe { bindings::call_rcu((*group).rcu.get(), Some(free::<T>)) };
    }

    fn unlink(&mut self, node: &Node<T>) {
        let Bucket { summary, head } = self.table.bucket(node.key);
        let mut link = head;
        let mut bits = 0;
        loop {
            let current = link.load(ordering::Relaxed);
            if current.is_null() {
                break;
            }
            // SAFETY: Only the writer unlinks nodes, so `current` stays valid.
            let found = unsafe { &*current };
            if ptr::eq(found, node) {
                // ORDERING: Pairs with the address dependency in `RcuTable::follow`, as in `link`.
                // A reader may come to the rest of the chain by this store alone.
                link.store(node.next.load(ordering::Relaxed), ordering::Release);
                continue;
            }
            bits |= RcuTable::<T, BUCKETS>::hash(found.key).bit;
            link = &found.next;
        }
        summary.store(bits, ordering::Relaxed);
    }
}

/// A value that is not yet in a table, with memory for its keys.
pub struct NewEntry<T>(KBox<Group<T>>);

impl<T> NewEntry<T> {
    /// Allocates memory for `value` and up to `keys` keys. May sleep. Returns [`ENOMEM`] if the
    /// allocation fails.
    pub fn new(value: T, keys: usize) -> Result<Self> {
        let group = Group {
            value,
            nodes: KVec::with_capacity(keys, GFP_KERNEL)?,
            rcu: Opaque::uninit(),
        };
        Ok(Self(KBox::new(group, GFP_KERNEL)?))
    }
}

/// An entry that [`Writer::insert`] has put into a table.
///
/// If an entry is forgotten without [`Writer::remove`], the value stays in the table permanently.
///
/// # Invariants
///
/// The entry owns `group`. The nodes of the group are in `table` and in no other table.
#[must_use = "the value stays in the table until it is removed"]
pub struct Entry<T: 'static, const BUCKETS: usize> {
    group: NonNull<Group<T>>,
    table: &'static RcuTable<T, BUCKETS>,
}

impl<T, const BUCKETS: usize> Entry<T, BUCKETS> {
    /// Returns the value.
    pub fn value(&self) -> &T {
        // SAFETY: The group lives at least until the entry is given to `Writer::remove`.
        unsafe { &(*self.group.as_ptr()).value }
    }

    /// Returns the number of keys that lead to the value.
    pub fn keys(&self) -> usize {
        // SAFETY: As above; the vector does not change after `Writer::insert`.
        unsafe { (*ptr::addr_of!((*self.group.as_ptr()).nodes)).len() }
    }
}

// SAFETY: An entry owns its group as a box would, and gives out shared references to the value.
unsafe impl<T: Send + Sync, const BUCKETS: usize> Send for Entry<T, BUCKETS> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync, const BUCKETS: usize> Sync for Entry<T, BUCKETS> {}

/// Frees a group after a grace period.
///
/// # Safety
///
/// `head` is the `rcu` field of a `Group<T>` in a box to which no other reference exists.
unsafe extern "C" fn free<T>(head: *mut bindings::callback_head) {
    // SAFETY: By this function's requirement.
    let group = unsafe { crate::container_of!(Opaque::cast_from(head), Group<T>, rcu) };
    // SAFETY: As above.
    drop(unsafe { KBox::from_raw(group.cast_mut()) });
}

#[cfg(CONFIG_KCOV_KUNIT_TEST)]
#[kunit_tests(kcov_rcu_table)]
mod tests {
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
