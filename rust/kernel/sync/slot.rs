// SPDX-License-Identifier: GPL-2.0

//! A slot that holds at most one object and is exchanged atomically.

use crate::{prelude::*, types::ForeignOwnable};
use core::{
    marker::PhantomData,
    ptr,
    sync::atomic::{AtomicPtr, Ordering}, //
};

/// A slot that holds at most one object.
///
/// Objects are put in and taken out without a lock, from any context. A slot in zeroed memory is
/// empty.
///
/// # Invariants
///
/// `pointer` is null, or comes from `P::into_foreign` and is owned by the slot.
///
/// # Examples
///
/// ```
/// use kernel::sync::slot::Slot;
///
/// let slot = Slot::<KBox<u32>>::new();
/// assert!(slot.take().is_none());
/// assert!(slot.put(KBox::new(3, GFP_KERNEL)?).is_ok());
/// assert!(slot.put(KBox::new(4, GFP_KERNEL)?).is_err());
/// assert_eq!(slot.take().map(|value| *value), Some(3));
/// # Ok::<(), Error>(())
/// ```
pub struct Slot<P: ForeignOwnable> {
    // Only the slot accesses the pointer, so it need not be an `Atomic` of this crate, whose
    // operations are calls. Those of `core` are inlined: an exchange is one instruction on x86.
    pointer: AtomicPtr<c_void>,
    _owned: PhantomData<P>,
}

// SAFETY: A slot owns an object of type `P` and lets other threads take it.
unsafe impl<P: ForeignOwnable + Send> Send for Slot<P> {}
// SAFETY: A shared slot gives out ownership only, never references.
unsafe impl<P: ForeignOwnable + Send> Sync for Slot<P> {}

impl<P: ForeignOwnable> Slot<P> {
    /// Creates an empty slot.
    pub const fn new() -> Self {
        // INVARIANT: The pointer is null.
        Self {
            pointer: AtomicPtr::new(ptr::null_mut()),
            _owned: PhantomData,
        }
    }

    /// Returns whether the slot was empty a moment ago.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pointer.load(Ordering::Relaxed).is_null()
    }

    /// Takes the object out; `None` if the slot is empty.
    ///
    /// All calls of this function and all successful calls of [`Slot::put`] for one slot have an
    /// order. The caller of a later one sees all that was written before an earlier one, even if
    /// the earlier one found the slot empty.
    #[inline]
    pub fn take(&self) -> Option<P> {
        // ORDERING: Acquires the object, which `put` released. Releases for a later `put`, as
        // documented.
        // INVARIANT: Null is always a valid content.
        let pointer = self.pointer.swap(ptr::null_mut(), Ordering::AcqRel);
        if pointer.is_null() {
            return None;
        }
        // SAFETY: By the type invariant. The ownership of the object has just left the slot.
        Some(unsafe { P::from_foreign(pointer) })
    }

    /// Puts `object` into the slot, or returns it if the slot is occupied.
    #[inline]
    pub fn put(&self, object: P) -> Result<(), P> {
        let pointer = object.into_foreign();
        // ORDERING: Releases the object for `take`. Acquires what an earlier `take` has released,
        // as documented.
        // INVARIANT: The slot owns the object if the exchange succeeds.
        match self.pointer.compare_exchange(
            ptr::null_mut(),
            pointer,
            Ordering::AcqRel,
            Ordering::Relaxed,
        ) {
            Ok(_) => Ok(()),
            // SAFETY: The slot did not take over the object.
            Err(_) => Err(unsafe { P::from_foreign(pointer) }),
        }
    }
}

impl<P: ForeignOwnable> Default for Slot<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: ForeignOwnable> Drop for Slot<P> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
