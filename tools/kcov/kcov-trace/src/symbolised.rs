// SPDX-License-Identifier: GPL-2.0
//! The functions and lines of the PCs in a recording.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;

use crate::images::{Images, module_name};
use crate::progress::Progress;
use crate::recording::Recording;
use crate::sources::Sources;
use crate::symbols::{Frame, Stacks, demangled, stacks};

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
}

#[derive(Debug)]
struct ImageStacks {
    stacks: Stacks,
    /// Displayed names of files; not used for functions.
    shown: Vec<String>,
    module: Option<String>,
}

impl Symbolised {
    /// Looks up all PCs, including those of comparisons.
    ///
    /// # Errors
    ///
    /// The debug information is damaged.
    pub fn new(images: &Images<'_>, recording: &Recording, sources: &Sources) -> Result<Self> {
        let distinct: BTreeSet<u64> = recording
            .pcs()
            .chain(recording.comparisons().map(|comparison| comparison.pc))
            .collect();
        let mut places: Vec<Vec<(u64, u64)>> = vec![Vec::new(); images.list.len()];
        for pc in distinct {
            if let Some(place) = images.place(pc) {
                places[place.image].push((place.pc, pc));
            }
        }
        let progress = Progress::new("Symbolising", places.iter().map(Vec::len).sum());
        let mut all = Self::default();
        for (number, (image, mut found)) in images.list.iter().zip(places).enumerate() {
            found.sort_unstable();
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

    /// Takes the names that the recording has, without lines and inlining; `None` if it has none.
    #[must_use]
    pub fn of_names(recording: &Recording) -> Option<Self> {
        if recording.names.is_empty() {
            return None;
        }
        let mut all = Self::default();
        let mut modules: HashMap<&str, usize> = HashMap::new();
        let comparisons = recording.comparisons().map(|comparison| comparison.pc);
        let distinct: BTreeSet<u64> = recording.pcs().chain(comparisons).collect();
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
