// SPDX-License-Identifier: GPL-2.0
//! Writes a recording in the requested format.

use std::borrow::Cow;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use rustix::fs::Access;

use super::select;
use crate::cli::{Format, OutputArgs, SymbolArgs};
use crate::coverage::{Coverage, coverage};
use crate::images::{Files, Images, Search};
use crate::matching::matched;
use crate::output::{Target, comparisons, functions, html, json, lcov, listing, trace, tree};
use crate::recording::{self, Recording};
use crate::runs::Runs;
use crate::search;
use crate::selection::Selection;
use crate::sources::Sources;
use crate::symbolised::Symbolised;

/// The completeness of a report: has it all that the recording has?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has.
    Whole,
    /// Something is missing, and a warning told what.
    Partial,
}

impl Outcome {
    /// Returns the exit status of a subcommand that works on recordings.
    pub(super) fn status(self) -> i32 {
        match self {
            Self::Whole => 0,
            Self::Partial => 1,
        }
    }

    /// Returns the less complete of two.
    pub(super) fn or(self, other: Self) -> Self {
        self.partial_if(other == Self::Partial)
    }

    fn partial_if(self, partial: bool) -> Self {
        if partial { Self::Partial } else { self }
    }
}

/// Adds the names of the running kernel to the recording if they were asked for, or if the output
/// needs them for want of vmlinux.
pub(super) fn add_names(recording: &mut Recording, wanted: bool, output: &OutputArgs, symbols: &SymbolArgs) {
    let target = Target::new(output.output.as_deref());
    let format = output.format.unwrap_or_else(|| default_format(&target));
    if wanted || symbols.vmlinux.is_none() && !matches!(format, Format::Raw | Format::Tasks) {
        recording.add_names(Path::new("/proc/kallsyms"));
    }
}

/// Writes the recording to the destination and in the format of the arguments.
pub(super) fn render(recording: &Recording, output: &OutputArgs, symbols: &SymbolArgs) -> Result<Outcome> {
    let target = Target::new(output.output.as_deref());
    let format = output.format.unwrap_or_else(|| default_format(&target));
    refuse(recording, format, symbols)?;
    if format == Format::Raw {
        target.write(|out| Ok(recording::write(recording, out)?))?;
        return Ok(Outcome::Whole);
    }
    if format == Format::Tasks {
        target.write(|out| trace::write_headings(recording, out))?;
        return Ok(Outcome::Whole);
    }
    with_images(recording, symbols, |found| {
        let Some(found) = found else {
            return render_names(recording, format, &target, symbols);
        };
        match format {
            Format::Lcov | Format::Html => render_coverage(found, format, output, &target),
            Format::Tree | Format::Folded => render_tree(found, format, &target),
            _ => {
                let (symbols, outcome) = symbolise(found)?;
                let recording = select::selected(found.recording, &symbols, found.selection);
                target.write(|out| match format {
                    Format::Functions => functions::write(&recording, &symbols, out),
                    Format::Json => json::write(&recording, Some(&symbols), out),
                    Format::Listing => listing::write(&recording, &symbols, out),
                    _ => trace::write(&recording, Some(&symbols), out),
                })?;
                Ok(outcome)
            }
        }
    })
}

/// Returns an error if the format cannot be written, before the kernel's files are read.
fn refuse(recording: &Recording, format: Format, symbols: &SymbolArgs) -> Result<()> {
    if matches!(format, Format::Raw | Format::Tasks) {
        select::refuse(
            symbols,
            "recordings and lists of tasks have everything; use it with another format",
        )?;
    }
    if format == Format::Changes {
        bail!("the format 'changes' compares two recordings; use 'kcov-trace diff -f changes'");
    }
    if matches!(format, Format::Tree | Format::Folded) {
        tree::refuse_unordered(recording)?;
    }
    Ok(())
}

fn render_tree(found: Found<'_>, format: Format, target: &Target) -> Result<Outcome> {
    let symbols = match found.selection.is_everything() {
        true => Symbolised::default(),
        false => Symbolised::new(found.images, found.recording, found.sources)?,
    };
    let chosen = tree::Chosen {
        selection: found.selection,
        symbols: &symbols,
    };
    target.write(|out| match format {
        Format::Tree => tree::write(found.images, found.recording, chosen, out),
        _ => tree::write_folded(found.images, found.recording, chosen, out),
    })?;
    Ok(found.outcome)
}

