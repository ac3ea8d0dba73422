// SPDX-License-Identifier: GPL-2.0

//! A hash table from `u64` keys to values, read under RCU without a lock.
//!
//! [`RcuTable`] is for small registries that are looked up from every context, softirqs included,
//! and that change seldom. A value is inserted together with all the keys that lead to it, in one
//! allocation, and stays valid for readers until a grace period after its removal.
//!
//! A table in zeroed memory is an empty table, so a `static` one can be searched from the first
//! instruction of the kernel on.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use crate::{
    bindings,
    prelude::*,
    sync::{
        atomic::{ordering, Atomic},
        rcu, //
    },
    types::Opaque, //
};
use core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, AtomicU64, Ordering}, //
};

/// A hash table that is read under RCU.
///
/// `BUCKETS` is a power of two. Each bucket has a summary of its keys, so a lookup that finds
/// nothing mostly costs a multiplication and one load, also when there are more keys than buckets.
///
/// # Invariants
///
/// Every pointer reachable from `buckets` is valid for reads from a critical section that began
/// before the pointer was unlinked, until that section ends.
pub struct RcuTable<T, const BUCKETS: usize> {
    buckets: [Bucket<T>; BUCKETS],
    writer_taken: AtomicBool,
}

struct Bucket<T> {
    /// Has the bit `Hash::bit` of every key in the bucket, and mostly no other.
    summary: AtomicU64,
    head: Atomic<*mut Node<T>>,
}

/// Where a key is looked for.
struct Hash {
    bucket: usize,
    /// One bit, for the summary.
    bit: u64,
}

/// One key of a group.
struct Node<T> {
    next: Atomic<*mut Node<T>>,
    key: u64,
    group: *const Group<T>,
}

/// A value and all the keys that lead to it.
struct Group<T> {
    value: T,
    nodes: KVec<Node<T>>,
    rcu: Opaque<bindings::callback_head>,
}

