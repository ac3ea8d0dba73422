// SPDX-License-Identifier: GPL-2.0
//! The trace for users: in columns, followed by the functions that the code was inlined into, and of
//! an edge by the PC before.

use std::io::Write;

use anyhow::Result;

use super::trace::{Headings, heading, operands, previous};
use crate::recording::{Recording, Records};
use crate::symbolised::{NamedFrame, Symbolised};

/// The largest width of the column; longer names do not make it wider.
const WIDEST: usize = 48;
/// The indentation of the lines about inlining: they start after the address.
const INDENT: usize = 21;

/// Writes the listing.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(recording: &Recording, symbols: &Symbolised, out: &mut dyn Write) -> Result<()> {
    for task in &recording.tasks {
        writeln!(out, "# {}", heading(task))?;
        let mut calls = Headings::of(task, Some(symbols));
        match &task.records {
            Records::Pcs(pcs) => {
                let width = width(pcs.iter().copied(), symbols);
                for (number, pc) in pcs.iter().enumerate() {
                    calls.write(number, out)?;
                    write_record(*pc, "", width, symbols, out)?;
                }
            }
            Records::Comparisons(comparisons) => {
                let width = width(comparisons.iter().map(|comparison| comparison.pc), symbols);
                for (number, comparison) in comparisons.iter().enumerate() {
                    calls.write(number, out)?;
                    write_record(
                        comparison.pc,
                        &format!(" {}", operands(comparison)),
                        width,
                        symbols,
                        out,
                    )?;
                }
            }
            Records::Edges(edges) => {
                let width = width(edges.iter().map(|edge| edge.pc), symbols);
                for (number, edge) in edges.iter().enumerate() {
                    calls.write(number, out)?;
                    write_record(edge.pc, "", width, symbols, out)?;
                    let before = previous(edge, Some(symbols));
                    writeln!(out, "{:INDENT$}(after) {}", "", before.trim_end())?;
                }
            }
        }
        calls.write(task.records.len(), out)?;
    }
    Ok(())
}

/// Returns the width of the column of the functions.
fn width(pcs: impl Iterator<Item = u64>, symbols: &Symbolised) -> usize {
    pcs.filter_map(|pc| symbols.frames(pc).next())
        .map(|frame| name(&frame).chars().count())
        .max()
        .unwrap_or(0)
        .min(WIDEST)
}

fn write_record(pc: u64, more: &str, width: usize, symbols: &Symbolised, out: &mut dyn Write) -> Result<()> {
    let mut frames = symbols.frames(pc);
    let (function, at) = match frames.next() {
        Some(frame) => (name(&frame), place(&frame)),
        None => ("?", String::new()),
    };
    let module = symbols
        .module(pc)
        .map_or(String::new(), |module| format!(" [{module}]"));
    let line = format!("{pc:#018x} {function:<width$} {at}{module}{more}");
    writeln!(out, "{}", line.trim_end())?;
    for frame in frames {
        let line = format!("{} {}", name(&frame), place(&frame));
        writeln!(out, "{:INDENT$}(inlined by {})", "", line.trim_end())?;
    }
    Ok(())
}

fn name<'a>(frame: &NamedFrame<'a>) -> &'a str {
    if frame.function.is_empty() {
        "?"
    } else {
        frame.function
    }
}

fn place(frame: &NamedFrame<'_>) -> String {
    if frame.file.is_empty() {
        String::new()
    } else {
        format!("{}:{}", frame.file, frame.line)
    }
}
