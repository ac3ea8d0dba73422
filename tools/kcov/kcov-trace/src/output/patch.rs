// SPDX-License-Identifier: GPL-2.0
//! The coverage of a patch, as text and as JSON.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use crate::patch::{File, Judged, State, Summary};

/// Writes each changed line with its state, and the summary.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(files: &[File], out: &mut dyn Write) -> Result<()> {
    for file in files {
        writeln!(out, "{}", file.name)?;
        for line in &file.lines {
            let told = if line.inferred {
                format!("{} (inferred)", word(line.state))
            } else {
                word(line.state).to_owned()
            };
            writeln!(out, "{:>7}  {told:<22}  {}", line.number, line.text)?;
            if let State::Undecided(reason) = line.state {
                writeln!(out, "{:>9}({reason})", "")?;
            }
        }
    }
    writeln!(out, "{}", summary(Summary::of(files)))?;
    Ok(())
}

/// Writes an object for each line, and one for the summary.
///
/// # Errors
///
/// The errors of the writer.
pub fn write_json(files: &[File], out: &mut dyn Write) -> Result<()> {
    let lines = files
        .iter()
        .flat_map(|file| file.lines.iter().map(|line| of_line(&file.name, line)));
    let all = Summary::of(files);
    let summary = json!({
        "type": "patch",
        "covered": all.covered,
        "not_covered": all.not_covered,
        "no_code": all.no_code,
        "undecided": all.undecided,
        "inferred": all.inferred,
        "percent_of_decided": all.percent(),
    });
    for value in lines.chain([summary]) {
        serde_json::to_writer(&mut *out, &value).map_err(std::io::Error::from)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn of_line(file: &str, line: &Judged) -> Value {
    let reason = match line.state {
        State::Undecided(reason) => Some(reason),
        _ => None,
    };
    json!({
        "type": "changed_line",
        "file": file,
        "line": line.number,
        "state": word(line.state),
        "inferred": line.inferred,
        "reason": reason,
    })
}

fn word(state: State) -> &'static str {
    match state {
        State::Covered => "covered",
        State::NotCovered => "not covered",
        State::NoCode => "no code",
        State::Undecided(_) => "not decidable",
    }
}

/// Returns the summary in one line.
#[must_use]
pub fn summary(all: Summary) -> String {
    let share = match all.percent() {
        Some(share) => format!(
            "{share:.1} % of {} changed lines that can be decided",
            all.decided()
        ),
        None => "no changed line that can be decided".into(),
    };
    format!(
        "patch: {share}: {} covered, {} not covered ({} of both inferred); {} not decidable, {} without code",
        all.covered, all.not_covered, all.inferred, all.undecided, all.no_code
    )
}
