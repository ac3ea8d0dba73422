// SPDX-License-Identifier: GPL-2.0
//! LCOV tracefiles in the format that `geninfo` documents: for `genhtml`, editors and services.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;

use crate::coverage::{Coverage, FunctionCoverage};
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
        let functions = by_name(&file.functions);
        for (name, (line, _)) in &functions {
            writeln!(out, "FN:{line},{name}")?;
        }
        for (name, (_, hits)) in &functions {
            writeln!(out, "FNDA:{hits},{name}")?;
        }
        writeln!(out, "FNF:{}", functions.len())?;
        writeln!(
            out,
            "FNH:{}",
            functions.values().filter(|(_, hits)| *hits > 0).count()
        )?;
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

/// Merges the functions by name: a tracefile has each name once per file, but the compiler may have
/// made copies.
fn by_name(functions: &[FunctionCoverage]) -> BTreeMap<&str, (u32, u64)> {
    let mut found = BTreeMap::new();
    for function in functions {
        // Readers reject line 0.
        let (_, hits) = found
            .entry(function.name.as_str())
            .or_insert((function.line.max(1), 0));
        *hits = function.hits.max(*hits);
    }
    found
}