/// Writes the recording with the names that it has, if any.
fn render_names(
    recording: &Recording,
    format: Format,
    target: &Target,
    symbols: &SymbolArgs,
) -> Result<Outcome> {
    let names = Symbolised::of_names(recording);
    let recording = select::of_system_calls(recording, None, &symbols.syscall)?;
    let recording = match &names {
        Some(names) => {
            let selection = select::selection(symbols, &Sources::default())?;
            Cow::Owned(select::selected(&recording, names, &selection).into_owned())
        }
        None if symbols.only.is_empty() && symbols.skip.is_empty() => recording,
        None => bail!("{}", needs_vmlinux(&recording, symbols)),
    };
    let recording = &*recording;
    target.write(|out| match (format, &names) {
        (Format::Trace, _) => trace::write(recording, names.as_ref(), out),
        (Format::Json, _) => json::write(recording, names.as_ref(), out),
        (Format::Functions, Some(names)) => functions::write(recording, names, out),
        (Format::Listing, Some(names)) => listing::write(recording, names, out),
        _ => bail!("{}", needs_vmlinux(recording, symbols)),
    })?;
    Ok(Outcome::Whole)
}

pub(super) fn needs_vmlinux(recording: &Recording, symbols: &SymbolArgs) -> String {
    let id = &recording.kernel.build_id;
    let reason = if id.is_empty() {
        "the recording has no build id to search it by".into()
    } else {
        let places = search::places(&recording.kernel, &symbols.symfs).len();
        format!(
            "none with build id {} is in the {places} usual places",
            search::hexadecimal(id)
        )
    };
    format!("this format needs the kernel's symbols, and {reason}: name its vmlinux with --vmlinux")
}

fn render_coverage(
    found: Found<'_>,
    format: Format,
    output: &OutputArgs,
    target: &Target,
) -> Result<Outcome> {
    let Found { images, sources, .. } = found;
    let lcov = format == Format::Lcov;
    let runs = match lcov {
        true => Runs::tests(found.recording),
        false => Runs::finest(found.recording),
    };
    let mut coverage = coverage(images, found.recording, sources, runs, lcov, found.selection)?;
    coverage.unmatched = found.unmatched;
    for module in &coverage.stripped {
        warn(&format!(
            "{module}, so it is left out: name the folder of a whole one with --modules"
        ));
    }
    let newer = newer_sources(&coverage, images, sources);
    if let Some((first, _)) = newer.split_first() {
        warn(&format!(
            "{} sources were changed after the kernel was built, such as {}: lines may be off; check out the sources of the build",
            newer.len(),
            first.display()
        ));
    }
    let options = html::Options {
        all_sources: output.all_sources,
        newer: newer.len(),
    };
    let maintainers = select::maintainers(sources, output.by_maintainer)?;
    let symbols = Symbolised::of_entries(images, found.recording);
    target.write(|out| match format {
        Format::Lcov => lcov::write(&coverage, sources, out),
        _ => html::write(
            &coverage,
            found.recording,
            sources,
            options,
            maintainers.as_ref(),
            &symbols,
            out,
        ),
    })?;
    Ok(found.outcome.partial_if(!coverage.stripped.is_empty()))
}

/// Returns the covered sources that are newer than the kernel and its modules.
fn newer_sources(coverage: &Coverage, images: &Images<'_>, sources: &Sources) -> Vec<PathBuf> {
    let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    let Some(built) = images.list.iter().filter_map(|image| changed(image.path())).max() else {
        return Vec::new();
    };
    coverage
        .files
        .values()
        .filter(|file| file.blocks.covered > 0)
        .map(|file| sources.path(&file.name))
        .filter(|path| changed(path).is_some_and(|time| time > built))
        .collect()
}

/// Writes the comparisons by site, or as [`render`] does if a format was requested.
pub(super) fn render_comparisons(
    recording: &Recording,
    all: bool,
    output: &OutputArgs,
    symbols: &SymbolArgs,
) -> Result<Outcome> {
    let target = Target::new(output.output.as_deref());
    if output.format.is_some() || target != Target::Stdout {
        return render(recording, output, symbols);
    }
    with_symbols(recording, symbols, |recording, symbols| {
        target.write(|out| comparisons::write(recording, symbols, all, out))
    })
}

/// Names the PCs for `work`, as far as that is possible.
pub(super) fn with_symbols(
    recording: &Recording,
    args: &SymbolArgs,
    work: impl FnOnce(&Recording, Option<&Symbolised>) -> Result<()>,
) -> Result<Outcome> {
    with_images(recording, args, |found| {
        let (recording, outcome, symbols) = match found {
            Some(found) => {
                let (symbols, outcome) = symbolise(found)?;
                let recording = select::selected(found.recording, &symbols, found.selection);
                (recording, outcome, Some(symbols))
            }
            None => {
                select::refuse(args, "vmlinux was not found; name it with --vmlinux")?;
                (
                    Cow::Borrowed(recording),
                    Outcome::Whole,
                    Symbolised::of_names(recording),
                )
            }
        };
        work(&recording, symbols.as_ref())?;
        Ok(outcome)
    })
}

