// SPDX-License-Identifier: GPL-2.0
//! The report for users: one HTML file with the tree of folders and files, and the source with
//! coloured lines.
//!
//! The file loads nothing else. The tree is plain HTML. The source of a file is compressed inside
//! the page and unpacked when the user opens it, so the page of a whole kernel stays small and
//! quick.

mod markup;
mod sources;
mod tree;

use std::io::Write;

use anyhow::Result;

use crate::calls::{self, Segment};
use crate::coverage::{Blocks, Coverage};
use crate::maintainers::Maintainers;
use crate::recording::{Recording, Task};
use crate::sources::Sources;
use crate::symbolised::Symbolised;
use markup::Markup;

/// Options of the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Include the source of files without any coverage. Default: no.
    pub all_sources: bool,
    /// The number of sources that were changed after the build.
    pub newer: usize,
}

/// The number of system calls that a page lists at most.
const CALLS: usize = 1000;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Writes the report; with `maintainers`, files are grouped by its entries. `symbols` may name the
/// functions that system calls begin with.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(
    coverage: &Coverage,
    recording: &Recording,
    sources: &Sources,
    options: Options,
    maintainers: Option<&Maintainers>,
    symbols: &Symbolised,
    out: &mut dyn Write,
) -> Result<()> {
    let packed = sources::pack(coverage, sources, options)?;
    let mut page = Markup::new(out);
    page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")?;
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")?;
    // Makes the browser enforce that the page loads nothing from elsewhere.
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ")?;
    page.raw("style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n")?;
    page.raw("<title>Kernel coverage</title>\n<style>\n")?
        .raw(STYLE)?
        .raw("</style>\n</head>\n<body>\n")?;
    header(
        &mut page,
        coverage,
        recording,
        symbols,
        [packed.missing, options.newer],
    )?;
    page.raw("<div id=\"panes\">\n<nav aria-label=\"Files\">\n<div id=\"controls\">")?;
    page.raw(
        "<input id=\"filter\" type=\"search\" placeholder=\"Filter files\" aria-label=\"Filter files\">",
    )?;
    page.raw("<label><input id=\"only\" type=\"checkbox\"> covered only</label></div>\n")?;
    tree::write(&mut page, coverage, &packed, maintainers)?;
    page.raw(
        "</nav>\n<main id=\"view\" tabindex=\"-1\">\n<p class=\"hint\">Choose a file to see its source. ",
    )?;
    page.raw("The numbers are blocks of the program: covered / instrumented.</p>\n")?;
    legend(&mut page)?;
    page.raw("<noscript><p>The sources are shown by a script, which is turned off here.</p></noscript>\n")?;
    page.raw("</main>\n</div>\n")?;
    for (i, (_, data)) in packed.files.iter().enumerate() {
        page.raw("<script type=\"text/plain\" id=\"s")?
            .number(i)?
            .raw("\">")?
            .text(data)?
            .raw("</script>\n")?;
    }
    page.raw("<script type=\"text/plain\" id=\"runs\">")?
        .text(&sources::encode(&coverage.runs.as_slice().into())?)?
        .raw("</script>\n")?;
    page.raw("<script>\n")?
        .raw(SCRIPT)?
        .raw("</script>\n</body>\n</html>\n")?;
    Ok(())
}

fn header(
    page: &mut Markup<'_>,
    coverage: &Coverage,
    recording: &Recording,
    symbols: &Symbolised,
    [missing, newer]: [usize; 2],
) -> Result<()> {
    let kernel = &recording.kernel;
    page.raw("<header>\n<h1>Kernel coverage</h1>\n<dl>\n")?;
    page.raw("<div><dt>Blocks</dt><dd>")?;
    fraction(page, coverage.blocks)?;
    page.raw("</dd></div>\n<div><dt>Files</dt><dd>")?;
    let covered = coverage
        .files
        .values()
        .filter(|file| file.blocks.covered > 0)
        .count();
    page.number(covered)?.raw(" / ")?.number(coverage.files.len())?;
    page.raw("</dd></div>\n<div><dt>Functions</dt><dd>")?;
    let functions = || coverage.files.values().flat_map(|file| &file.functions);
    page.number(functions().filter(|function| function.blocks.covered > 0).count())?;
    page.raw(" / ")?
        .number(functions().count())?
        .raw("</dd></div>\n")?;
    if !kernel.release.is_empty() {
        page.raw("<div><dt>Kernel</dt><dd>")?
            .text(&kernel.release)?
            .raw(" ")?;
        page.text(&kernel.machine)?.raw("</dd></div>\n")?;
    }
    if !recording.command.is_empty() {
        page.raw("<div><dt>Command</dt><dd><code>")?
            .text(&recording.command.join(" "))?;
        page.raw("</code></dd></div>\n")?;
    }
    page.raw("<div><dt>Tasks</dt><dd>")?
        .number(recording.tasks.len())?
        .raw("</dd></div>\n</dl>\n")?;
    system_calls(page, recording, symbols)?;
    for note in notes(coverage, &recording.tasks, missing, newer) {
        page.raw("<p class=\"note\">")?.text(&note)?.raw("</p>\n")?;
    }
    page.raw("</header>\n")?;
    Ok(())
}

