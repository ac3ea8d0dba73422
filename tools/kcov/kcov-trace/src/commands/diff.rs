// SPDX-License-Identifier: GPL-2.0
//! Coverage that one recording has and another does not.

use std::collections::HashSet;
use std::hash::Hash;

use anyhow::{Result, bail};

use super::merge::{keep_once, read_all};
use super::render::{Outcome, check_output, render, warn, with_images, with_symbols};
use crate::cli::{DiffArgs, Format, SymbolArgs};
use crate::images::Images;
use crate::output::{Target, changes};
use crate::recording::{Kernel, Module, Recording};

pub(super) fn diff(args: &DiffArgs) -> Result<i32> {
    check_output(args.output.output.as_deref())?;
    let a = read_all(std::slice::from_ref(&args.a))?;
    let b = read_all(std::slice::from_ref(&args.b))?;
    refuse(args, &a, &b)?;
    if args.output.format == Some(Format::Changes) {
        return changes(args, &a, &b);
    }
    let mut new = only_in(&b, &a, &args.symbols)?;
    for task in &mut new.tasks {
        task.name = format!("only in {}", args.b.display());
    }
    Ok(render(&new, &args.output, &args.symbols)?.status())
}

/// Writes the code that became covered and the code that became uncovered.
fn changes(args: &DiffArgs, a: &Recording, b: &Recording) -> Result<i32> {
    let parts = [
        ("became covered", only_in(b, a, &args.symbols)?),
        ("became uncovered", only_in(a, b, &args.symbols)?),
    ];
    let mut outcome = Outcome::Whole;
    let mut text = Vec::new();
    for (title, part) in &parts {
        outcome = outcome.or(with_symbols(part, &args.symbols, |part, symbols| {
            changes::write(title, part, symbols, &mut text)
        })?);
    }
    Target::new(args.output.output.as_deref()).write(|out| Ok(out.write_all(&text)?))?;
    Ok(outcome.status())
}

/// Returns an error if the recordings cannot be compared.
fn refuse(args: &DiffArgs, a: &Recording, b: &Recording) -> Result<()> {
    if a.kernel.build_id != b.kernel.build_id {
        bail!(
            "{} ({}) and {} ({}) were recorded on different kernels; only recordings of one build can be compared",
            args.a.display(),
            a.kernel.release,
            args.b.display(),
            b.kernel.release
        );
    }
    if let Some(reason) = differ_in_kind(a, b) {
        bail!(
            "{} holds {} and {} {}; only recordings of the same kind can be compared",
            args.a.display(),
            reason.0,
            args.b.display(),
            reason.1
        );
    }
    Ok(())
}

/// Returns the records of `b`, each once, whose code `a` has not run.
fn only_in(b: &Recording, a: &Recording, symbols: &SymbolArgs) -> Result<Recording> {
    let mut b = b.clone();
    keep_once(&mut b);
    let modules = !(a.kernel.modules.is_empty() && b.kernel.modules.is_empty());
    let moved = modules && moved(&a.kernel, &b.kernel);
    // Modules have different addresses in each boot, but their offsets in the files are the same.
    if symbols.vmlinux.is_none() || !modules {
        if moved {
            warn(
                "modules may have other addresses after another boot, and then appear as new: name the kernel's files with --vmlinux",
            );
        }
        subtract(&mut b, &covered(a, Some), Some);
        return Ok(b);
    }
    let place = |images: &Images<'_>, pc| {
        let place = images.name_of_place(pc);
        place.or_else(|| (!moved).then(|| (String::new(), pc)))
    };
    let in_a: HashSet<_> = with_images(a, symbols, |found| {
        Ok(found.map_or_else(HashSet::new, |found| {
            covered(found.recording, |pc| place(found.images, pc))
        }))
    })?;
    let mut new = b.clone();
    let unknown = with_images(&b, symbols, |found| {
        Ok(found.map_or(0, |found| {
            new = found.recording.clone();
            subtract(&mut new, &in_a, |pc| place(found.images, pc))
        }))
    })?;
    if unknown > 0 {
        warn(&format!(
            "{unknown} PCs are in none of the files and left out: after another boot, it is not known whether they are new"
        ));
    }
    Ok(new)
}

