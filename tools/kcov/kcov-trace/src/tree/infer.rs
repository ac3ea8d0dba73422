// SPDX-License-Identifier: GPL-2.0
//! Infers calls from the order of PCs.

use std::collections::{HashMap, HashSet};

use super::build::{Builder, Link, Tree};
use super::graph::Graph;
use crate::recording::{Records, Task};

/// So many different PCs in a row, without a repetition, are not in the order in which they ran.
const NEVER_REPEATED: usize = 64;

/// Returns the reason why the order of a task's records is not known.
#[must_use]
pub fn unordered(task: &Task) -> Option<&'static str> {
    let pcs = match &task.records {
        Records::Pcs(pcs) => pcs,
        Records::Comparisons(_) => return Some("holds comparisons"),
        Records::Edges(_) => return Some("has each edge once, as '--edges' leaves them"),
    };
    if task.unique {
        return Some("has each PC once, as '--unique' and 'diff' leave them");
    }
    // Recordings of older versions do not tell.
    let distinct: HashSet<u64> = pcs.iter().take(NEVER_REPEATED).copied().collect();
    let repeated = pcs.len() < NEVER_REPEATED || distinct.len() < NEVER_REPEATED;
    let all = || pcs.iter().collect::<HashSet<_>>().len() == pcs.len();
    (!repeated && all()).then_some("has no PC twice, so the PCs are probably without order")
}

/// Returns the trees of some records of a task, one after the other: each place where records are
/// missing begins a new one. PCs without a function are left out.
#[must_use]
pub fn trees(graph: &mut Graph<'_, '_>, pcs: &[u64], first: usize, gaps: &[usize]) -> Vec<Tree> {
    let mut known: HashMap<u64, Option<(u32, bool)>> = HashMap::new();
    let mut all = Vec::new();
    let mut builder = Builder::new(gaps.contains(&first));
    let mut gaps = gaps.iter().copied().filter(|gap| *gap > first).peekable();
    for (number, pc) in (first..).zip(pcs) {
        if gaps.next_if(|gap| *gap <= number).is_some() {
            all.push(std::mem::replace(&mut builder, Builder::new(true)).finish());
        }
        let Some((function, entry)) = *known.entry(*pc).or_insert_with(|| graph.at(*pc)) else {
            continue;
        };
        if entry {
            enter(graph, &mut builder, function, number);
        } else {
            return_to(graph, &mut builder, function, number);
        }
        builder.record();
    }
    all.push(builder.finish());
    if gaps.next_if(|gap| *gap == first + pcs.len()).is_some() {
        all.push(Builder::new(true).finish());
    }
    all
}

/// Begins a call of the function: in the last open call that can call it directly, or else in the
/// last one that calls through pointers, or else in the last one.
fn enter(graph: &Graph<'_, '_>, builder: &mut Builder, function: u32, number: usize) {
    let direct = builder.open().position(|caller| graph.calls(caller, function));
    let pointers = || {
        builder
            .open()
            .position(|caller| graph.calls_through_pointers(caller))
    };
    let (ended, link) = match direct {
        Some(ended) => (ended, Link::Direct),
        None => match pointers() {
            Some(ended) => (ended, Link::Indirect),
            None => (0, Link::Unknown),
        },
    };
    builder.leave(ended);
    builder.call(function, link, false, number);
}

/// Goes back to the last open call of the function. If there is none, its beginning was not
/// recorded.
fn return_to(graph: &Graph<'_, '_>, builder: &mut Builder, function: u32, number: usize) {
    let ended = builder.open().position(|open| open == function);
    if let Some(ended) = ended {
        builder.leave(ended);
        return;
    }
    let caller = builder.open().position(|caller| graph.calls(caller, function));
    // It is the caller of what is open, or something else: in both cases the others have ended.
    builder.leave(caller.unwrap_or(usize::MAX));
    builder.call(function, Link::Direct, true, number);
}
