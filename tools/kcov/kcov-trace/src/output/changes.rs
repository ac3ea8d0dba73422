// SPDX-License-Identifier: GPL-2.0
//! The difference of two recordings for users: functions, with the lines of the blocks that differ.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::Result;

use crate::recording::Recording;
use crate::symbolised::Symbolised;

/// The blocks of a function that differ.
#[derive(Debug, Default)]
struct Changed {
    blocks: usize,
    lines: BTreeSet<u32>,
}

/// Writes the number of blocks, and a line for each function, below the title.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(
    title: &str,
    recording: &Recording,
    symbols: Option<&Symbolised>,
    out: &mut dyn Write,
) -> Result<()> {
    let comparisons = recording.comparisons().map(|comparison| comparison.pc);
    let pcs: BTreeSet<u64> = recording.pcs().chain(comparisons).collect();
    let mut functions: BTreeMap<(String, String), Changed> = BTreeMap::new();
    for pc in &pcs {
        let frame = symbols.and_then(|symbols| symbols.frames(*pc).next());
        let name = match frame.filter(|frame| !frame.function.is_empty()) {
            Some(frame) => (frame.file.to_owned(), frame.function.to_owned()),
            None => (String::new(), format!("{pc:#x}")),
        };
        let changed = functions.entry(name).or_default();
        changed.blocks += 1;
        changed
            .lines
            .extend(frame.map(|frame| frame.line).filter(|line| *line != 0));
    }
    writeln!(
        out,
        "{title}: {} blocks in {} functions",
        pcs.len(),
        functions.len()
    )?;
    for ((file, function), changed) in functions {
        write!(out, "{:>8}  {function}", changed.blocks)?;
        if !file.is_empty() {
            let lines: Vec<String> = changed.lines.iter().map(u32::to_string).collect();
            write!(out, "  {file}:{}", lines.join(","))?;
        }
        writeln!(out)?;
    }
    Ok(())
}
