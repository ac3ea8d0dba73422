// SPDX-License-Identifier: GPL-2.0

//! The atomic operations that the sources use.
//!
//! An operation that is not listed here does not compile, so the models know them all:
//!
//! | operation | used by |
//! | --- | --- |
//! | `load`, `store` | `rcu_table`, `pool`, `slot` |
//! | `swap`, `compare_exchange` | `slot` |
//! | `xchg`, `cmpxchg` | `pool`, `rcu_table` |
//! | `fetch_add`, `fetch_sub`, `add` | `pool`, `registry`, `descriptor` |
//! | `as_ptr`, for volatile accesses: loads may have an address dependency | `rcu_table`, `memory` |
//!
//! Loom has the memory model of C11, without consume: a load with an address dependency acquires.
//! Its SeqCst operations are AcqRel ones; only fences have one order.

pub use ::core::sync::atomic::Ordering;

use crate::model;
use std::{
    panic::Location,
    sync::{Mutex, PoisonError},
};

/// A value of one word.
pub trait Word: Copy + 'static {
    /// Returns the value as a number.
    fn to_word(self) -> u64;
    /// Undoes [`Word::to_word`].
    fn from_word(word: u64) -> Self;
}

macro_rules! numbers {
    ($($number:ty)+) => {$(
        impl Word for $number {
            fn to_word(self) -> u64 {
                self as u64
            }

            fn from_word(word: u64) -> Self {
                word as Self
            }
        }
    )+};
}
numbers!(u32 u64 i64 usize);

impl Word for bool {
    fn to_word(self) -> u64 {
        u64::from(self)
    }

    fn from_word(word: u64) -> Self {
        word != 0
    }
}

impl<T: 'static> Word for *mut T {
    fn to_word(self) -> u64 {
        self.expose_provenance() as u64
    }

    fn from_word(word: u64) -> Self {
        std::ptr::with_exposed_provenance_mut(word as usize)
    }
}

/// An atomic variable.
///
/// In a model of loom, it is created at its first access in each execution, which must happen
/// before accesses by other threads. Otherwise loom ends the test.
pub struct Atomic<T> {
    first: T,
    now: Mutex<Option<Now<T>>>,
}

// SAFETY: The value is a word, which is only copied.
unsafe impl<T: Word> Send for Atomic<T> {}
// SAFETY: As above.
unsafe impl<T: Word> Sync for Atomic<T> {}

/// The value, and the execution that it belongs to.
struct Now<T> {
    execution: u64,
    #[cfg(feature = "loom")]
    value: std::sync::Arc<loom::sync::atomic::AtomicU64>,
    #[cfg(not(feature = "loom"))]
    value: u64,
    _type: std::marker::PhantomData<T>,
}

impl<T: Word> Atomic<T> {
    /// Creates a variable.
    pub const fn new(first: T) -> Self {
        Self {
            first,
            now: Mutex::new(None),
        }
    }
}

#[cfg(feature = "loom")]
impl<T: Word> Atomic<T> {
    fn now(&self) -> std::sync::Arc<loom::sync::atomic::AtomicU64> {
        let execution = model::execution();
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        match &*now {
            Some(now) if now.execution == execution => now.value.clone(),
            _ => {
                let value = loom::sync::atomic::AtomicU64::new(self.first.to_word());
                let value = std::sync::Arc::new(value);
                *now = Some(Now {
                    execution,
                    value: value.clone(),
                    _type: std::marker::PhantomData,
                });
                value
            }
        }
    }
}

#[cfg(not(feature = "loom"))]
impl<T: Word> Atomic<T> {
    /// Changes the value. Operations run one at a time. Before each, shuttle may let another thread
    /// run.
    fn change<R>(&self, change: impl FnOnce(&mut u64) -> R) -> R {
        #[cfg(feature = "shuttle")]
        shuttle::thread::yield_now();
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now.get_or_insert_with(|| Now {
            execution: model::execution(),
            value: self.first.to_word(),
            _type: std::marker::PhantomData,
        });
        // Without loom, a variable lives as long as the program, so each execution must restore the
        // values that it changes.
        let _ = now.execution;
        change(&mut now.value)
    }
}

/// One operation: its ordering in the model, and its effect in the model and without one.
macro_rules! operation {
    ($self:ident, $ordering:ident, |$atomic:ident, $asked:ident| $loom:expr, |$value:ident| $plain:expr) => {{
        let $asked = model::ordering($ordering, Location::caller());
        #[cfg(feature = "loom")]
        {
            let $atomic = $self.now();
            $loom
        }
        #[cfg(not(feature = "loom"))]
        {
            let _ = $asked;
            $self.change(|$value| $plain)
        }
    }};
}

