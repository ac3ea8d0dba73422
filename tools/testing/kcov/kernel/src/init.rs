// SPDX-License-Identifier: GPL-2.0

//! Values that the kernel initialises in place. Here they are created and moved to the heap once.

pub trait PinInit<T> {
    fn make(self) -> T;
}

impl<T, F: FnOnce() -> T> PinInit<T> for F {
    fn make(self) -> T {
        self()
    }
}

#[macro_export]
macro_rules! pin_init {
    (Self { $($fields:tt)* }) => {
        move || $crate::pin_init!(@ [] $($fields)*)
    };
    (@ [$($done:tt)*] $field:ident <- $init:expr, $($rest:tt)*) => {
        $crate::pin_init!(@ [$($done)* $field: $crate::init::PinInit::make($init),] $($rest)*)
    };
    (@ [$($done:tt)*] $field:ident: $value:expr, $($rest:tt)*) => {
        $crate::pin_init!(@ [$($done)* $field: $value,] $($rest)*)
    };
    (@ [$($done:tt)*] $field:ident, $($rest:tt)*) => {
        $crate::pin_init!(@ [$($done)* $field,] $($rest)*)
    };
    (@ [$($done:tt)*]) => {
        Self { $($done)* }
    };
}
