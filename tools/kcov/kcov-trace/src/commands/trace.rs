// SPDX-License-Identifier: GPL-2.0
//! Tracing a command, and showing its comparisons.

use std::ffi::OsString;

use anyhow::Result;

use super::merge::read_all;
use super::render::{check_output, render, render_comparisons, warn};
use crate::cli::{CmpArgs, CollectArgs, TraceArgs};
use crate::recording::{Kernel, Recording, Task};
use crate::tracer;

pub(super) fn trace(args: &TraceArgs) -> Result<i32> {
    check_output(args.output.output.as_deref())?;
    let (status, recording) = record(&args.command, &args.collect, false)?;
    render(&recording, &args.output, &args.symbols)?;
    Ok(status)
}

pub(super) fn cmp(args: &CmpArgs) -> Result<i32> {
    check_output(args.output.output.as_deref())?;
    let (status, recording) = if args.command.is_empty() {
        (0, read_all(&args.recordings)?)
    } else {
        record(&args.command, &args.collect, true)?
    };
    render_comparisons(&recording, args.all, &args.output, &args.symbols)?;
    Ok(status)
}

fn record(command: &[OsString], collect: &CollectArgs, comparisons: bool) -> Result<(i32, Recording)> {
    let mut kernel = Kernel::running();
    let options = tracer::Options {
        comparisons,
        words: collect.buffer,
        each_system_call: collect.each_syscall,
    };
    let outcome = tracer::run(command, &options)?;
    // Modules may have been loaded by the command.
    kernel.add_modules_of(Kernel::running());
    note_problems(&outcome.tasks);
    let recording = Recording {
        kernel,
        command: command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        tasks: outcome.tasks,
    };
    Ok((outcome.status, recording))
}

/// Tells which tasks lack records, and why.
pub(super) fn note_problems(tasks: &[Task]) {
    for task in tasks {
        let who = format!("task {} ({})", task.tid, task.name);
        if let Some(problem) = &task.problem {
            warn(&format!("{who} was not traced: {problem}"));
        }
        if task.overflowed {
            warn(&format!(
                "the buffer of {who} was full and records are missing: take a larger one with --buffer, or --each-syscall"
            ));
        }
    }
}
