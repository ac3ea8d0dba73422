// SPDX-License-Identifier: GPL-2.0
//! Decides whether a changed line ran.
//!
//! A line with a call site of its own is measured. Another line takes the state of the blocks that it
//! is in, if the control flow of the function gives one answer.

use std::collections::{HashMap, HashSet};
use std::fs;

use anyhow::Result;

use super::ChangedFile;
use crate::coverage::ran;
use crate::images::Images;
use crate::progress::Progress;
use crate::recording::Recording;
use crate::sources::Sources;
use crate::symbols::{BlockState, Flow, Image, Relocated, Rows, rows};

/// The state of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It ran.
    Covered,
    /// It did not run.
    NotCovered,
    /// The compiler has made no code of it.
    NoCode,
    /// It is not known, for this reason.
    Undecided(&'static str),
}

/// A changed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Its number.
    pub number: u32,
    /// Its text.
    pub text: String,
    /// Its state.
    pub state: State,
    /// Set if the state follows from that of other lines.
    pub inferred: bool,
}

/// A changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name in the patch.
    pub name: String,
    /// The changed lines.
    pub lines: Vec<Judged>,
}

const OTHER_TEXT: &str =
    "the source has another text in this line: apply the patch, and check out what was built";
const NOT_BUILT: &str =
    "the file is in none of the kernel's files: it was not built, or its module is missing";
const NOT_INSTRUMENTED: &str = "its function is not instrumented";
const SEVERAL_PATHS: &str = "the control flow allows both";

/// The endings of files that code is made of.
const CODE: [&str; 4] = [".c", ".h", ".S", ".rs"];

/// An image, with what is known of its code.
struct Code<'i, 'a> {
    image: &'i Image<'a>,
    relocated: Relocated,
    sites: Vec<u64>,
    ran: HashSet<u64>,
    rows: Rows,
    /// The flows of functions that were needed, by their addresses.
    flows: HashMap<u64, Flow>,
}

/// The meaning of the pieces of a line.
#[derive(Debug, Default)]
struct Evidence {
    code: bool,
    /// Its own call sites.
    measured: Option<bool>,
    /// The states of its blocks.
    blocks: HashSet<&'static str>,
    inferred_run: bool,
    inferred_not: bool,
}

/// Decides the state of every line of the files.
///
/// # Errors
///
/// The call sites are not known, or the debug information is missing or damaged.
pub fn judge(
    images: &Images<'_>,
    recording: &Recording,
    sources: &Sources,
    files: &[ChangedFile],
) -> Result<Vec<File>> {
    let wanted = |name: &str| {
        let shown = sources.shown(name);
        files.iter().position(|file| is_of(&shown, &file.name))
    };
    let mut code = Vec::new();
    let mut stripped = Vec::new();
    let progress = Progress::new("Reading the tables of lines", images.list.len());
    for (image, (sites, ran)) in ran(images, recording, &mut stripped)? {
        code.push(Code {
            image,
            relocated: Relocated::of(image),
            sites,
            ran,
            rows: rows(image, wanted)?,
            flows: HashMap::new(),
        });
        progress.advance();
    }
    drop(progress);
    Ok(files
        .iter()
        .enumerate()
        .map(|(number, file)| judge_file(&mut code, sources, number, file))
        .collect())
}

/// Returns whether a name in the debug information is that of a file in a patch: the same, or below
/// the folder of a tree that is not known.
fn is_of(shown: &str, name: &str) -> bool {
    let above = shown.strip_suffix(name);
    above.is_some_and(|above| above.is_empty() || above.starts_with('/') && above.ends_with('/'))
}

fn judge_file(code: &mut [Code<'_, '_>], sources: &Sources, number: usize, file: &ChangedFile) -> File {
    let known = code
        .iter()
        .any(|code| code.rows.known.binary_search(&number).is_ok());
    let source = fs::read(sources.path(&file.name)).unwrap_or_default();
    let source = String::from_utf8_lossy(&source);
    let texts: Vec<&str> = source.lines().collect();
    let lines = file.lines.iter().map(|(line, text)| {
        let now = texts.get(*line as usize - 1).map(|now| now.trim_end());
        let (state, inferred) = if !CODE.iter().any(|end| file.name.ends_with(end)) {
            (State::NoCode, false)
        } else if !texts.is_empty() && now != Some(text.trim_end()) {
            (State::Undecided(OTHER_TEXT), false)
        } else if !known {
            (State::Undecided(NOT_BUILT), false)
        } else {
            let mut evidence = Evidence::default();
            for code in &mut *code {
                code.look_at(number, *line, &mut evidence);
            }
            evidence.state()
        };
        Judged {
            number: *line,
            text: text.clone(),
            state,
            inferred,
        }
    });
    File {
        name: file.name.clone(),
        lines: lines.collect(),
    }
}

impl Code<'_, '_> {
    /// Adds what the code of a line tells.
    fn look_at(&mut self, file: usize, line: u32, evidence: &mut Evidence) {
        let pieces: Vec<(u64, u64)> = self
            .rows
            .rows
            .iter()
            .filter(|row| (row.file, row.line) == (file, line))
            .map(|row| (row.start, row.end))
            .collect();
        for (start, end) in pieces {
            evidence.code = true;
            // The last byte of the call decides whose it is.
            let from = self.sites.partition_point(|site| *site <= start);
            let own: Vec<bool> = self.sites[from..]
                .iter()
                .take_while(|site| **site <= end)
                .map(|site| self.ran.contains(site))
                .collect();
            if let Some(ran) = own.into_iter().reduce(|a, b| a || b) {
                evidence.measured = Some(evidence.measured.unwrap_or(false) || ran);
            }
            let Some(flow) = self.flow(start) else {
                evidence.blocks.insert(NOT_INSTRUMENTED);
                continue;
            };
            if !flow.is_instrumented() {
                evidence.blocks.insert(NOT_INSTRUMENTED);
                continue;
            }
            for state in flow.states(start, end) {
                match state {
                    BlockState::Ran => evidence.inferred_run = true,
                    BlockState::NotRun => evidence.inferred_not = true,
                    BlockState::Undecided => drop(evidence.blocks.insert(SEVERAL_PATHS)),
                }
            }
        }
    }

    /// Returns the flow of the function at an address.
    fn flow(&mut self, address: u64) -> Option<&Flow> {
        let symbol = *self.image.whole(self.image.function(address)?);
        let flow = self
            .flows
            .entry(symbol.address)
            .or_insert_with(|| Flow::of(self.image, &self.relocated, &symbol, &self.sites, &self.ran));
        Some(flow)
    }
}

impl Evidence {
    fn state(&self) -> (State, bool) {
        match (self.code, self.measured) {
            (false, _) => (State::NoCode, false),
            (_, Some(true)) => (State::Covered, false),
            // A part of the line may be in a block of another line.
            (_, _) if self.inferred_run => (State::Covered, true),
            (_, Some(false)) => (State::NotCovered, false),
            _ => match self.blocks.iter().min() {
                Some(reason) => (State::Undecided(reason), false),
                None if self.inferred_not => (State::NotCovered, true),
                None => (State::Undecided(NOT_INSTRUMENTED), false),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_a_whole() {
        assert!(is_of("fs/x.c", "fs/x.c"));
        assert!(is_of("/tmp/tree/fs/x.c", "fs/x.c"));
        assert!(!is_of("drivers/fs/x.c", "fs/x.c"));
        assert!(!is_of("/tmp/afs/x.c", "fs/x.c"));
    }
}
