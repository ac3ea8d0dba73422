// SPDX-License-Identifier: GPL-2.0
//! Maps addresses to functions and lines: the kernel's image, its modules, and their DWARF data.

mod image;
mod relocate;
mod resolve;
mod sites;

pub use image::{Architecture, Image, ImageFile, Symbol};
pub use resolve::{Frame, Line, Lines, Names, Stacks, demangled, lines, stacks};
pub use sites::{Hook, Site, SiteKind, call_before, sites};