/// Writes the system calls of all tasks, up to a number.
fn system_calls(page: &mut Markup<'_>, recording: &Recording, symbols: &Symbolised) -> Result<()> {
    let tasks = recording.tasks.iter();
    let all: Vec<(u32, Segment<'_>)> = tasks
        .flat_map(|task| {
            calls::named(task, Some(symbols))
                .into_iter()
                .map(|call| (task.tid, call))
        })
        .filter(|(_, call)| call.name.is_some())
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    page.raw("<details id=\"calls\"><summary>")?
        .number(all.len())?
        .raw(" system calls</summary>\n<ol>\n")?;
    for (tid, call) in all.iter().take(CALLS) {
        page.raw("<li><code>")?
            .text(&format!("[{tid}] {}", call.heading()))?
            .raw("</code>, ")?
            .number(call.records.len())?
            .raw(" records</li>\n")?;
    }
    page.raw("</ol>\n")?;
    if all.len() > CALLS {
        page.raw("<p>The others are left out.</p>\n")?;
    }
    page.raw("</details>\n")?;
    Ok(())
}

/// Returns the facts that a reader must know before trusting the numbers.
fn notes(coverage: &Coverage, tasks: &[Task], missing: usize, newer: usize) -> Vec<String> {
    let overflowed = tasks.iter().filter(|task| task.overflowed).count();
    let untraced = tasks.iter().filter(|task| task.problem.is_some()).count();
    let mut notes = Vec::new();
    if overflowed > 0 {
        notes.push(format!(
            "The buffers of {overflowed} tasks were full: more was covered than is shown."
        ));
    }
    if untraced > 0 {
        notes.push(format!(
            "{untraced} tasks could not be traced: more was covered than is shown."
        ));
    }
    if coverage.unmatched > 0 {
        notes.push(format!(
            "{} recorded PCs belong to no code that is known here.",
            coverage.unmatched
        ));
    }
    if newer > 0 {
        notes.push(format!(
            "{newer} sources were changed after the kernel was built: lines may be off."
        ));
    }
    if missing > 0 {
        notes.push(format!(
            "The source of {missing} covered files was not found; their numbers are shown anyway."
        ));
    }
    notes
}

fn legend(page: &mut Markup<'_>) -> Result<()> {
    page.raw("<p class=\"legend\"><span class=\"covered\">covered</span> <span class=\"partly\">partly covered</span> ")?;
    page.raw("<span class=\"uncovered\">not covered</span> <span>not instrumented</span></p>\n")?;
    Ok(())
}

/// Writes a fraction such as `12 / 345 (3.5 %)`.
fn fraction(page: &mut Markup<'_>, blocks: Blocks) -> Result<()> {
    page.number(blocks.covered)?
        .raw(" / ")?
        .number(blocks.instrumented)?;
    page.raw(" (")?.text(&percent(blocks))?.raw(")")?;
    Ok(())
}

/// Returns the share for display. A share above 0 is never shown as 0 %, and a share below 100 %
/// never as 100 %.
fn percent(blocks: Blocks) -> String {
    let tenths = (blocks.percent() * 10.0).round() / 10.0;
    let shown = match blocks {
        Blocks { covered: 0, .. } => return "0 %".into(),
        Blocks {
            covered,
            instrumented,
        } if covered == instrumented => return "100 %".into(),
        _ => tenths.clamp(0.1, 99.9),
    };
    format!("{shown:.1} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_but_never_to_nothing_or_all() {
        let percent = |covered, instrumented| {
            super::percent(Blocks {
                covered,
                instrumented,
            })
        };
        assert_eq!(percent(0, 10), "0 %");
        assert_eq!(percent(1, 100_000), "0.1 %");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(99_999, 100_000), "99.9 %");
        assert_eq!(percent(7, 7), "100 %");
    }
}
