// SPDX-License-Identifier: GPL-2.0
//! Maps addresses to functions and lines: the kernel's image, its modules, and their DWARF data.

mod file;
mod image;
mod refusal;
mod relocate;
mod resolve;
mod sites;
mod split;
mod veneers;

pub use file::ImageFile;
pub use image::{Architecture, Image, Symbol};
pub use resolve::{Frame, Line, Lines, Names, Stacks, demangled, lines, stacks};
pub use sites::{Hook, NoSites, Site, SiteKind, jumps_after_call, sites};
