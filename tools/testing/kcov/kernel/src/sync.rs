// SPDX-License-Identifier: GPL-2.0

//! Synchronisation.

mod arc;
mod lock;
pub mod rcu;

pub use arc::{Arc, ArcBorrow};
pub use lock::{GlobalLock, Lock, Mutex, SpinLockIrq};

include!(concat!(env!("OUT_DIR"), "/sources.rs"));

pub mod atomic {
    pub use core::sync::atomic::{Atomic, AtomicFlag, Ordering::Relaxed};

    pub mod ordering {
        pub use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    }
}

pub mod aref {
    /// A reference to something that is never freed.
    pub struct ARef<T>(std::ptr::NonNull<T>);

    impl<T> From<&T> for ARef<T> {
        fn from(value: &T) -> Self {
            Self(value.into())
        }
    }

    impl<T> std::ops::Deref for ARef<T> {
        type Target = T;

        fn deref(&self) -> &T {
            // SAFETY: The value came from a reference, and stays.
            unsafe { self.0.as_ref() }
        }
    }
}

pub mod barrier {
    pub struct Write;

    /// Does nothing: it orders volatile accesses, which models do not see.
    pub fn smp_mb(_kind: Write) {}
}

/// A value that is set once in the life of the program.
pub struct SetOnce<T>(std::sync::OnceLock<T>);

impl<T> SetOnce<T> {
    pub const fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    pub fn populate(&self, value: T) -> bool {
        self.0.set(value).is_ok()
    }

    pub fn as_ref(&self) -> Option<&T> {
        self.0.get()
    }
}

impl<T> Default for SetOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}

pub use crate::global_lock;

#[macro_export]
macro_rules! global_lock {
    (unsafe(uninit) static $name:ident: Mutex<$type:ty> = $value:expr;) => {
        static $name: $crate::sync::GlobalLock<$type> = $crate::sync::GlobalLock::new($value);
    };
}