/// Returns whether code may have moved between the two recordings.
fn moved(a: &Kernel, b: &Kernel) -> bool {
    let base = |module: &Module| {
        let same = |other: &&Module| other.name == module.name;
        a.modules.iter().find(same).map(|other| other.base)
    };
    a.text != b.text
        || b.modules
            .iter()
            .any(|module| base(module).is_some_and(|base| base != module.base))
}

/// Returns the kind of records in each recording, if one has only PCs and the other only
/// comparisons.
fn differ_in_kind(a: &Recording, b: &Recording) -> Option<(&'static str, &'static str)> {
    let holds = |recording: &Recording| {
        (
            recording.pcs().next().is_some(),
            recording.comparisons().next().is_some(),
        )
    };
    match (holds(a), holds(b)) {
        ((true, false), (false, true)) => Some(("PCs", "comparisons")),
        ((false, true), (true, false)) => Some(("comparisons", "PCs")),
        _ => None,
    }
}

/// Returns the places that a recording covers. A PC without a place is ignored.
fn covered<K: Eq + Hash>(recording: &Recording, place: impl Fn(u64) -> Option<K>) -> HashSet<K> {
    let comparisons = recording.comparisons().map(|comparison| comparison.pc);
    recording.pcs().chain(comparisons).filter_map(place).collect()
}

/// Keeps the records whose places are not in `known`; returns the number of PCs that have no place
/// and are left out, too.
fn subtract<K: Eq + Hash>(
    recording: &mut Recording,
    known: &HashSet<K>,
    place: impl Fn(u64) -> Option<K>,
) -> usize {
    let mut unknown = HashSet::new();
    let mut is_new = |pc: u64| match place(pc) {
        Some(place) => !known.contains(&place),
        None => {
            unknown.insert(pc);
            false
        }
    };
    for task in &mut recording.tasks {
        task.retain(|_, pc| is_new(pc));
    }
    unknown.len()
}

#[cfg(test)]
mod tests {
    use kcov::Edge;

    use super::*;
    use crate::recording::{Records, Task};

    fn recording(pcs: &[u64]) -> Recording {
        let task = Task {
            tid: 1,
            records: Records::Pcs(pcs.to_vec()),
            ..Task::default()
        };
        Recording {
            tasks: vec![task],
            ..Recording::default()
        }
    }

    #[test]
    fn only_what_is_new_stays() {
        let (a, mut b) = (recording(&[1, 2, 2]), recording(&[2, 3, 3, 4]));
        keep_once(&mut b);
        subtract(&mut b, &covered(&a, Some), Some);
        assert_eq!(b.pcs().collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn edges_to_covered_code_are_not_new() {
        let edges = |all: &[(u64, u64)]| {
            let mut recording = recording(&[]);
            let edge = |(previous, pc): &(u64, u64)| Edge {
                previous: *previous,
                pc: *pc,
            };
            recording.tasks[0].records = Records::Edges(all.iter().map(edge).collect());
            recording
        };
        let mut b = edges(&[(0, 1), (1, 2), (2, 3), (1, 3), (3, 1)]);
        assert_eq!(differ_in_kind(&recording(&[1]), &b), None);
        keep_once(&mut b);
        subtract(&mut b, &covered(&recording(&[1, 2]), Some), Some);
        assert_eq!(b.tasks[0].records, edges(&[(1, 3), (2, 3)]).tasks[0].records);
        assert_eq!(b.pcs().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn moved_code_is_known_by_its_place() {
        let (a, mut b) = (recording(&[0x1005]), recording(&[0x2005, 0x2009]));
        subtract(&mut b, &covered(&a, |pc| Some(pc - 0x1000)), |pc| {
            Some(pc - 0x2000)
        });
        assert_eq!(b.pcs().collect::<Vec<_>>(), [0x2009]);
    }

    #[test]
    fn what_has_no_place_is_not_called_new() {
        let (a, mut b) = (recording(&[1]), recording(&[1, 2, 3]));
        let place = |pc: u64| (pc != 3).then_some(pc);
        assert_eq!(subtract(&mut b, &covered(&a, place), place), 1);
        assert_eq!(b.pcs().collect::<Vec<_>>(), [2]);
    }
}
