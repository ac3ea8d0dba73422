// SPDX-License-Identifier: GPL-2.0
//! Coverage by file, line and function, as a share of the instrumented code.
//!
//! The instrumented code is every call site of the hook in `vmlinux` and in the modules whose files
//! were found. A site is a block of the program; a line is covered if one of its blocks is.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, bail};

use crate::images::{Images, Place};
use crate::progress::Progress;
use crate::recording::Recording;
use crate::sources::Sources;
use crate::symbols::{Hook, Image, Line, Site, demangled, jumps_after_call, lines, sites, stacks};

/// The number of blocks and of covered blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Blocks that ran.
    pub covered: usize,
    /// Blocks that the compiler instrumented.
    pub instrumented: usize,
}

/// A line with blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCoverage {
    /// Its blocks.
    pub blocks: Blocks,
    /// The number of times that they ran, in total.
    pub hits: u64,
}

/// A function with blocks, including the blocks that were inlined into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionCoverage {
    /// Its name.
    pub name: String,
    /// The line where it starts.
    pub line: u32,
    /// Its blocks.
    pub blocks: Blocks,
    /// The number of times that its most frequent block ran.
    pub hits: u64,
}

/// A source file with blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileCoverage {
    /// Its name in the debug information.
    pub name: String,
    /// Its blocks, including those on no particular line.
    pub blocks: Blocks,
    /// Its lines with blocks.
    pub lines: BTreeMap<u32, LineCoverage>,
    /// The functions that start in it, by line.
    pub functions: Vec<FunctionCoverage>,
    /// The functions that its authors wrote, by name, if they were asked for. A block that was inlined
    /// counts for the function that it was written in.
    pub authored: BTreeMap<String, AuthoredFunction>,
}

/// A function as its author wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthoredFunction {
    /// Its first line with a block.
    pub line: u32,
    /// The number of times that its most frequent block ran.
    pub hits: u64,
}

/// The coverage of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// All files with blocks, by the name that is displayed.
    pub files: BTreeMap<String, FileCoverage>,
    /// All blocks.
    pub blocks: Blocks,
    /// The number of distinct recorded PCs that match no call site.
    pub unmatched: usize,
    /// Modules whose blocks are not counted, with the reasons.
    pub stripped: Vec<String>,
}

impl Blocks {
    fn add(&mut self, covered: bool) {
        self.instrumented += 1;
        self.covered += usize::from(covered);
    }

    /// Returns the covered share in percent.
    #[must_use]
    pub fn percent(self) -> f64 {
        match self.instrumented {
            0 => 0.0,
            all => self.covered as f64 * 100.0 / all as f64,
        }
    }
}

impl std::ops::AddAssign for Blocks {
    fn add_assign(&mut self, other: Self) {
        self.covered += other.covered;
        self.instrumented += other.instrumented;
    }
}

/// Computes the coverage of the recording; `authored` asks for [`FileCoverage::authored`].
///
/// # Errors
///
/// An image has no call sites or no debug information, or the recording has no PCs.
pub fn coverage(
    images: &Images<'_>,
    recording: &Recording,
    sources: &Sources,
    authored: bool,
) -> Result<Coverage> {
    let mut hits: HashMap<Place, u64> = HashMap::new();
    for place in recording.pcs().filter_map(|pc| images.place(pc)) {
        *hits.entry(place).or_default() += 1;
    }
    if recording.pcs().next().is_none() && recording.comparisons().next().is_some() {
        bail!(
            "the recording holds comparisons, not PCs; record without 'cmp', or look at it with 'kcov-trace cmp'"
        );
    }
    let mut coverage = Coverage::default();
    for (number, image) in images.list.iter().enumerate() {
        let sites = match (sites(image, Hook::Pc), image.has_dwarf()) {
            (Ok(sites), true) => sites,
            // A module without a call site adds nothing.
            (Ok(sites), false) if number > 0 && sites.is_empty() => continue,
            (Ok(_), false) if number > 0 => {
                let path = image.path().display();
                coverage.stripped.push(format!("{path} has no debug information"));
                continue;
            }
            (Err(error), _) if number > 0 => {
                coverage.stripped.push(error.to_string());
                continue;
            }
            (Ok(_), false) => match image.missing_debug_file() {
                Some(name) => bail!(
                    "{} has no debug information; put the file {name}, which was split from it, next to it, or ask for the format 'functions' or 'trace'",
                    image.path().display()
                ),
                None => bail!(
                    "{} has no debug information; build the kernel with CONFIG_DEBUG_INFO_DWARF5, or ask for the format 'functions' or 'trace'",
                    image.path().display()
                ),
            },
            (Err(error), _) => return Err(error.into()),
        };
        let mut of_image: HashMap<u64, u64> = hits
            .iter()
            .filter(|(place, _)| place.image == number)
            .map(|(place, count)| (place.pc, *count))
            .collect();
        credit_tail_jumps(image, &sites, &mut of_image);
        add_image(&mut coverage, image, &sites, &of_image, sources)?;
        if authored {
            add_authored(&mut coverage, image, &sites, &of_image, sources)?;
        }
    }
    for file in coverage.files.values_mut() {
        file.functions
            .sort_by(|a, b| (a.line, &a.name).cmp(&(b.line, &b.name)));
    }
    Ok(coverage)
}

