// SPDX-License-Identifier: GPL-2.0
//! Traces a command, and shows its comparisons.

use std::ffi::OsString;

use anyhow::{Result, anyhow, bail};

use super::merge::read_all;
use super::render::{add_names, check_output, render, render_comparisons, warn};
use crate::cli::{CmpArgs, CollectArgs, TraceArgs};
use crate::recording::{Kernel, Recording, Task};
use crate::tracer;

pub(super) fn trace(args: &TraceArgs) -> Result<i32> {
    check_output(args.output.output.as_deref())?;
    let mode = match (args.unique, args.edges) {
        (true, _) => tracer::Mode::UniquePcs,
        (_, true) => tracer::Mode::Edges,
        _ => tracer::Mode::Pcs,
    };
    let (status, mut recording) = record(&args.command, &args.collect, mode)?;
    add_names(&mut recording, args.collect.names, &args.output, &args.symbols);
    render(&recording, &args.output, &args.symbols)?;
    Ok(status)
}

pub(super) fn cmp(args: &CmpArgs) -> Result<i32> {
    check_output(args.output.output.as_deref())?;
    let (status, recording) = if args.command.is_empty() {
        let recording = read_all(&args.recordings)?;
        if recording.comparisons().next().is_none() && recording.pcs().next().is_some() {
            bail!("the recording holds PCs, not comparisons; record with 'cmp', or look at it with 'report'");
        }
        (None, recording)
    } else {
        let (status, mut recording) = record(&args.command, &args.collect, tracer::Mode::Comparisons)?;
        add_names(&mut recording, args.collect.names, &args.output, &args.symbols);
        (Some(status), recording)
    };
    let outcome = render_comparisons(&recording, args.all, &args.output, &args.symbols)?;
    Ok(status.unwrap_or_else(|| outcome.status()))
}

fn record(command: &[OsString], collect: &CollectArgs, mode: tracer::Mode) -> Result<(i32, Recording)> {
    let mut kernel = Kernel::running();
    let options = tracer::Options {
        mode,
        words: collect.buffer,
        each_system_call: collect.each_syscall,
    };
    let outcome = tracer::run(command, &options).map_err(|error| match error {
        tracer::Error::Kcov(kcov::Error::NoDivision) if mode == tracer::Mode::Edges => no_edges(),
        tracer::Error::Kcov(kcov::Error::NoDivision) => no_unique(),
        other => other.into(),
    })?;
    // The command may have loaded modules.
    kernel.add_modules_of(Kernel::running());
    note_problems(&outcome.tasks);
    let recording = Recording {
        kernel,
        command: command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        tasks: outcome.tasks,
        names: Vec::new(),
    };
    Ok((outcome.status, recording))
}

/// Returns the error for a kernel that cannot record each PC once, with the remedy.
pub(super) fn no_unique() -> anyhow::Error {
    anyhow!(
        "this kernel cannot record each PC once: boot one built with CONFIG_KCOV_RUST and CONFIG_KCOV_UNIQUE, or leave --unique out and put the recording through 'kcov-trace merge --unique'"
    )
}

/// Returns the error for a kernel that cannot record each edge once, with the remedy.
pub(super) fn no_edges() -> anyhow::Error {
    anyhow!(
        "this kernel cannot record each edge once: boot one with KCOV_EDGE_ENABLE, built with CONFIG_KCOV_RUST and CONFIG_KCOV_UNIQUE, or leave --edges out and record PCs in order"
    )
}

/// Prints the tasks that lack records, with the reasons.
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
