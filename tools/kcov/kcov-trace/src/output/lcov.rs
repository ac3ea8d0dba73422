// SPDX-License-Identifier: GPL-2.0
//! LCOV tracefiles in the format that `geninfo` documents: for `genhtml`, editors and services.

use std::collections::HashMap;
use std::io::Write;

use anyhow::Result;

use crate::coverage::{AuthoredFunction, Coverage, FileCoverage};
use crate::runs::Counts;
use crate::sources::Sources;

/// Writes the coverage. Lines without a block are not instrumented and are left out. A file has a
/// record for each test that ran some of it, or one record if no test did.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(coverage: &Coverage, sources: &Sources, out: &mut dyn Write) -> Result<()> {
    let tests = tests(&coverage.runs);
    for file in coverage.files.values() {
        let path = sources.path(&file.name).display().to_string();
        let functions = functions(file);
        let mut ran = Counts::default();
        for line in file.lines.values() {
            ran.add_all(&line.hits);
        }
        let mut runs: Vec<u32> = ran.runs().map(|(run, _)| run).collect();
        if runs.is_empty() {
            runs.push(0);
        }
        for run in runs {
            writeln!(out, "TN:{}", tests.get(run as usize).map_or("", String::as_str))?;
            writeln!(out, "SF:{path}")?;
            write_run(file, &functions, run, out)?;
        }
    }
    Ok(())
}

/// Writes the functions and lines of a file, with the counts of one test.
fn write_run(
    file: &FileCoverage,
    functions: &[(String, AuthoredFunction)],
    run: u32,
    out: &mut dyn Write,
) -> Result<()> {
    // Readers take the lines up to the next function for a function's lines, so each function
    // that has lines is there, and is hit if one of its lines is.
    for (name, function) in functions {
        writeln!(out, "FN:{},{name}", function.line)?;
    }
    for (name, function) in functions {
        writeln!(out, "FNDA:{},{name}", function.hits.of(run))?;
    }
    let hit = functions.iter().filter(|(_, function)| function.hits.of(run) > 0);
    writeln!(out, "FNF:{}", functions.len())?;
    writeln!(out, "FNH:{}", hit.count())?;
    for (number, line) in &file.lines {
        writeln!(out, "DA:{number},{}", line.hits.of(run))?;
    }
    writeln!(out, "LF:{}", file.lines.len())?;
    let hit = file.lines.values().filter(|line| line.hits.of(run) > 0);
    writeln!(out, "LH:{}", hit.count())?;
    writeln!(out, "end_of_record")?;
    Ok(())
}

/// Returns the names of tests as the format allows them: letters, digits and underscores, and
/// different from each other.
fn tests(names: &[String]) -> Vec<String> {
    let mut known: HashMap<String, usize> = HashMap::new();
    names
        .iter()
        .map(|name| {
            let plain: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            let count = known.entry(plain.clone()).or_default();
            *count += 1;
            match *count {
                1 => plain,
                count => format!("{plain}_{count}"),
            }
        })
        .collect()
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
            let hits = function.hits.clone();
            (name.replace(',', ";"), AuthoredFunction { line, hits })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_tests_are_plain_and_differ() {
        let names = ["fs-1.log", "fs 1 log", "", "b"].map(String::from);
        assert_eq!(super::tests(&names), ["fs_1_log", "fs_1_log_2", "", "b"]);
    }
}
