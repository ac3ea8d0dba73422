// SPDX-License-Identifier: GPL-2.0

//! The sources of KCOV in Rust, compiled as an ordinary program, and their tests.
//!
//! README.md describes them.

#![feature(arbitrary_self_types)]
// The tests do not use all of the sources, and the kernel's prelude has what Rust's has since.
#![allow(dead_code, unused_imports)]

// The sources say `core`.
extern crate seam as core;

/// An atomic of a model is larger than the kernel's, so its sources do not find their size here.
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
