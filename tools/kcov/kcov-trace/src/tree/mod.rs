// SPDX-License-Identifier: GPL-2.0
//! The calls that a task made, inferred from the order of its PCs.
//!
//! A compiler instruments the first block of a function, and nothing jumps back to that block. So
//! each PC of it is one call of the function. Any other PC of a function means that control is in a
//! call that has begun before, or that records are missing. Who made a call is inferred: of the calls
//! that have not ended, the last one whose function has a call instruction that leads there.
//!
//! A kernel whose compiler records entries and exits needs no inference: [`Builder`] takes calls and
//! returns from any source.

mod build;
mod graph;
mod infer;

pub use build::{Builder, Link, Node, Tree};
pub use graph::{Function, Graph};
pub use infer::{trees, unordered};
