// SPDX-License-Identifier: GPL-2.0
//! Reduces a recording to what the user wants to see.

use std::borrow::Cow;
use std::path::Path;

use anyhow::{Result, bail};

use crate::calls::segments;
use crate::cli::SymbolArgs;
use crate::images::Images;
use crate::maintainers::Maintainers;
use crate::recording::{Recording, Records, Task};
use crate::selection::{Selection, glob};
use crate::sources::Sources;
use crate::symbolised::Symbolised;
use crate::tree::{Graph, unordered};

/// Reads the patterns of the arguments.
pub(super) fn selection(args: &SymbolArgs, sources: &Sources) -> Result<Selection> {
    let path = sources.path("MAINTAINERS");
    Selection::new(&args.only, &args.skip, || Maintainers::read(&path))
}

/// Returns an error if the arguments reduce the recording.
pub(super) fn refuse(args: &SymbolArgs, why: &str) -> Result<()> {
    let given = [("--only", args.only.is_empty()), ("--skip", args.skip.is_empty())];
    let syscall = ("--syscall", args.syscall.is_empty());
    match given.into_iter().chain([syscall]).find(|(_, empty)| !empty) {
        Some((name, _)) => bail!("{name} cannot be used here: {why}"),
        None => Ok(()),
    }
}

/// Returns the records that are selected.
pub(super) fn selected<'r>(
    recording: &'r Recording,
    symbols: &Symbolised,
    selection: &Selection,
) -> Cow<'r, Recording> {
    if selection.is_everything() {
        return Cow::Borrowed(recording);
    }
    let mut recording = recording.clone();
    for task in &mut recording.tasks {
        task.retain(|_, pc| {
            let frames: Vec<(&str, &str)> = symbols
                .frames(pc)
                .map(|frame| (frame.function, frame.file))
                .collect();
            selection.keeps(frames.into_iter())
        });
    }
    Cow::Owned(recording)
}

/// Returns the records of the system calls with the names.
pub(super) fn of_system_calls<'r>(
    recording: &'r Recording,
    images: Option<&Images<'_>>,
    names: &[String],
) -> Result<Cow<'r, Recording>> {
    if names.is_empty() {
        return Ok(Cow::Borrowed(recording));
    }
    let mut graph = images.map(Graph::new);
    let mut recording = recording.clone();
    for task in &mut recording.tasks {
        if let Some(reason) = unordered(task).filter(|_| task.calls.is_empty() && !task.records.is_empty()) {
            bail!(
                "--syscall needs records in order, and '{}' {reason}; record with --each-syscall",
                task.name
            );
        }
        if graph.is_none() && task.calls.is_empty() {
            bail!(
                "--syscall needs vmlinux to infer system calls; name it with --vmlinux, or record with --each-syscall"
            );
        }
        let keep = wanted(task, graph.as_mut(), names);
        task.retain(|number, _| keep[number]);
        task.calls
            .retain(|call| is_named(&crate::calls::name(call), names));
    }
    Ok(Cow::Owned(recording))
}

fn is_named(name: &str, names: &[String]) -> bool {
    names.iter().any(|wanted| glob(wanted, name, true))
}

fn wanted(task: &Task, graph: Option<&mut Graph<'_, '_>>, names: &[String]) -> Vec<bool> {
    let mut keep = vec![false; task.records.len()];
    let mut graph = graph;
    let found = segments(task, |number| {
        let (Records::Pcs(pcs), Some(graph)) = (&task.records, &mut graph) else {
            return None;
        };
        let (function, entry) = graph.at(pcs[number])?;
        entry.then(|| graph.function(function).symbol.clone())
    });
    for segment in found {
        if segment.name.is_some_and(|name| is_named(&name, names)) {
            keep[segment.records].fill(true);
        }
    }
    keep
}

/// Returns the file MAINTAINERS of the sources, for the groups of the page.
pub(super) fn maintainers(sources: &Sources, wanted: bool) -> Result<Option<Maintainers>> {
    let path = sources.path("MAINTAINERS");
    wanted.then(|| Maintainers::read(Path::new(&path))).transpose()
}
