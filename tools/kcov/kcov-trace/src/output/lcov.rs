// SPDX-License-Identifier: GPL-2.0
//! LCOV tracefiles in the format that `geninfo` documents: for `genhtml`, editors and services.

use std::collections::HashMap;
use std::io::Write;

use anyhow::Result;

use crate::coverage::{AuthoredFunction, Coverage, FileCoverage};
use crate::sources::Sources;

/// Writes the coverage. Lines without a block are not instrumented and are left out.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(coverage: &Coverage, sources: &Sources, out: &mut dyn Write) -> Result<()> {
    for file in coverage.files.values() {
        writeln!(out, "TN:")?;
        writeln!(out, "SF:{}", sources.path(&file.name).display())?;
        // Readers take the lines up to the next function for a function's lines, so each function
        // that has lines is there, and is hit if one of its lines is.
        let functions = functions(file);
        for (name, function) in &functions {
            writeln!(out, "FN:{},{name}", function.line)?;
        }
        for (name, function) in &functions {
            writeln!(out, "FNDA:{},{name}", function.hits)?;
        }
        let hit = functions.iter().filter(|(_, function)| function.hits > 0);
        writeln!(out, "FNF:{}", functions.len())?;
        writeln!(out, "FNH:{}", hit.count())?;
        for (number, line) in &file.lines {
            writeln!(out, "DA:{number},{}", line.hits)?;
        }
        writeln!(out, "LF:{}", file.lines.len())?;
        writeln!(
            out,
            "LH:{}",
            file.lines.values().filter(|line| line.hits > 0).count()
        )?;
        writeln!(out, "end_of_record")?;
    }
    Ok(())
}

/// Returns the functions of a file, from their first lines on: a function starts before its first
/// block if that was inlined.
fn functions(file: &FileCoverage) -> Vec<(String, AuthoredFunction)> {
    let mut starts: HashMap<&str, u32> = HashMap::new();
    for function in file.functions.iter().filter(|function| function.line != 0) {
        let line = starts.entry(&function.name).or_insert(function.line);
        *line = function.line.min(*line);
    }
    file.authored
        .iter()
        .map(|(name, function)| {
            let line = starts
                .get(name.as_str())
                .map_or(function.line, |line| function.line.min(*line));
            // A name with a comma is cut by some readers.
            (name.replace(',', ";"), AuthoredFunction { line, ..*function })
        })
        .collect()
}
