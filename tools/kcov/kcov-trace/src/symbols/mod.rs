// SPDX-License-Identifier: GPL-2.0
//! Maps addresses to functions and lines: the kernel's image, its modules, and their DWARF data.

mod decode;
mod file;
mod flow;
mod image;
mod refusal;
mod relocate;
mod resolve;
mod rows;
mod sites;
mod split;
mod veneers;

pub use decode::{Instruction, Relocated, Step, Target, instructions};
pub use file::ImageFile;
pub use flow::{BlockState, Flow};
pub use image::{Architecture, Image, Symbol};
pub use resolve::{Frame, Line, Lines, Names, Stacks, demangled, lines, stacks};
pub use rows::{Row, Rows, rows};
pub use sites::{Hook, NoSites, Site, SiteKind, jumps_after_call, sites};
