// SPDX-License-Identifier: GPL-2.0
//! Packs the sources into the page, compressed and as text that needs no escapes in HTML.

use std::collections::HashMap;
use std::fs;
use std::io::Write;

use anyhow::Result;
use base64::Engine;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::{Value, json};

use super::Options;
use crate::coverage::{Coverage, FileCoverage};
use crate::progress::Progress;
use crate::sources::Sources;

/// The packed files.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// Name and data, by name.
    pub(super) files: Vec<(String, String)>,
    /// The number of sources that were not found.
    pub(super) missing: usize,
    index: HashMap<String, usize>,
}

impl Packed {
    /// Returns the number of a file; `None` if it was not packed.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }
}

pub(super) fn pack(coverage: &Coverage, sources: &Sources, options: Options) -> Result<Packed> {
    let wanted: Vec<_> = coverage
        .files
        .iter()
        .filter(|(_, file)| options.all_sources || file.blocks.covered > 0)
        .collect();
    let progress = Progress::new("Packing the sources", wanted.len());
    let mut packed = Packed::default();
    for (name, file) in wanted {
        // Sources need not be UTF-8; wrong characters do no harm.
        let source = fs::read(sources.path(&file.name)).ok();
        let source = source.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        packed.missing += usize::from(source.is_none());
        packed.index.insert(name.clone(), packed.files.len());
        packed
            .files
            .push((name.clone(), encode(&contents(file, source))?));
        progress.advance();
    }
    Ok(packed)
}

/// The number of runs that a line names at most.
const NAMED: usize = 20;

/// Returns the data of a file for the page's script. Each line is a row of its number, covered
/// blocks, instrumented blocks, hits, the number of runs that hit it, and some of them; each function is a row of its name, line, covered and
/// instrumented blocks.
fn contents(file: &FileCoverage, source: Option<String>) -> Value {
    let lines: Vec<Value> = file
        .lines
        .iter()
        .map(|(number, line)| {
            let runs: Vec<u32> = line.hits.runs().map(|(run, _)| run).collect();
            json!([
                number,
                line.blocks.covered,
                line.blocks.instrumented,
                line.hits.total(),
                runs.len(),
                runs[..runs.len().min(NAMED)],
            ])
        })
        .collect();
    let functions: Vec<Value> = file
        .functions
        .iter()
        .map(|function| {
            json!([
                function.name,
                function.line,
                function.blocks.covered,
                function.blocks.instrumented
            ])
        })
        .collect();
    json!({ "source": source, "lines": lines, "functions": functions })
}

pub(super) fn encode(contents: &Value) -> Result<String> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(contents.to_string().as_bytes())?;
    Ok(base64::engine::general_purpose::STANDARD.encode(encoder.finish()?))
}