/// The files of the kernel, and the recording matched with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'f> {
    pub(super) images: &'f Images<'f>,
    pub(super) sources: &'f Sources,
    /// The recording, with PCs that were mended.
    pub(super) recording: &'f Recording,
    unmatched: usize,
    /// The part of it that the user wants to see.
    pub(super) selection: &'f Selection,
    pub(super) outcome: Outcome,
}

/// Opens `vmlinux` and the modules for `work`, if `vmlinux` was given, and matches the recording
/// with them.
pub(super) fn with_images<T>(
    recording: &Recording,
    symbols: &SymbolArgs,
    work: impl FnOnce(Option<Found<'_>>) -> Result<T>,
) -> Result<T> {
    let searched = || search::vmlinux(&recording.kernel, &symbols.symfs);
    let Some(vmlinux) = symbols.vmlinux.clone().or_else(searched) else {
        return work(None);
    };
    let search = Search {
        vmlinux,
        modules: symbols.modules.clone(),
        root: symbols.symfs.clone(),
    };
    let files = Files::open(&search, &recording.kernel)?;
    let mut warnings = Vec::new();
    let images = Images::read(&files, &recording.kernel, symbols.force, &mut warnings)?;
    let matching = matched(&images, recording)?;
    for warning in warnings.iter().chain(&matching.notes).chain(&matching.missing) {
        warn(warning);
    }
    let sources = Sources::of(&images.list[0], &symbols.source);
    let selection = select::selection(symbols, &sources)?;
    let recording = select::of_system_calls(&matching.recording, Some(&images), &symbols.syscall)?;
    work(Some(Found {
        images: &images,
        sources: &sources,
        recording: &recording,
        selection: &selection,
        unmatched: matching.unmatched,
        outcome: Outcome::Whole.partial_if(matching.partial),
    }))
}

fn symbolise(found: Found<'_>) -> Result<(Symbolised, Outcome)> {
    let vmlinux = &found.images.list[0];
    if !vmlinux.has_dwarf() {
        let missing = vmlinux
            .missing_debug_file()
            .map_or(String::new(), |name| format!("; put {name} next to it for lines"));
        warn(&format!(
            "{} has no debug information: functions come from its symbol table, lines are not known{missing}",
            vmlinux.path().display()
        ));
    }
    let symbols = Symbolised::new(found.images, found.recording, found.sources)?;
    let mut outcome = found.outcome;
    for image in &found.images.list {
        let missing = image.missing_split();
        if let Some(first) = missing.first() {
            let path = image.path().display();
            warn(&format!(
                "inlined functions are not known: {} files with debug information that was split from {path} were not found, such as {}; keep the build folder, or make {path}.dwp with dwp",
                missing.len(),
                first.display()
            ));
            outcome = Outcome::Partial;
        }
    }
    Ok((symbols, outcome))
}

fn default_format(target: &Target) -> Format {
    let Target::File(path) = target else {
        return Format::Trace;
    };
    match path.extension().and_then(|end| end.to_str()) {
        Some("html") => Format::Html,
        Some("info") => Format::Lcov,
        Some("json" | "jsonl") => Format::Json,
        Some("folded") => Format::Folded,
        _ => Format::Raw,
    }
}

/// Prints a warning to the user.
pub(super) fn warn(message: &str) {
    // If standard error is closed, the warning cannot be printed.
    let _ = writeln!(std::io::stderr(), "kcov-trace: warning: {message}");
}

/// Returns an error if a recording clearly cannot be written to the path. Called before the work is
/// done.
pub(super) fn check_output(output: Option<&Path>) -> Result<()> {
    let Target::File(path) = Target::new(output) else {
        return Ok(());
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if path.is_dir() {
        bail!(
            "{} cannot be written: it is a folder; name a file",
            path.display()
        );
    }
    if !folder.is_dir() {
        bail!(
            "{} cannot be written: {} is not a folder",
            path.display(),
            folder.display()
        );
    }
    let place = if path.exists() && !path.is_file() {
        path.as_path()
    } else {
        folder
    };
    if let Err(error) = rustix::fs::access(place, Access::WRITE_OK) {
        bail!(
            "{} cannot be written: {}: {error}",
            path.display(),
            place.display()
        );
    }
    Ok(())
}
