// SPDX-License-Identifier: GPL-2.0
//! Puts recordings of several boots of one kernel together.
//!
//! The kernel's own PCs are the same in each boot, because the kernel subtracts the offset of its
//! address space. Modules are at other addresses. Their PCs are rewritten to the addresses that the
//! modules had in the first boot, or would have had.

use super::{Kernel, Module, Recording};

const PAGE: u64 = 0x1000;

impl Recording {
    /// Rewrites the PCs in modules so that they fit `first`, to which modules that it lacks are added.
    /// Returns whether that was possible: both offsets must be known.
    pub fn move_to(&mut self, first: &mut Kernel) -> bool {
        let (Some(here), Some(there)) = (self.kernel.offset, first.offset) else {
            return false;
        };
        let moves: Vec<Move> = self
            .kernel
            .modules
            .iter()
            .flat_map(|module| moves(module, place_in(first, module)))
            .collect();
        let moved = |pc: &mut u64| {
            let address = pc.wrapping_add(here);
            let to = moves.iter().find_map(|one| one.apply(address));
            // The PCs of the kernel itself stay.
            if let Some(to) = to {
                *pc = to.wrapping_sub(there);
            }
        };
        for task in &mut self.tasks {
            task.records.change_pcs(moved);
        }
        for name in self.names.iter_mut().filter(|name| !name.module.is_empty()) {
            // The address of a function is that of its first byte, and a PC is after a byte.
            let mut pc = name.address + 1;
            moved(&mut pc);
            name.address = pc - 1;
        }
        true
    }
}

/// A range of addresses, and the place that it moves to.
#[derive(Clone, Copy, Debug)]
struct Move {
    start: u64,
    end: u64,
    to: u64,
}

impl Move {
    fn apply(self, address: u64) -> Option<u64> {
        // A return address may be the address just after the range.
        (self.start < address && address <= self.end).then(|| address - self.start + self.to)
    }
}

/// Returns the moves of a module's sections, or of the whole module if they are not known.
fn moves(module: &Module, to: Module) -> Vec<Move> {
    let mut starts: Vec<(u64, u64)> = module
        .sections
        .iter()
        .zip(&to.sections)
        .map(|((_, from), (_, to))| (*from, *to))
        .collect();
    if starts.is_empty() && module.base != 0 {
        starts.push((module.base, to.base));
    }
    starts.sort_unstable();
    let last = starts
        .last()
        .map_or(0, |(from, _)| from.saturating_add(module.size));
    // Each section ends before the next one; the size of the last one is not known.
    let ends = starts.iter().skip(1).map(|(from, _)| *from).chain([last]);
    starts
        .iter()
        .zip(ends)
        .map(|((start, to), end)| Move {
            start: *start,
            end,
            to: *to,
        })
        .collect()
}

/// Returns the module as it was loaded in the first boot. A module that was not loaded then gets free
/// addresses.
fn place_in(first: &mut Kernel, module: &Module) -> Module {
    let names =
        |module: &Module| -> Vec<String> { module.sections.iter().map(|(name, _)| name.clone()).collect() };
    let same = |other: &&Module| {
        other.name == module.name && other.build_id == module.build_id && names(other) == names(module)
    };
    if let Some(found) = first.modules.iter().find(same) {
        return found.clone();
    }
    // Sections may be far from the base, so the range is that of all of them.
    let range = |module: &Module| {
        let starts = || {
            module
                .sections
                .iter()
                .map(|(_, start)| *start)
                .chain([module.base])
        };
        let (low, high) = (starts().min().unwrap_or(0), starts().max().unwrap_or(0));
        (low, high.saturating_add(module.size))
    };
    let (low, high) = range(module);
    let overlaps = first
        .modules
        .iter()
        .map(range)
        .any(|(start, end)| start < high && low < end);
    let mut added = module.clone();
    if overlaps {
        let end = first
            .modules
            .iter()
            .map(|module| range(module).1)
            .max()
            .unwrap_or(0);
        let distance = end.next_multiple_of(PAGE).wrapping_sub(low & !(PAGE - 1));
        added.base = added.base.wrapping_add(distance);
        for (_, start) in &mut added.sections {
            *start = start.wrapping_add(distance);
        }
    }
    first.modules.push(added.clone());
    added
}

#[cfg(test)]
mod tests {
    use kcov::Edge;

    use super::super::{Records, Task};
    use super::*;

    fn module(name: &str, base: u64) -> Module {
        Module {
            name: name.into(),
            base,
            size: 0x2000,
            build_id: Vec::new(),
            sections: vec![(".init.text".into(), base + 0x5000), (".text".into(), base)],
        }
    }

    fn recording(offset: u64, modules: Vec<Module>, pcs: &[u64]) -> Recording {
        Recording {
            kernel: Kernel {
                offset: Some(offset),
                modules,
                ..Kernel::default()
            },
            tasks: vec![Task {
                tid: 1,
                records: Records::Pcs(pcs.to_vec()),
                ..Task::default()
            }],
            ..Recording::default()
        }
    }

    #[test]
    fn pcs_of_modules_fit_the_first_boot() {
        let mut first = recording(0x100, vec![module("a", 0x10_0000)], &[]).kernel;
        let pcs = [0x500, 0x30_0010 - 0x200, 0x30_5010 - 0x200];
        let mut later = recording(0x200, vec![module("a", 0x30_0000)], &pcs);
        assert!(later.move_to(&mut first));
        let wanted = [0x500, 0x10_0010 - 0x100, 0x10_5010 - 0x100];
        assert_eq!(later.pcs().collect::<Vec<_>>(), wanted);
        assert_eq!(first.modules.len(), 1);
    }

    #[test]
    fn both_pcs_of_an_edge_fit_the_first_boot() {
        let mut first = recording(0, vec![module("a", 0x10_0000)], &[]).kernel;
        let mut later = recording(0, vec![module("a", 0x30_0000)], &[]);
        let edge = |(previous, pc)| Edge { previous, pc };
        let edges = |all: [(u64, u64); 2]| Records::Edges(all.map(edge).to_vec());
        later.tasks[0].records = edges([(0, 0x30_0010), (0x30_0010, 0x500)]);
        assert!(later.move_to(&mut first));
        assert_eq!(
            later.tasks[0].records,
            edges([(0, 0x10_0010), (0x10_0010, 0x500)])
        );
    }

    #[test]
    fn new_module_gets_free_addresses() {
        let mut first = recording(0, vec![module("a", 0x10_0000)], &[]).kernel;
        let mut later = recording(0, vec![module("b", 0x10_1000)], &[0x10_1008]);
        assert!(later.move_to(&mut first));
        assert_eq!(first.modules[1].base, 0x10_7000);
        assert_eq!(later.pcs().collect::<Vec<_>>(), [0x10_7008]);
        // A rebuilt module is another one.
        let mut rebuilt = module("a", 0x10_0000);
        rebuilt.build_id = vec![1];
        let mut later = recording(0, vec![rebuilt], &[0x10_0008]);
        assert!(later.move_to(&mut first));
        assert_eq!(first.modules.len(), 3);
        assert_ne!(later.pcs().next(), Some(0x10_0008));
    }

    #[test]
    fn unknown_offset_is_told() {
        let mut first = recording(0, Vec::new(), &[]).kernel;
        let mut later = recording(0, Vec::new(), &[1]);
        later.kernel.offset = None;
        assert!(!later.move_to(&mut first));
    }
}
