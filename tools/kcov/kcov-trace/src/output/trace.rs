// SPDX-License-Identifier: GPL-2.0
//! The plain trace: every record on a line, one task after the other.

use std::io::Write;
use std::iter::Peekable;
use std::vec::IntoIter;

use anyhow::Result;
use kcov::{Comparison, Edge};

use crate::calls::{self, Segment};
use crate::recording::{NO_PC, Recording, Records, Task};
use crate::symbolised::Symbolised;

/// Writes the trace. With `symbols`, each PC is followed by its function and line, and by the
/// functions that it was inlined into. An edge is two PCs on one line.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(recording: &Recording, symbols: Option<&Symbolised>, out: &mut dyn Write) -> Result<()> {
    for task in &recording.tasks {
        writeln!(out, "# {}", heading(task))?;
        let mut calls = Headings::of(task, symbols);
        match &task.records {
            Records::Pcs(pcs) => {
                for (number, pc) in pcs.iter().enumerate() {
                    calls.write(number, out)?;
                    write!(out, "{pc:#018x}")?;
                    writeln!(out, "{}", described(*pc, symbols))?;
                }
            }
            Records::Comparisons(comparisons) => {
                for (number, comparison) in comparisons.iter().enumerate() {
                    calls.write(number, out)?;
                    write!(out, "{:#018x} {}", comparison.pc, operands(comparison))?;
                    writeln!(out, "{}", described(comparison.pc, symbols))?;
                }
            }
            Records::Edges(edges) => {
                for (number, edge) in edges.iter().enumerate() {
                    calls.write(number, out)?;
                    write!(out, "{} -> ", previous(edge, symbols))?;
                    writeln!(out, "{:#018x}{}", edge.pc, described(edge.pc, symbols))?;
                }
            }
        }
        calls.write(task.records.len(), out)?;
    }
    Ok(())
}

/// The lines about system calls between the records of a task.
pub(super) struct Headings<'t> {
    left: Peekable<IntoIter<Segment<'t>>>,
    /// Set if records of a system call are being written.
    inside: bool,
}

impl<'t> Headings<'t> {
    pub(super) fn of(task: &'t Task, symbols: Option<&Symbolised>) -> Self {
        Self {
            left: calls::named(task, symbols).into_iter().peekable(),
            inside: false,
        }
    }

    /// Writes the lines before a record. The end of a call is told only if no other one follows.
    pub(super) fn write(&mut self, number: usize, out: &mut dyn Write) -> Result<()> {
        while let Some(segment) = self.left.next_if(|segment| segment.records.start <= number) {
            if segment.name.is_some() || self.inside {
                writeln!(out, "## {}", segment.heading())?;
            }
            self.inside = segment.name.is_some();
        }
        Ok(())
    }
}

/// Writes the heading of each task, without its records.
///
/// # Errors
///
/// The errors of the writer.
pub fn write_headings(recording: &Recording, out: &mut dyn Write) -> Result<()> {
    for task in &recording.tasks {
        writeln!(out, "{}", heading(task))?;
    }
    Ok(())
}

/// Returns the heading of a task's part.
#[must_use]
pub fn heading(task: &Task) -> String {
    let what = match (&task.records, task.records.len()) {
        (Records::Pcs(_), 1) => "PC",
        (Records::Pcs(_), _) => "PCs",
        (Records::Comparisons(_), 1) => "comparison",
        (Records::Comparisons(_), _) => "comparisons",
        (Records::Edges(_), 1) => "edge",
        (Records::Edges(_), _) => "edges",
    };
    let mut text = match task.tid {
        0 => task.name.clone(),
        tid => format!("task {tid} ({})", task.name),
    };
    if task.parent != 0 {
        text += &format!(", made by {}", task.parent);
    }
    text += &format!(": {} {what}", task.records.len());
    if task.overflowed {
        text += ", the buffer was full and records are missing";
    }
    if let Some(problem) = &task.problem {
        text += &format!(", not traced: {problem}");
    }
    text
}

pub(super) fn operands(comparison: &Comparison) -> String {
    let digits = comparison.size.bytes() * 2 + 2;
    let mark = if comparison.constant { " (constant)" } else { "" };
    format!(
        "{:#0digits$x}{mark} with {:#0digits$x}",
        comparison.left, comparison.right
    )
}

/// Returns the PC before that of an edge with its functions, or that there is none.
pub(super) fn previous(edge: &Edge, symbols: Option<&Symbolised>) -> String {
    match edge.previous {
        NO_PC => format!("{:<18}", "(first PC)"),
        pc => format!("{pc:#018x}{}", described(pc, symbols)),
    }
}

/// Returns the functions and lines of a PC, the innermost first, as they follow the PC.
fn described(pc: u64, symbols: Option<&Symbolised>) -> String {
    let mut text = String::new();
    let mut inlined = "";
    for frame in symbols.into_iter().flat_map(|symbols| symbols.frames(pc)) {
        let function = if frame.function.is_empty() {
            "?"
        } else {
            frame.function
        };
        text += &format!("{inlined} {function}");
        if !frame.file.is_empty() {
            text += &format!(" {}:{}", frame.file, frame.line);
        }
        inlined = ", inlined into";
    }
    if let Some(module) = symbols.and_then(|symbols| symbols.module(pc)) {
        text += &format!(" [{module}]");
    }
    text
}