impl<T: Word> Atomic<T> {
    /// `load` of the library.
    #[track_caller]
    pub fn load(&self, ordering: Ordering) -> T {
        T::from_word(operation!(
            self,
            ordering,
            |atomic, ordering| atomic.load(ordering),
            |value| *value
        ))
    }

    /// `store` of the library.
    #[track_caller]
    pub fn store(&self, new: T, ordering: Ordering) {
        operation!(
            self,
            ordering,
            |atomic, ordering| atomic.store(new.to_word(), ordering),
            |value| *value = new.to_word()
        )
    }

    /// `swap` of the library.
    #[track_caller]
    pub fn swap(&self, new: T, ordering: Ordering) -> T {
        T::from_word(operation!(
            self,
            ordering,
            |atomic, ordering| atomic.swap(new.to_word(), ordering),
            |value| std::mem::replace(value, new.to_word())
        ))
    }

    /// `compare_exchange` of the library.
    #[track_caller]
    pub fn compare_exchange(
        &self,
        old: T,
        new: T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<T, T> {
        let (old, new) = (old.to_word(), new.to_word());
        operation!(
            self,
            success,
            |atomic, success| atomic.compare_exchange(old, new, success, failure),
            |value| if *value == old {
                Ok(std::mem::replace(value, new))
            } else {
                let _ = failure;
                Err(*value)
            }
        )
        .map(T::from_word)
        .map_err(T::from_word)
    }

    /// `fetch_add` of the library.
    #[track_caller]
    pub fn fetch_add(&self, more: T, ordering: Ordering) -> T {
        let more = more.to_word();
        T::from_word(operation!(
            self,
            ordering,
            |atomic, ordering| atomic.fetch_add(more, ordering),
            |value| std::mem::replace(value, value.wrapping_add(more))
        ))
    }

    /// `fetch_sub` of the library.
    #[track_caller]
    pub fn fetch_sub(&self, less: T, ordering: Ordering) -> T {
        let less = less.to_word();
        T::from_word(operation!(
            self,
            ordering,
            |atomic, ordering| atomic.fetch_sub(less, ordering),
            |value| std::mem::replace(value, value.wrapping_sub(less))
        ))
    }

    /// `xchg` of the kernel's atomics.
    #[track_caller]
    pub fn xchg(&self, new: T, ordering: Ordering) -> T {
        self.swap(new, ordering)
    }

    /// `cmpxchg` of the kernel's atomics.
    #[track_caller]
    pub fn cmpxchg(&self, old: T, new: T, ordering: Ordering) -> Result<T, T> {
        self.compare_exchange(old, new, ordering, Ordering::Relaxed)
    }

    /// `add` of the kernel's atomics.
    #[track_caller]
    pub fn add(&self, more: T, ordering: Ordering) {
        self.fetch_add(more, ordering);
    }

    /// Returns the variable for volatile accesses.
    pub fn as_ptr(&self) -> Pointer<'_, T> {
        Pointer(self)
    }
}

/// The result of [`Atomic::as_ptr`].
pub struct Pointer<'a, T>(&'a Atomic<T>);

impl<T: Word> Pointer<'_, T> {
    /// Reads the value. The addresses of other loads may depend on it, and those loads come later;
    /// for that, the model acquires.
    ///
    /// # Safety
    ///
    /// None; the method of pointers is unsafe.
    #[track_caller]
    pub unsafe fn read_volatile(self) -> T {
        self.0.load(Ordering::Acquire)
    }

    /// Writes the value, without any ordering.
    ///
    /// # Safety
    ///
    /// None; the method of pointers is unsafe.
    #[track_caller]
    pub unsafe fn write_volatile(self, new: T) {
        self.0.store(new, Ordering::Relaxed);
    }
}

/// A full barrier.
pub fn fence(ordering: Ordering) {
    #[cfg(feature = "loom")]
    loom::sync::atomic::fence(ordering);
    #[cfg(not(feature = "loom"))]
    let _ = ordering;
}

/// `AtomicFlag` of the kernel.
pub type AtomicFlag = Atomic<bool>;
/// `core::sync::atomic::AtomicBool`.
pub type AtomicBool = Atomic<bool>;
/// `core::sync::atomic::AtomicU32`.
pub type AtomicU32 = Atomic<u32>;
/// `core::sync::atomic::AtomicU64`.
pub type AtomicU64 = Atomic<u64>;
/// `core::sync::atomic::AtomicUsize`.
pub type AtomicUsize = Atomic<usize>;
/// `core::sync::atomic::AtomicPtr`.
pub type AtomicPtr<T> = Atomic<*mut T>;
