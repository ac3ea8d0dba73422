// SPDX-License-Identifier: GPL-2.0
//! The functions and lines of the PCs in a recording.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;

use crate::calls::is_entry;
use crate::images::{Images, module_name};
use crate::progress::Progress;
use crate::recording::Recording;
use crate::sources::Sources;
use crate::symbols::{Frame, Hook, Image, Stacks, demangled, sites, stacks};

/// A level of inlining, with its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedFrame<'a> {
    /// The function; empty if it is not known.
    pub function: &'a str,
    /// The file as it is displayed; empty if it is not known.
    pub file: &'a str,
    /// The line; 0 if it is not known.
    pub line: u32,
}

/// The look-up results for all PCs of a recording.
#[derive(Debug, Default)]
pub struct Symbolised {
    /// The image of a PC, and the index of its stack in that image.
    index: HashMap<u64, (usize, usize)>,
    images: Vec<ImageStacks>,
    /// The functions that system calls begin with, by the PCs of their first blocks.
    entered: HashMap<u64, String>,
}

#[derive(Debug)]
struct ImageStacks {
    stacks: Stacks,
    /// Displayed names of files; not used for functions.
    shown: Vec<String>,
    module: Option<String>,
}

impl Symbolised {
    /// Looks up all PCs, including those of comparisons, and those before the PCs of edges.
    ///
    /// # Errors
    ///
    /// The debug information is damaged.
    pub fn new(images: &Images<'_>, recording: &Recording, sources: &Sources) -> Result<Self> {
        let places = places(images, recording);
        let progress = Progress::new("Symbolising", places.iter().map(Vec::len).sum());
        let mut all = Self::default();
        for (number, (image, mut found)) in images.list.iter().zip(places).enumerate() {
            found.sort_unstable();
            all.entered.extend(entered(image, &found));
            let addresses: Vec<u64> = found.iter().map(|(address, _)| *address).collect();
            let stacks = stacks(image, &addresses, &progress)?;
            all.index
                .extend(found.iter().enumerate().map(|(i, (_, pc))| (*pc, (number, i))));
            all.images.push(ImageStacks {
                shown: stacks
                    .names
                    .all()
                    .iter()
                    .map(|name| sources.shown(name))
                    .collect(),
                stacks,
                module: match number {
                    0 => None,
                    _ => module_name(image.path()).map(str::to_owned),
                },
            });
        }
        Ok(all)
    }

    /// Looks up only the functions that system calls begin with.
    #[must_use]
    pub fn of_entries(images: &Images<'_>, recording: &Recording) -> Self {
        let mut all = Self::default();
        for (image, mut found) in images.list.iter().zip(places(images, recording)) {
            found.sort_unstable();
            all.entered.extend(entered(image, &found));
        }
        all
    }

    /// Returns the function that a system call begins with, if the PC is that of its first block.
    #[must_use]
    pub fn entered(&self, pc: u64) -> Option<&str> {
        self.entered.get(&pc).map(String::as_str)
    }

    /// Takes the names that the recording has, without lines and inlining; `None` if it has none.
    #[must_use]
    pub fn of_names(recording: &Recording) -> Option<Self> {
        if recording.names.is_empty() {
            return None;
        }
        let mut all = Self::default();
        let mut modules: HashMap<&str, usize> = HashMap::new();
        let distinct: BTreeSet<u64> = recording.all_pcs().collect();
        for pc in distinct {
            let after = recording.names.partition_point(|name| name.address < pc);
            let Some(name) = after.checked_sub(1).and_then(|at| recording.names.get(at)) else {
                continue;
            };
            let number = *modules.entry(&name.module).or_insert_with(|| {
                all.images.push(ImageStacks {
                    stacks: Stacks::default(),
                    shown: vec![String::new()],
                    module: Some(name.module.clone()).filter(|module| !module.is_empty()),
                });
                all.images.len() - 1
            });
            let stacks = &mut all.images[number].stacks;
            let function = stacks.names.intern(&demangled(&name.name));
            all.index.insert(pc, (number, stacks.stacks.len()));
            stacks.stacks.push(Box::new([Frame {
                function,
                ..Frame::default()
            }]));
        }
        Some(all)
    }

    /// Returns the frames of a PC, innermost first; none if the PC is in none of the files.
    pub fn frames(&self, pc: u64) -> impl Iterator<Item = NamedFrame<'_>> {
        let found = self
            .index
            .get(&pc)
            .map(|(image, stack)| (&self.images[*image], *stack));
        found.into_iter().flat_map(|(image, stack)| {
            image.stacks.stacks[stack].iter().map(|frame| NamedFrame {
                function: image.stacks.names.get(frame.function),
                file: &image.shown[frame.at.file as usize],
                line: frame.at.line,
            })
        })
    }

    /// Returns the module of a PC; `None` if the PC is not in a module.
    #[must_use]
    pub fn module(&self, pc: u64) -> Option<&str> {
        let (image, _) = self.index.get(&pc)?;
        self.images[*image].module.as_deref()
    }
}

/// Returns the addresses in each image and the PCs, each once.
fn places(images: &Images<'_>, recording: &Recording) -> Vec<Vec<(u64, u64)>> {
    let distinct: BTreeSet<u64> = recording.all_pcs().collect();
    let mut places: Vec<Vec<(u64, u64)>> = vec![Vec::new(); images.list.len()];
    for pc in distinct {
        if let Some(place) = images.place(pc) {
            places[place.image].push((place.pc, pc));
        }
    }
    places
}

/// Returns the PCs that are first blocks of functions that system calls begin with, given the places
/// in the image and the PCs.
fn entered(image: &Image<'_>, found: &[(u64, u64)]) -> Vec<(u64, String)> {
    let named = found.iter().filter_map(|(address, pc)| {
        let symbol = image.function(address - 1)?;
        is_entry(symbol.name).then_some((*address, *pc, symbol))
    });
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        return Vec::new();
    }
    let sites: Vec<u64> = sites(image, Hook::Pc)
        .map_or_else(|_| Vec::new(), |sites| sites.iter().map(|site| site.pc).collect());
    let is_first =
        |address: u64, start: u64| sites.get(sites.partition_point(|pc| *pc <= start)) == Some(&address);
    named
        .into_iter()
        .filter(|(address, _, symbol)| is_first(*address, symbol.address))
        .map(|(_, pc, symbol)| (pc, symbol.name.to_owned()))
        .collect()
}
