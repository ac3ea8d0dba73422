// SPDX-License-Identifier: GPL-2.0
//! Functions with counts: the number of times that blocks of each ran, and the number of different
//! blocks.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use anyhow::Result;

use crate::recording::Recording;
use crate::symbolised::{NamedFrame, Symbolised};

#[derive(Debug, Default)]
struct Count {
    records: u64,
    blocks: HashSet<u64>,
    /// The lowest line of it that was seen.
    line: u32,
}

/// Writes a table of the functions as their authors wrote them: inlined code counts for the
/// function that it was written in. The most frequent functions come first.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(recording: &Recording, symbols: &Symbolised, out: &mut dyn Write) -> Result<()> {
    let mut counts: HashMap<(&str, &str), Count> = HashMap::new();
    for pc in recording
        .pcs()
        .chain(recording.comparisons().map(|comparison| comparison.pc))
    {
        let unknown = NamedFrame {
            function: "",
            file: "",
            line: 0,
        };
        let frame = symbols.frames(pc).next().unwrap_or(unknown);
        let count = counts.entry((frame.function, frame.file)).or_default();
        count.records += 1;
        count.blocks.insert(pc);
        if count.line == 0 || frame.line != 0 && frame.line < count.line {
            count.line = frame.line;
        }
    }
    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by(|(a, x), (b, y)| (y.records, a).cmp(&(x.records, b)));
    writeln!(out, "{:>10} {:>8}  function", "records", "blocks")?;
    for ((function, file), count) in rows {
        let function = if function.is_empty() {
            "(unknown)"
        } else {
            function
        };
        write!(out, "{:>10} {:>8}  {function}", count.records, count.blocks.len())?;
        if !file.is_empty() {
            write!(out, "  {file}:{}", count.line)?;
        }
        writeln!(out)?;
    }
    Ok(())
}
