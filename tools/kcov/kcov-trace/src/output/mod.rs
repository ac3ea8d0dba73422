// SPDX-License-Identifier: GPL-2.0
//! The formats of output.

pub mod changes;
pub mod comparisons;
mod file;
pub mod functions;
pub mod html;
pub mod json;
pub mod lcov;
pub mod listing;
pub mod patch;
pub mod trace;
pub mod tree;

pub use file::{Target, broken_pipe};
