// SPDX-License-Identifier: GPL-2.0
//! What one recording covers and another does not.

use std::collections::HashSet;
use std::hash::Hash;

use anyhow::{Result, bail};

use super::merge::keep_once;
use super::render::{check_output, render, with_images};
use crate::cli::DiffArgs;
use crate::recording::{self, Recording, Records};

pub(super) fn diff(args: &DiffArgs) -> Result<i32> {
    check_output(args.output.output.as_deref())?;
    let (a, mut b) = (recording::read(&args.a)?, recording::read(&args.b)?);
    if a.kernel.build_id != b.kernel.build_id {
        bail!(
            "{} ({}) and {} ({}) were recorded on different kernels; only recordings of one build can be compared",
            args.a.display(),
            a.kernel.release,
            args.b.display(),
            b.kernel.release
        );
    }
    if let Some(reason) = differ_in_kind(&a, &b) {
        bail!(
            "{} holds {} and {} {}; only recordings of the same kind can be compared",
            args.a.display(),
            reason.0,
            args.b.display(),
            reason.1
        );
    }
    keep_once(&mut b);
    // Modules are elsewhere after each boot; their places in the files are the same.
    if args.symbols.vmlinux.is_some() && !(a.kernel.modules.is_empty() && b.kernel.modules.is_empty()) {
        let symbols = &args.symbols;
        let in_a: HashSet<_> = with_images(&a, symbols, |images| {
            Ok(covered(&a, |pc| {
                images.and_then(|(images, _)| images.name_of_place(pc))
            }))
        })?;
        let mut new = b.clone();
        with_images(&b, symbols, |images| {
            subtract(&mut new, &in_a, |pc| {
                images.and_then(|(images, _)| images.name_of_place(pc))
            });
            Ok(())
        })?;
        b = new;
    } else {
        subtract(&mut b, &covered(&a, Some), Some);
    }
    for task in &mut b.tasks {
        task.name = format!("only in {}", args.b.display());
    }
    render(&b, &args.output, &args.symbols)?;
    Ok(0)
}

/// What each of two recordings holds, if the one holds nothing but PCs and the other nothing but comparisons.
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

/// The places that a recording covers. A PC that has none counts for nothing.
fn covered<K: Eq + Hash>(recording: &Recording, place: impl Fn(u64) -> Option<K>) -> HashSet<K> {
    let comparisons = recording.comparisons().map(|comparison| comparison.pc);
    recording.pcs().chain(comparisons).filter_map(place).collect()
}

fn subtract<K: Eq + Hash>(recording: &mut Recording, known: &HashSet<K>, place: impl Fn(u64) -> Option<K>) {
    let is_new = |pc: u64| place(pc).is_none_or(|place| !known.contains(&place));
    for task in &mut recording.tasks {
        match &mut task.records {
            Records::Pcs(pcs) => pcs.retain(|pc| is_new(*pc)),
            Records::Comparisons(comparisons) => comparisons.retain(|comparison| is_new(comparison.pc)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Task;

    fn recording(pcs: &[u64]) -> Recording {
        let task = Task {
            tid: 1,
            parent: 0,
            name: String::new(),
            overflowed: false,
            problem: None,
            records: Records::Pcs(pcs.to_vec()),
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
    fn moved_code_is_known_by_its_place() {
        let (a, mut b) = (recording(&[0x1005]), recording(&[0x2005, 0x2009]));
        subtract(&mut b, &covered(&a, |pc| Some(pc - 0x1000)), |pc| {
            Some(pc - 0x2000)
        });
        assert_eq!(b.pcs().collect::<Vec<_>>(), [0x2009]);
    }
}