/// Credits calls to functions that end in a jump to the hook. In such a function, the hook sees the
/// address of the caller, so that PC counts for the jump.
fn credit_tail_jumps(image: &Image<'_>, sites: &[Site], hits: &mut HashMap<u64, u64>) {
    let is_site = |pc: u64| sites.binary_search_by_key(&pc, |site| site.pc).is_ok();
    let foreign: Vec<(u64, u64)> = hits
        .iter()
        .filter(|(pc, _)| !is_site(**pc))
        .map(|(pc, count)| (*pc, *count))
        .collect();
    for (pc, count) in foreign {
        for site in jumps_after_call(image, sites, pc) {
            *hits.entry(site.pc).or_default() += count;
        }
    }
}

fn add_image(
    coverage: &mut Coverage,
    image: &Image<'_>,
    sites: &[Site],
    hits: &HashMap<u64, u64>,
    sources: &Sources,
) -> Result<()> {
    let pcs: Vec<u64> = sites.iter().map(|site| site.pc).collect();
    let progress = Progress::new("Looking up the call sites", pcs.len());
    let found = lines(image, &pcs, &progress)?;
    drop(progress);
    let shown: Vec<String> = found.names.all().iter().map(|name| sources.shown(name)).collect();

    // Sites are sorted by address, and therefore the functions that contain them are, too.
    let mut functions: Vec<(u64, FunctionCoverage)> = Vec::new();
    for (site, at) in sites.iter().zip(&found.lines) {
        let count = hits.get(&site.pc).copied().unwrap_or(0);
        coverage.blocks.add(count > 0);
        if at.file != 0 {
            add_line(coverage, &shown, found.names.get(at.file), *at, count);
        }
        if let Some(symbol) = image.function(site.pc - 1) {
            if functions
                .last()
                .is_none_or(|(address, _)| *address != symbol.address)
            {
                let name = demangled(symbol.name);
                functions.push((
                    symbol.address,
                    FunctionCoverage {
                        name,
                        ..Default::default()
                    },
                ));
            }
            if let Some((_, function)) = functions.last_mut() {
                function.blocks.add(count > 0);
                function.hits = function.hits.max(count);
            }
        }
    }

    // The debug information is queried for the byte before an address.
    let entries: Vec<u64> = functions.iter().map(|(address, _)| address + 1).collect();
    let found = lines(image, &entries, &Progress::hidden())?;
    for ((_, mut function), at) in functions.into_iter().zip(&found.lines) {
        if at.file != 0 {
            function.line = at.line;
            let name = found.names.get(at.file);
            let file = coverage.files.entry(sources.shown(name)).or_default();
            if file.name.is_empty() {
                name.clone_into(&mut file.name);
            }
            file.functions.push(function);
        }
    }
    Ok(())
}

/// Adds the functions that authors wrote.
fn add_authored(
    coverage: &mut Coverage,
    image: &Image<'_>,
    sites: &[Site],
    hits: &HashMap<u64, u64>,
    sources: &Sources,
) -> Result<()> {
    let pcs: Vec<u64> = sites.iter().map(|site| site.pc).collect();
    let progress = Progress::new("Looking up the functions", pcs.len());
    let found = stacks(image, &pcs, &progress)?;
    let shown: Vec<String> = found.names.all().iter().map(|name| sources.shown(name)).collect();
    for (site, stack) in sites.iter().zip(&found.stacks) {
        let Some(frame) = stack
            .first()
            .filter(|frame| frame.function != 0 && frame.at.line != 0)
        else {
            continue;
        };
        let Some(file) = coverage.files.get_mut(&shown[frame.at.file as usize]) else {
            continue;
        };
        let count = hits.get(&site.pc).copied().unwrap_or(0);
        let name = found.names.get(frame.function);
        let line = frame.at.line;
        match file.authored.get_mut(name) {
            Some(function) => {
                function.line = function.line.min(line);
                function.hits = function.hits.max(count);
            }
            None => {
                let function = AuthoredFunction { line, hits: count };
                file.authored.insert(name.to_owned(), function);
            }
        }
    }
    Ok(())
}

fn add_line(coverage: &mut Coverage, shown: &[String], name: &str, at: Line, count: u64) {
    let key = &shown[at.file as usize];
    if !coverage.files.contains_key(key) {
        let file = FileCoverage {
            name: name.to_owned(),
            ..Default::default()
        };
        coverage.files.insert(key.clone(), file);
    }
    let Some(file) = coverage.files.get_mut(key) else {
        return;
    };
    file.blocks.add(count > 0);
    // Line 0 means that the compiler assigned the block to no line.
    if at.line != 0 {
        let line = file.lines.entry(at.line).or_default();
        line.blocks.add(count > 0);
        line.hits += count;
    }
}
