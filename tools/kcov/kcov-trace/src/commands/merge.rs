// SPDX-License-Identifier: GPL-2.0
//! Merges recordings.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::import::files;
use super::render::check_output;
use crate::cli::MergeArgs;
use crate::output::Target;
use crate::recording::{self, Recording, Records, Task};

pub(super) fn merge(args: &MergeArgs) -> Result<i32> {
    check_output(Some(&args.output))?;
    let mut recording = read_all(&args.recordings)?;
    if args.unique {
        keep_once(&mut recording);
    }
    Target::new(Some(&args.output)).write(|out| Ok(recording::write(&recording, out)?))?;
    Ok(0)
}

/// Reads several recordings into one. Of a folder, all files are read.
pub(super) fn read_all(named: &[PathBuf]) -> Result<Recording> {
    let mut all: Option<Recording> = None;
    let paths = files(named, "recordings")?;
    for path in &paths {
        let mut next = recording::read(path)?;
        let name = path
            .file_stem()
            .map_or_else(String::new, |name| name.to_string_lossy().into());
        for task in next.tasks.iter_mut().filter(|task| task.test.is_empty()) {
            task.test.clone_from(&name);
        }
        let Some(all) = &mut all else {
            all = Some(next);
            continue;
        };
        if all.kernel.build_id != next.kernel.build_id {
            bail!(
                "{} was recorded on another kernel ({}) than {} ({}); only recordings of one build go together",
                path.display(),
                next.kernel.release,
                paths[0].display(),
                all.kernel.release
            );
        }
        let modules = !all.kernel.modules.is_empty() || !next.kernel.modules.is_empty();
        let moved = modules && next.move_to(&mut all.kernel);
        if modules && !moved && all.kernel.text != next.kernel.text {
            bail!(
                "{} was recorded after another boot than {}, modules had other addresses then, and the offsets of the address spaces are not known; record as root, on a kernel with CONFIG_PROC_KCORE and CONFIG_VMCORE_INFO, or make a report of each",
                path.display(),
                paths[0].display()
            );
        }
        if all.command != next.command {
            all.command.clear();
        }
        if !moved {
            all.kernel.add_modules_of(next.kernel);
        }
        all.add_names_of(next.names);
        all.tasks.extend(next.tasks);
    }
    Ok(all.unwrap_or_default())
}

/// Reduces the recording to its distinct records.
pub(super) fn keep_once(recording: &mut Recording) {
    let mut pcs = BTreeSet::new();
    let mut comparisons = BTreeSet::new();
    let mut edges = BTreeSet::new();
    for task in &recording.tasks {
        match &task.records {
            Records::Pcs(all) => pcs.extend(all.iter().copied()),
            Records::Comparisons(all) => comparisons.extend(all.iter().copied()),
            Records::Edges(all) => edges.extend(all.iter().copied()),
        }
    }
    let overflowed = recording.tasks.iter().any(|task| task.overflowed);
    let task = |records: Records| Task {
        name: "all tasks".into(),
        overflowed,
        unique: true,
        records,
        ..Task::default()
    };
    let kinds = [
        Records::Pcs(pcs.into_iter().collect()),
        Records::Comparisons(comparisons.into_iter().collect()),
        Records::Edges(edges.into_iter().collect()),
    ];
    recording.tasks = kinds
        .into_iter()
        .filter(|records| !records.is_empty())
        .map(task)
        .collect();
}
