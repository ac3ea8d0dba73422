// SPDX-License-Identifier: GPL-2.0
//! The calls of each task, as a tree and as folded stacks.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Result, bail};

use super::trace::heading;
use crate::calls::{Segment, segments};
use crate::images::Images;
use crate::progress::Progress;
use crate::recording::{Recording, Records, Task};
use crate::selection::Selection;
use crate::symbolised::Symbolised;
use crate::tree::{Graph, Link, Node, Tree, trees, unordered};

/// The functions that are shown; calls in others are shown in their callers.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'s> {
    /// The selection.
    pub selection: &'s Selection,
    /// The functions of the PCs, if the selection needs them.
    pub symbols: &'s Symbolised,
}

impl Chosen<'_> {
    /// Takes the calls of functions that are not shown out of a tree.
    fn reduce(self, tree: &Tree, pcs: &[u64]) -> Tree {
        let keeps = |node: &Node| {
            let frames: Vec<(&str, &str)> = self
                .symbols
                .frames(pcs[node.first])
                .map(|frame| (frame.function, frame.file))
                .collect();
            // The function itself, not what is inlined into its first block.
            self.selection.keeps(frames.last().into_iter().copied())
        };
        let mut reduced = Tree {
            broken: tree.broken,
            ..Tree::default()
        };
        let mut places: Vec<Option<u32>> = Vec::with_capacity(tree.nodes.len());
        for node in &tree.nodes {
            let parent = node.parent.and_then(|parent| places[parent as usize]);
            if keeps(node) {
                places.push(Some(reduced.nodes.len() as u32));
                reduced.nodes.push(Node {
                    parent,
                    ..node.clone()
                });
            } else {
                places.push(parent);
            }
        }
        reduced
    }
}

/// The trees of a system call.
type Part<'t> = (Segment<'t>, Vec<Tree>);

/// Writes the calls of every task, one on a line, with the number of records in each.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(
    images: &Images<'_>,
    recording: &Recording,
    chosen: Chosen<'_>,
    out: &mut dyn Write,
) -> Result<()> {
    writeln!(
        out,
        "# Calls are inferred from the order of PCs. A number is that of PCs in the function itself."
    )?;
    each(images, recording, chosen, |graph, task, parts| {
        writeln!(out, "# {}", heading(task))?;
        if task.overflowed && task.gaps.is_empty() {
            writeln!(out, "--- records are missing, it is not known where ---")?;
        }
        for (segment, trees) in parts {
            writeln!(out, "{}", segment.heading())?;
            for tree in trees {
                if tree.broken {
                    writeln!(out, "--- records are missing here ---")?;
                }
                write_tree(graph, &tree, out)?;
            }
        }
        Ok(())
    })
}

/// Writes the number of records of each chain of calls, for programs that draw flame graphs.
///
/// # Errors
///
/// As of [`write()`].
pub fn write_folded(
    images: &Images<'_>,
    recording: &Recording,
    chosen: Chosen<'_>,
    out: &mut dyn Write,
) -> Result<()> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    each(images, recording, chosen, |graph, task, parts| {
        for (segment, trees) in parts {
            let call = segment.name.unwrap_or_else(|| "(no system call)".into());
            let start = format!("{};{}", plain(&task.name), plain(&call));
            for tree in trees {
                fold(graph, &tree, &start, &mut counts);
            }
        }
        Ok(())
    })?;
    for (chain, count) in counts {
        writeln!(out, "{chain} {count}")?;
    }
    Ok(())
}

/// Returns an error if the order of some task's records is not known.
///
/// # Errors
///
/// The task, and the reason.
pub fn refuse_unordered(recording: &Recording) -> Result<()> {
    for task in recording.tasks.iter().filter(|task| !task.records.is_empty()) {
        if let Some(reason) = unordered(task) {
            bail!(
                "calls cannot be inferred, because '{}' {reason}; record without '--unique' and '--edges', and do not merge with '--unique'",
                task.name
            );
        }
    }
    Ok(())
}

/// Infers the calls of every task.
fn each<'t>(
    images: &Images<'_>,
    recording: &'t Recording,
    chosen: Chosen<'_>,
    mut work: impl FnMut(&Graph<'_, '_>, &'t Task, Vec<Part<'t>>) -> Result<()>,
) -> Result<()> {
    let mut graph = Graph::new(images);
    let progress = Progress::new("Inferring calls", recording.tasks.len());
    for task in &recording.tasks {
        let Records::Pcs(pcs) = &task.records else {
            continue;
        };
        let segments = segments(task, |number| {
            let (function, entry) = graph.at(pcs[number])?;
            entry.then(|| graph.function(function).symbol.clone())
        });
        let mut parts = Vec::new();
        for segment in segments {
            let range = segment.records.clone();
            let found = trees(&mut graph, &pcs[range.clone()], range.start, &task.gaps);
            let found = match chosen.selection.is_everything() {
                true => found,
                false => found.iter().map(|tree| chosen.reduce(tree, pcs)).collect(),
            };
            parts.push((segment, found));
        }
        work(&graph, task, parts)?;
        progress.advance();
    }
    Ok(())
}

fn write_tree(graph: &Graph<'_, '_>, tree: &Tree, out: &mut dyn Write) -> Result<()> {
    let mut depths: Vec<usize> = Vec::with_capacity(tree.nodes.len());
    for node in &tree.nodes {
        let depth = node.parent.map_or(1, |parent| depths[parent as usize] + 1);
        depths.push(depth);
        let function = graph.function(node.function);
        write!(out, "{:indent$}{}", "", function.name, indent = depth * 2)?;
        if let Some(module) = &function.module {
            write!(out, " [{module}]")?;
        }
        writeln!(out, " {}{}", node.records, marks(node))?;
    }
    Ok(())
}

fn marks(node: &Node) -> String {
    let link = match node.link {
        Link::Root | Link::Direct => "",
        Link::Indirect => " (through a pointer)",
        Link::Unknown => " (caller not known)",
    };
    let late = if node.late {
        " (beginning not recorded)"
    } else {
        ""
    };
    format!("{link}{late}")
}

fn fold(graph: &Graph<'_, '_>, tree: &Tree, start: &str, counts: &mut BTreeMap<String, u64>) {
    let start = match tree.broken {
        true => format!("{start};(records missing)"),
        false => start.to_owned(),
    };
    let mut chains: Vec<String> = Vec::with_capacity(tree.nodes.len());
    for node in &tree.nodes {
        let above = node.parent.map_or(&start, |parent| &chains[parent as usize]);
        let chain = format!("{above};{}", plain(&graph.function(node.function).name));
        match counts.get_mut(&chain) {
            Some(count) => *count += node.records,
            None => drop(counts.insert(chain.clone(), node.records)),
        }
        chains.push(chain);
    }
    counts.retain(|_, count| *count > 0);
}

/// Returns a name without the character that separates names.
fn plain(name: &str) -> String {
    name.replace(';', ":")
}
