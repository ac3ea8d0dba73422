// SPDX-License-Identifier: GPL-2.0
//! The parts of the command `kcov-trace`.
//!
//! | module | subject |
//! | --- | --- |
//! | [`tracer`] | runs a command and collects the coverage of all its tasks |
//! | [`recording`] | collected records, in memory and in files |
//! | [`symbols`] | `vmlinux` and modules: call sites, functions, lines |
//! | [`images`] | the place of a recorded PC in a file |
//! | [`matching`] | recorded PCs and call sites; why some PCs match none |
//! | [`search`] | the usual places of `vmlinux` |
//! | [`signals`] | the reaction of this program to signals |
//! | [`sources`] | names of source files |
//! | [`symbolised`] | functions and lines of a recording's PCs |
//! | [`runs`] | the tests and tasks that ran a block |
//! | [`calls`] | system calls, recorded or inferred |
//! | [`tree`] | calls of functions, inferred from the order of PCs |
//! | [`coverage`] | coverage by file, line and function |
//! | [`selection`], [`maintainers`] | the code that a user wants to see |
//! | [`patch`] | coverage of the lines that a patch changes |
//! | [`output`] | the formats of output |
//! | [`cli`], [`commands`] | the command line and the subcommands |

pub mod calls;
pub mod cli;
pub mod commands;
pub mod coverage;
pub mod images;
pub mod maintainers;
pub mod matching;
pub mod output;
pub mod patch;
pub mod progress;
pub mod recording;
pub mod runs;
pub mod search;
pub mod selection;
pub mod signals;
pub mod sources;
pub mod symbolised;
pub mod symbols;
pub mod tracer;
pub mod tree;
