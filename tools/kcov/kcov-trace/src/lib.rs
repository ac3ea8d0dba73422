// SPDX-License-Identifier: GPL-2.0
//! What the command `kcov-trace` is made of.
//!
//! | module | subject |
//! | --- | --- |
//! | [`tracer`] | runs a command and collects the coverage of all its tasks |
//! | [`recording`] | what was collected, in memory and in files |
//! | [`symbols`] | `vmlinux` and modules: call sites, functions, lines |
//! | [`images`] | which place of which file a recorded PC is |
//! | [`signals`] | what signals do to this program |
//! | [`sources`] | names of source files |
//! | [`symbolised`] | functions and lines of a recording's PCs |
//! | [`coverage`] | coverage by file, line and function |
//! | [`output`] | the forms in which all this is given out |
//! | [`cli`], [`commands`] | the command line and what it does |

pub mod cli;
pub mod commands;
pub mod coverage;
pub mod images;
pub mod output;
pub mod progress;
pub mod recording;
pub mod signals;
pub mod sources;
pub mod symbolised;
pub mod symbols;
pub mod tracer;