// SAFETY: The raw pointers of the nodes point into allocations that the table itself owns; what it
// hands out are shared references to `T`, and `T` is dropped by whichever CPU runs the RCU
// callback.
unsafe impl<T: Send + Sync, const BUCKETS: usize> Send for RcuTable<T, BUCKETS> {}
// SAFETY: As above; all changes go through the only `Writer`.
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
                    summary: AtomicU64::new(0),
                    head: Atomic::new(ptr::null_mut()),
                }
            }; BUCKETS],
            writer_taken: AtomicBool::new(false),
        }
    }

    #[inline(always)]
    fn hash(key: u64) -> Hash {
        // The multiplier of `hash_64()`: the fractional part of the golden ratio. The upper bits
        // are the good ones: the topmost are the bucket, those below them the bit.
        let hash = key.wrapping_mul(0x61c8_8646_80b5_83eb);
        Hash {
            // What the shift leaves is less than `BUCKETS`; the mask says so to the compiler.
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
        // What `rcu_dereference()` does, without a call: what is read through the pointer depends
        // on its address.
        //
        // ORDERING: The address dependency pairs with the release store in `Writer::insert`.
        //
        // SAFETY: `link` is valid, and volatile accesses of a pointer are single accesses.
        unsafe { link.as_ptr().read_volatile() }
    }

    /// Says whether a lookup of `key` is worth its while.
    ///
    /// `false` means that the table does not hold the key. May be called from any context, with or
    /// without an RCU read-side critical section.
    #[inline(always)]
    pub fn may_contain(&self, key: u64) -> bool {
        let hash = Self::hash(key);
        // ORDERING: None needed: who has to find a key calls after its insertion has returned.
        self.buckets[hash.bucket].summary.load(Ordering::Relaxed) & hash.bit != 0
    }

    /// Looks `key` up.
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

    /// Returns the table's only writer, to the first caller.
    ///
    /// The writer is to be put under whatever lock the user of the table has for changes.
    ///
    /// # Safety
    ///
    /// Values are dropped by RCU callbacks. The caller is built into the kernel, or its module
    /// calls `rcu_barrier()` between its last change of the table and its end.
    pub unsafe fn writer(&'static self) -> Option<Writer<T, BUCKETS>> {
        // ORDERING: Nothing is published through the flag.
        if self.writer_taken.swap(true, Ordering::Relaxed) {
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
/// There is at most one writer to a table.
pub struct Writer<T: 'static, const BUCKETS: usize> {
    table: &'static RcuTable<T, BUCKETS>,
}

impl<T: Send + Sync + 'static, const BUCKETS: usize> Writer<T, BUCKETS> {
    /// Inserts a value under all of `keys`. Does not sleep.
    ///
    /// The keys are taken in their order. The first that is an error, that the table or the list
    /// already holds ([`EEXIST`]), or for which `new` has no room any more ([`EINVAL`]) ends the
    /// attempt. All keys are checked before the first becomes visible, so a failure leaves no
    /// trace.
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
        // SAFETY: The group is valid. From here on there are only shared references to its nodes.
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
        // Without more memory: the nodes stay where they are.
        nodes.push_within_capacity(node).map_err(|_| EINVAL)
    }

    fn link(&mut self, node: &Node<T>) {
        let hash = RcuTable::<T, BUCKETS>::hash(node.key);
        let Bucket { summary, head } = &self.table.buckets[hash.bucket];
        node.next
            .store(head.load(ordering::Relaxed), ordering::Relaxed);
        // ORDERING: Pairs with the address dependency in `RcuTable::follow`: whoever sees the node
        // sees it filled.
        // INVARIANT: The node lives until a grace period after `remove`.
        head.store(ptr::from_ref(node).cast_mut(), ordering::Release);
        // The only writer, so this need not be one operation.
        summary.store(
            summary.load(Ordering::Relaxed) | hash.bit,
            Ordering::Relaxed,
        );
    }

    fn holds(&self, key: u64) -> bool {
        self.table.get(key, &rcu::read_lock()).is_some()
    }

    /// Takes an entry out of the table; its value is dropped after a grace period, in softirq
    /// context. Does not sleep.
    ///
    /// An entry of another table stays there for ever, with a warning.
    pub fn remove(&mut self, entry: Entry<T, BUCKETS>) {
        if crate::warn_on!(!ptr::eq(entry.table, self.table)) {
            return;
        }
        let group = entry.group.as_ptr();
        // SAFETY: The entry is the only owner of the group, readers hold shared references to it.
        for node in unsafe { &*ptr::addr_of!((*group).nodes) } {
            self.unlink(node);
        }
        // SAFETY: The group was in this table only, so it is not reachable for new readers, and is
        // given away here. Who made the writer sees to it that the callback exists as long.
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
                // ORDERING: None needed: the rest of the chain has been visible all the time.
                link.store(node.next.load(ordering::Relaxed), ordering::Relaxed);
                continue;
            }
            bits |= RcuTable::<T, BUCKETS>::hash(found.key).bit;
            link = &found.next;
        }
        summary.store(bits, Ordering::Relaxed);
    }
}

/// A value that is not in a table yet, with the memory for the keys that are to lead to it.
pub struct NewEntry<T>(KBox<Group<T>>);

impl<T> NewEntry<T> {
    /// Makes room for `value` and up to `keys` keys. Sleeps for memory.
    pub fn new(value: T, keys: usize) -> Result<Self> {
        let group = Group {
            value,
            nodes: KVec::with_capacity(keys, GFP_KERNEL)?,
            rcu: Opaque::uninit(),
        };
        Ok(Self(KBox::new(group, GFP_KERNEL)?))
    }
}

/// What [`Writer::insert`] put into a table.
///
/// Forgetting an entry without [`Writer::remove`] leaves the value in the table for ever.
///
/// # Invariants
///
/// `group` is owned by the entry, and its nodes are in `table` and in no other one.
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

/// # Safety
///
/// `head` is the `rcu` field of a `Group<T>` in a box that nobody else refers to.
unsafe extern "C" fn free<T>(head: *mut bindings::callback_head) {
    // SAFETY: By this function's requirement.
    let group = unsafe { crate::container_of!(Opaque::cast_from(head), Group<T>, rcu) };
    // SAFETY: As above.
    drop(unsafe { KBox::from_raw(group.cast_mut()) });
}
