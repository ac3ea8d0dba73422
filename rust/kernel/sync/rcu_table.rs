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
mod tests;
