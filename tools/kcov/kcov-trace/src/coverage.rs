// SPDX-License-Identifier: GPL-2.0
//! Coverage by file, line and function, as a share of the instrumented code.
//!
//! The instrumented code is every call site of the hook in `vmlinux` and in the modules whose files
//! were found. A site is a block of the program; a line is covered if one of its blocks is.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Result, bail};

use crate::images::{Images, Place};
use crate::progress::Progress;
use crate::recording::Recording;
use crate::runs::{Counts, Runs};
use crate::selection::Selection;
use crate::sources::Sources;
use crate::symbols::{
    Frame, Hook, Image, NoSites, Site, Stacks, demangled, jumps_after_call, lines, sites, stacks,
};

/// The number of blocks and of covered blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Blocks that ran.
    pub covered: usize,
    /// Blocks that the compiler instrumented.
    pub instrumented: usize,
}

/// A line with blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineCoverage {
    /// Its blocks.
    pub blocks: Blocks,
    /// The number of times that they ran in each run, in total.
    pub hits: Counts,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthoredFunction {
    /// Its first line with a block.
    pub line: u32,
    /// The number of times that its most frequent block ran in each run.
    pub hits: Counts,
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
    /// The names of the runs that hits are counted by.
    pub runs: Vec<String>,
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

/// The number of times that each place ran.
type Hits = HashMap<Place, Counts>;

/// Computes the coverage of the selected code by each of the runs of the recording; `authored` asks
/// for [`FileCoverage::authored`].
///
/// # Errors
///
/// An image has no call sites or no debug information, or the recording has no PCs.
pub fn coverage(
    images: &Images<'_>,
    recording: &Recording,
    sources: &Sources,
    runs: Runs,
    authored: bool,
    selection: &Selection,
) -> Result<Coverage> {
    if recording.pcs().next().is_none() && recording.comparisons().next().is_some() {
        bail!(
            "the recording holds comparisons, not PCs; record without 'cmp', or look at it with 'kcov-trace cmp'"
        );
    }
    let hits = hits(images, recording, &runs);
    let mut coverage = Coverage::default();
    for (number, image) in images.list.iter().enumerate() {
        let Some(sites) = usable_sites(image, number > 0, &mut coverage.stripped)? else {
            continue;
        };
        let of_image = of_image(&hits, number, image, &sites);
        let functions = authored || selection.needs_functions();
        let found = looked_up(image, &sites, functions)?;
        add_image(
            &mut coverage,
            image,
            &sites,
            &found,
            &of_image,
            sources,
            selection,
        )?;
    }
    for file in coverage.files.values_mut() {
        file.functions
            .sort_by(|a, b| (a.line, &a.name).cmp(&(b.line, &b.name)));
    }
    coverage.runs = runs.names;
    Ok(coverage)
}

fn hits(images: &Images<'_>, recording: &Recording, runs: &Runs) -> Hits {
    let mut hits = Hits::new();
    for (number, task) in recording.tasks.iter().enumerate() {
        // Most PCs are there many times, and their places take longer than their numbers.
        let mut counts: HashMap<u64, u64> = HashMap::new();
        for pc in task.records.pcs() {
            *counts.entry(pc).or_default() += 1;
        }
        for (pc, count) in counts {
            if let Some(place) = images.place(pc) {
                hits.entry(place).or_default().add(runs.of_task(number), count);
            }
        }
    }
    hits
}

/// The call sites of an image, and those that ran.
pub(crate) type Ran = (Vec<u64>, HashSet<u64>);

/// Returns the call sites of each image that can be used, and those that ran.
pub(crate) fn ran<'i, 'a>(
    images: &'i Images<'a>,
    recording: &Recording,
    stripped: &mut Vec<String>,
) -> Result<Vec<(&'i Image<'a>, Ran)>> {
    let all = hits(images, recording, &Runs::default());
    let mut found = Vec::new();
    for (number, image) in images.list.iter().enumerate() {
        if let Some(sites) = usable_sites(image, number > 0, stripped)? {
            let hits = of_image(&all, number, image, &sites);
            let pcs = sites.iter().map(|site| site.pc).collect();
            found.push((image, (pcs, hits.into_keys().collect())));
        }
    }
    Ok(found)
}

/// Returns the call sites of an image; `None` if it is a module that cannot be used. The reason is
/// added to `stripped` if something is missing then.
fn usable_sites(image: &Image<'_>, module: bool, stripped: &mut Vec<String>) -> Result<Option<Vec<Site>>> {
    let path = image.path().display();
    let found: Result<Vec<Site>, NoSites> = sites(image, Hook::Pc);
    match (found, image.has_dwarf(), module) {
        (Ok(sites), true, _) => return Ok(Some(sites)),
        // A module without a call site adds nothing.
        (Ok(sites), false, true) if sites.is_empty() => {}
        (Ok(_), false, true) => stripped.push(format!("{path} has no debug information")),
        (Err(error), _, true) => stripped.push(error.to_string()),
        (Ok(_), false, false) => match image.missing_debug_file() {
            Some(name) => bail!(
                "{path} has no debug information; put the file {name}, which was split from it, next to it, or ask for the format 'functions' or 'trace'"
            ),
            None => bail!(
                "{path} has no debug information; build the kernel with CONFIG_DEBUG_INFO_DWARF5, or ask for the format 'functions' or 'trace'"
            ),
        },
        (Err(error), _, false) => return Err(error.into()),
    }
    Ok(None)
}

/// Returns the counts of the call sites of an image.
fn of_image(hits: &Hits, number: usize, image: &Image<'_>, sites: &[Site]) -> HashMap<u64, Counts> {
    let mut found = hits
        .iter()
        .filter(|(place, _)| place.image == number)
        .map(|(place, counts)| (place.pc, counts.clone()))
        .collect();
    credit_tail_jumps(image, sites, &mut found);
    found
}

/// Credits calls to functions that end in a jump to the hook. In such a function, the hook sees the
/// address of the caller, so that PC counts for the jump.
fn credit_tail_jumps(image: &Image<'_>, sites: &[Site], hits: &mut HashMap<u64, Counts>) {
    let is_site = |pc: u64| sites.binary_search_by_key(&pc, |site| site.pc).is_ok();
    let foreign: Vec<(u64, Counts)> = hits
        .iter()
        .filter(|(pc, _)| !is_site(**pc))
        .map(|(pc, counts)| (*pc, counts.clone()))
        .collect();
    for (pc, counts) in foreign {
        for site in jumps_after_call(image, sites, pc) {
            hits.entry(site.pc).or_default().add_all(&counts);
        }
    }
}

/// Looks the call sites up: with all functions that each is inlined into, or with its line only.
fn looked_up(image: &Image<'_>, sites: &[Site], functions: bool) -> Result<Stacks> {
    let pcs: Vec<u64> = sites.iter().map(|site| site.pc).collect();
    let progress = Progress::new("Looking up the call sites", pcs.len());
    if functions {
        return stacks(image, &pcs, &progress);
    }
    let found = lines(image, &pcs, &progress)?;
    let alone = |at| -> Box<[Frame]> { Box::new([Frame { function: 0, at }]) };
    Ok(Stacks {
        names: found.names,
        stacks: found.lines.into_iter().map(alone).collect(),
    })
}

fn add_image(
    coverage: &mut Coverage,
    image: &Image<'_>,
    sites: &[Site],
    found: &Stacks,
    hits: &HashMap<u64, Counts>,
    sources: &Sources,
    selection: &Selection,
) -> Result<()> {
    let shown: Vec<String> = found.names.all().iter().map(|name| sources.shown(name)).collect();
    let never = Counts::default();
    // Sites are sorted by address, and therefore the functions that contain them are, too.
    let mut functions: Vec<(u64, FunctionCoverage)> = Vec::new();
    for (site, stack) in sites.iter().zip(&found.stacks) {
        let frames = stack.iter().map(|frame| {
            let file = shown[frame.at.file as usize].as_str();
            (found.names.get(frame.function), file)
        });
        if !selection.is_everything() && !selection.keeps(frames) {
            continue;
        }
        let counts = hits.get(&site.pc).unwrap_or(&never);
        coverage.blocks.add(counts.total() > 0);
        let innermost = stack.first().copied().unwrap_or_default();
        if innermost.at.file != 0 {
            let name = found.names.get(innermost.at.file);
            let file = coverage.file(&shown[innermost.at.file as usize], name);
            file.add_block(innermost.at.line, counts);
            let function = found.names.get(innermost.function);
            if !function.is_empty() && innermost.at.line != 0 {
                file.add_authored(function, innermost.at.line, counts);
            }
        }
        add_function(&mut functions, image, *site, counts.total());
    }
    add_functions(coverage, image, functions, sources)
}

/// Adds a block to the function that contains it, which is the last one or a new one.
fn add_function(functions: &mut Vec<(u64, FunctionCoverage)>, image: &Image<'_>, site: Site, hits: u64) {
    let Some(symbol) = image.function(site.pc - 1) else {
        return;
    };
    if functions
        .last()
        .is_none_or(|(address, _)| *address != symbol.address)
    {
        let function = FunctionCoverage {
            name: demangled(symbol.name),
            ..Default::default()
        };
        functions.push((symbol.address, function));
    }
    if let Some((_, function)) = functions.last_mut() {
        function.blocks.add(hits > 0);
        function.hits = function.hits.max(hits);
    }
}

/// Adds functions to the files that they start in.
fn add_functions(
    coverage: &mut Coverage,
    image: &Image<'_>,
    functions: Vec<(u64, FunctionCoverage)>,
    sources: &Sources,
) -> Result<()> {
    // The debug information is queried for the byte before an address.
    let entries: Vec<u64> = functions.iter().map(|(address, _)| address + 1).collect();
    let found = lines(image, &entries, &Progress::hidden())?;
    for ((_, mut function), at) in functions.into_iter().zip(&found.lines) {
        if at.file != 0 {
            function.line = at.line;
            let name = found.names.get(at.file);
            coverage.file(&sources.shown(name), name).functions.push(function);
        }
    }
    Ok(())
}

impl Coverage {
    /// Returns the file that is displayed as `shown`, and that the debug information calls `name`.
    fn file(&mut self, shown: &str, name: &str) -> &mut FileCoverage {
        let file = self.files.entry(shown.to_owned()).or_default();
        if file.name.is_empty() {
            name.clone_into(&mut file.name);
        }
        file
    }
}

impl FileCoverage {
    fn add_block(&mut self, line: u32, counts: &Counts) {
        let covered = counts.total() > 0;
        self.blocks.add(covered);
        // Line 0 means that the compiler assigned the block to no line.
        if line != 0 {
            let line = self.lines.entry(line).or_default();
            line.blocks.add(covered);
            line.hits.add_all(counts);
        }
    }

    fn add_authored(&mut self, name: &str, line: u32, counts: &Counts) {
        match self.authored.get_mut(name) {
            Some(function) => {
                function.line = function.line.min(line);
                function.hits.take_larger(counts);
            }
            None => {
                let hits = counts.clone();
                self.authored
                    .insert(name.to_owned(), AuthoredFunction { line, hits });
            }
        }
    }
}
