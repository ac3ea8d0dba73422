// SPDX-License-Identifier: GPL-2.0

//! The sources of KCOV in Rust, compiled as an ordinary program, and their tests.
//!
//! README.md describes them.

#![feature(arbitrary_self_types)]
// The tests do not use all of the sources, and newer versions of Rust's prelude have items of the
// kernel's prelude too.
#![allow(dead_code, unused_imports)]

// The sources use the name `core`.
extern crate seam as core;

/// The size that the sources see. The true size is larger: an atomic of a model has more data.
macro_rules! assert {
    (size_of::<Layout>() <= $size:literal) => {
        ()
    };
    ($($condition:tt)*) => {
        ::std::assert!($($condition)*)
    };
}

include!(concat!(env!("OUT_DIR"), "/sources.rs"));

mod arch;
mod gate;
mod offsets;
mod statistics;
#[cfg(test)]
mod tests;
