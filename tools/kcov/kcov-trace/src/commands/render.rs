// SPDX-License-Identifier: GPL-2.0
//! Writes a recording in the requested format.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use rustix::fs::Access;

use crate::cli::{Format, OutputArgs, SymbolArgs};
use crate::coverage::coverage;
use crate::images::{Files, Images, Search};
use crate::output::{Target, comparisons, functions, html, json, lcov, listing, trace};
use crate::recording::{self, Recording};
use crate::sources::Sources;
use crate::symbolised::Symbolised;

/// Writes the recording to the destination and in the format of the arguments.
pub(super) fn render(recording: &Recording, output: &OutputArgs, symbols: &SymbolArgs) -> Result<()> {
    let target = Target::new(output.output.as_deref());
    let format = output.format.unwrap_or_else(|| default_format(&target));
    if format == Format::Raw {
        return target.write(|out| Ok(recording::write(recording, out)?));
    }
    if format == Format::Tasks {
        return target.write(|out| trace::write_headings(recording, out));
    }
    with_images(recording, symbols, |images| match (images, format) {
        (None, Format::Trace) => target.write(|out| trace::write(recording, None, out)),
        (None, Format::Json) => target.write(|out| json::write(recording, None, out)),
        (None, _) => bail!("this format needs the kernel's symbols: name its vmlinux with --vmlinux"),
        (Some((images, sources)), Format::Lcov | Format::Html) => {
            let coverage = coverage(images, recording, sources)?;
            note_unmatched(coverage.unmatched);
            for module in &coverage.stripped {
                warn(&format!(
                    "{module} has no debug information, so it is left out: name the folder of one that has with --modules"
                ));
            }
            let options = html::Options {
                all_sources: output.all_sources,
            };
            match format {
                Format::Lcov => target.write(|out| lcov::write(&coverage, sources, out)),
                _ => target.write(|out| html::write(&coverage, recording, sources, options, out)),
            }
        }
        (Some((images, sources)), _) => {
            let symbols = symbolise(images, recording, sources)?;
            note_unmatched(symbols.unknown(recording));
            target.write(|out| match format {
                Format::Functions => functions::write(recording, &symbols, out),
                Format::Json => json::write(recording, Some(&symbols), out),
                Format::Listing => listing::write(recording, &symbols, out),
                _ => trace::write(recording, Some(&symbols), out),
            })
        }
    })
}

/// Writes the comparisons by site, or as [`render`] does if a format was requested.
pub(super) fn render_comparisons(
    recording: &Recording,
    all: bool,
    output: &OutputArgs,
    symbols: &SymbolArgs,
) -> Result<()> {
    let target = Target::new(output.output.as_deref());
    if output.format.is_some() || target != Target::Stdout {
        return render(recording, output, symbols);
    }
    with_images(recording, symbols, |images| {
        let symbols = match images {
            Some((images, sources)) => Some(symbolise(images, recording, sources)?),
            None => None,
        };
        target.write(|out| comparisons::write(recording, symbols.as_ref(), all, out))
    })
}

/// Opens `vmlinux` and the modules for `work`, if `vmlinux` was given.
pub(super) fn with_images<T>(
    recording: &Recording,
    symbols: &SymbolArgs,
    work: impl FnOnce(Option<(&Images<'_>, &Sources)>) -> Result<T>,
) -> Result<T> {
    let Some(vmlinux) = &symbols.vmlinux else {
        return work(None);
    };
    let search = Search {
        vmlinux: vmlinux.clone(),
        modules: symbols.modules.clone(),
    };
    let files = Files::open(&search, &recording.kernel)?;
    let mut warnings = Vec::new();
    let images = Images::read(&files, &recording.kernel, symbols.force, &mut warnings)?;
    for warning in files.warnings.iter().chain(&warnings) {
        warn(warning);
    }
    let sources = Sources::of(&images.list[0], symbols.source.as_deref());
    work(Some((&images, &sources)))
}

fn symbolise(images: &Images<'_>, recording: &Recording, sources: &Sources) -> Result<Symbolised> {
    let vmlinux = &images.list[0];
    if !vmlinux.has_dwarf() {
        warn(&format!(
            "{} has no debug information: functions come from its symbol table, lines are not known",
            vmlinux.path().display()
        ));
    }
    Symbolised::new(images, recording, sources)
}

fn default_format(target: &Target) -> Format {
    let Target::File(path) = target else {
        return Format::Trace;
    };
    match path.extension().and_then(|end| end.to_str()) {
        Some("html") => Format::Html,
        Some("info") => Format::Lcov,
        Some("json" | "jsonl") => Format::Json,
        _ => Format::Raw,
    }
}

fn note_unmatched(count: usize) {
    if count > 0 {
        warn(&format!(
            "{count} different PCs belong to no code that is known here"
        ));
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
