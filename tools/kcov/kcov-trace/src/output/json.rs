// SPDX-License-Identifier: GPL-2.0
//! JSON lines: one object per line, so that a reader need not keep the whole file in memory.
//!
//! The first line describes the kernel. Each task follows, then its records, and at the end the
//! lines that ran, with the tests or tasks that ran them. Addresses are strings, because not all
//! readers of JSON keep 64 bits of a number. `schema.json` describes the objects.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use kcov::{Comparison, Edge};
use serde_json::{Value, json};

use crate::calls::{self, Segment};
use crate::recording::{NO_PC, Recording, Records, Task};
use crate::runs::{Counts, Runs};
use crate::search::hexadecimal;
use crate::symbolised::Symbolised;

/// Writes the recording.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(recording: &Recording, symbols: Option<&Symbolised>, out: &mut dyn Write) -> Result<()> {
    line(out, of_recording(recording))?;
    for task in &recording.tasks {
        write_task(task, symbols, out)?;
    }
    for value in symbols.map_or_else(Vec::new, |symbols| lines(recording, symbols)) {
        line(out, value)?;
    }
    Ok(())
}

fn line(out: &mut dyn Write, value: Value) -> Result<()> {
    serde_json::to_writer(&mut *out, &value).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

fn of_recording(recording: &Recording) -> Value {
    let kernel = &recording.kernel;
    json!({
        "type": "recording",
        "machine": kernel.machine,
        "release": kernel.release,
        "build_id": hexadecimal(&kernel.build_id),
        "command": recording.command,
    })
}

/// Writes a task, its system calls and its records.
fn write_task(task: &Task, symbols: Option<&Symbolised>, out: &mut dyn Write) -> Result<()> {
    let value = json!({
        "type": "task",
        "tid": task.tid,
        "parent": task.parent,
        "name": task.name,
        "test": task.test,
        "records": task.records.len(),
        "overflowed": task.overflowed,
        "problem": task.problem,
    });
    line(out, value)?;
    for segment in calls::named(task, symbols) {
        if segment.name.is_some() {
            line(out, of_call(task.tid, &segment))?;
        }
    }
    match &task.records {
        Records::Pcs(pcs) => {
            for pc in pcs {
                let mut record = json!({ "type": "pc", "tid": task.tid, "pc": address(*pc) });
                add_frames(&mut record, *pc, symbols);
                line(out, record)?;
            }
        }
        Records::Comparisons(comparisons) => {
            for comparison in comparisons {
                let mut record = of_comparison(task.tid, comparison);
                add_frames(&mut record, comparison.pc, symbols);
                line(out, record)?;
            }
        }
        Records::Edges(edges) => {
            for edge in edges {
                line(out, of_edge(task.tid, edge, symbols))?;
            }
        }
    }
    Ok(())
}

/// Returns the lines that ran, with the number of times that each test or task ran them.
fn lines(recording: &Recording, symbols: &Symbolised) -> Vec<Value> {
    let runs = Runs::finest(recording);
    let mut hits: BTreeMap<(&str, u32), Counts> = BTreeMap::new();
    for (number, task) in recording.tasks.iter().enumerate() {
        for frame in task.records.pcs().filter_map(|pc| symbols.frames(pc).next()) {
            if !frame.file.is_empty() && frame.line != 0 {
                let counts = hits.entry((frame.file, frame.line)).or_default();
                counts.add(runs.of_task(number), 1);
            }
        }
    }
    let by = |(run, hits): (u32, u64)| json!({ "run": runs.names[run as usize], "hits": hits });
    hits.into_iter()
        .map(|((file, line), counts)| {
            let by: Vec<Value> = counts.runs().map(by).collect();
            json!({ "type": "line", "file": file, "line": line, "hits": counts.total(), "by": by })
        })
        .collect()
}

fn address(pc: u64) -> String {
    format!("{pc:#x}")
}

/// Returns a system call; `first` is the number of its first record in the task.
fn of_call(tid: u32, segment: &Segment<'_>) -> Value {
    let mut value = json!({
        "type": "system_call",
        "tid": tid,
        "name": segment.name,
        "inferred": segment.call.is_none(),
        "first": segment.records.start,
        "records": segment.records.len(),
    });
    if let Some(call) = segment.call {
        value["number"] = call.number.into();
        value["arguments"] = call.arguments.map(address).to_vec().into();
        value["result"] = call.result.into();
    }
    value
}

fn of_comparison(tid: u32, comparison: &Comparison) -> Value {
    json!({
        "type": "comparison",
        "tid": tid,
        "pc": address(comparison.pc),
        "left": address(comparison.left),
        "right": address(comparison.right),
        "bytes": comparison.size.bytes(),
        "constant": comparison.constant,
    })
}

/// Returns an edge. The PC before is null if there is none.
fn of_edge(tid: u32, edge: &Edge, symbols: Option<&Symbolised>) -> Value {
    let before = Some(edge.previous).filter(|pc| *pc != NO_PC);
    let mut record = json!({
        "type": "edge",
        "tid": tid,
        "previous": before.map(address),
        "pc": address(edge.pc),
    });
    add_frames(&mut record, edge.pc, symbols);
    if let (Some(pc), Some(symbols)) = (before, symbols) {
        record["previous_frames"] = frames(pc, symbols);
        if let Some(module) = symbols.module(pc) {
            record["previous_module"] = module.into();
        }
    }
    record
}

fn frames(pc: u64, symbols: &Symbolised) -> Value {
    symbols
        .frames(pc)
        .map(|frame| json!({ "function": frame.function, "file": frame.file, "line": frame.line }))
        .collect()
}

fn add_frames(record: &mut Value, pc: u64, symbols: Option<&Symbolised>) {
    let Some(symbols) = symbols else { return };
    record["frames"] = frames(pc, symbols);
    if let Some(module) = symbols.module(pc) {
        record["module"] = module.into();
    }
}
