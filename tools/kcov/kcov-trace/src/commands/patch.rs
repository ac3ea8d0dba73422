// SPDX-License-Identifier: GPL-2.0
//! Reports the coverage of a patch.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::render::{needs_vmlinux, warn, with_images};
use crate::cli::{Format, ReportArgs};
use crate::output::{Target, patch as output};
use crate::patch::{Summary, judge, parse};
use crate::recording::Recording;

/// The exit status if the covered share is too small.
const BELOW: i32 = 3;

pub(super) fn report(args: &ReportArgs, patch: &Path, recording: &Recording) -> Result<i32> {
    let target = Target::new(args.output.output.as_deref());
    let json = match (args.output.format, &target) {
        (Some(Format::Json), _) => true,
        (None, Target::File(path)) => path
            .extension()
            .is_some_and(|end| end == "json" || end == "jsonl"),
        (None, _) => false,
        (Some(_), _) => bail!("the coverage of a patch is text or JSON; ask for '-f json', or for no format"),
    };
    let text = fs::read(patch).with_context(|| format!("{} cannot be read", patch.display()))?;
    let changed = parse(patch, &String::from_utf8_lossy(&text))?;
    if recording.tasks.iter().any(|task| task.overflowed) {
        warn("records are missing, so lines that are shown as not covered may have run");
    }
    with_images(recording, &args.symbols, |found| {
        let Some(found) = found else {
            bail!("{}", needs_vmlinux(recording, &args.symbols));
        };
        let files = judge(found.images, found.recording, found.sources, &changed)?;
        let summary = Summary::of(&files);
        target.write(|out| match json {
            true => output::write_json(&files, out),
            false => output::write(&files, out),
        })?;
        match args.fail_under {
            Some(least) if summary.is_below(least) => {
                warn(&format!(
                    "the patch is covered less than {least} %: {}",
                    output::summary(summary)
                ));
                Ok(BELOW)
            }
            _ => Ok(found.outcome.status()),
        }
    })
}
