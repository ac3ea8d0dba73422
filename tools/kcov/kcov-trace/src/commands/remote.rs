// SPDX-License-Identifier: GPL-2.0
//! Collects sections that other tasks run.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use kcov::{Cmp, CommonHandle, Device, Edge, Error, Mode, Pc, RemoteHandles, UsbBus};

use super::render::{add_names, check_output, render, render_comparisons, warn};
use super::trace::{no_edges, no_unique};
use crate::cli::RemoteArgs;
use crate::recording::{Kernel, Recording, Records, Task};
use crate::signals::{self, Catching};
use crate::tracer;

/// The pause between two checks for events. Short, because a signal may come just before the pause.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn remote(args: &RemoteArgs) -> Result<i32> {
    check_output(args.output.output.as_deref())?;
    if args.seconds.is_some_and(|seconds| !(0.0..1e9).contains(&seconds)) {
        bail!("--seconds needs a number that is not negative");
    }
    let mut handles = RemoteHandles::new(args.section_words);
    // If a bus were named twice, the kernel would report that it is in use.
    for bus in args.usb.iter().collect::<BTreeSet<_>>() {
        handles = handles.usb(UsbBus(*bus))?;
    }
    if let Some(handle) = args.common.and_then(CommonHandle::new) {
        handles = handles.common(handle);
    }
    if handles.is_empty() {
        bail!("there is nothing to collect: name a USB bus with --usb or a handle with --common");
    }
    if args.common.is_some() && args.command.is_empty() {
        bail!(
            "--common needs a command, because only a command that kcov-trace starts inherits the handle: add `-- COMMAND`"
        );
    }
    let mut kernel = Kernel::running();
    let (status, records, overflowed) = collect_records(args, &handles)?;
    kernel.add_modules_of(Kernel::running());
    if overflowed {
        warn("the buffer was full and records are missing: take a larger one with --buffer");
    }
    let mut recording = Recording {
        kernel,
        command: args
            .command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        tasks: vec![Task {
            name: match handles.len() {
                1 => "1 remote handle".into(),
                count => format!("{count} remote handles"),
            },
            overflowed,
            unique: args.unique || args.edges,
            records,
            ..Task::default()
        }],
        names: Vec::new(),
    };
    add_names(&mut recording, args.collect.names, &args.output, &args.symbols);
    if args.comparisons {
        render_comparisons(&recording, false, &args.output, &args.symbols)?;
    } else {
        render(&recording, &args.output, &args.symbols)?;
    }
    Ok(status)
}

/// Collects the records that the arguments ask for. Returns the status, the records, and whether some
/// are missing.
fn collect_records(args: &RemoteArgs, handles: &RemoteHandles) -> Result<(i32, Records, bool)> {
    Ok(if args.comparisons {
        let (status, records, overflowed) = collect::<Cmp>(args, handles)?;
        (status, Records::Comparisons(records), overflowed)
    } else if args.unique {
        let (status, records, overflowed) = collect_unique(args, handles)?;
        (status, Records::Pcs(records), overflowed)
    } else if args.edges {
        let (status, records, overflowed) = collect_edges(args, handles)?;
        (status, Records::Edges(records), overflowed)
    } else {
        let (status, records, overflowed) = collect::<Pc>(args, handles)?;
        (status, Records::Pcs(records), overflowed)
    })
}

/// Collects until the command or the time has ended. Returns the status, the records, and whether
/// some are missing.
fn collect<M: Mode>(args: &RemoteArgs, handles: &RemoteHandles) -> Result<(i32, Vec<M::Record>, bool)> {
    let mut kcov = Device::open()?.with_buffer(args.collect.buffer)?;
    // The command inherits the common handle from this task, which attaches it.
    let collection = kcov.collect_remote::<M>(handles)?;
    let status = work(args)?;
    let records = collection.stop()?;
    Ok((status, records.iter().collect(), records.overflowed()))
}

/// Does the same as [`collect`], with each PC once.
fn collect_unique(args: &RemoteArgs, handles: &RemoteHandles) -> Result<(i32, Vec<u64>, bool)> {
    let told = |error| match error {
        Error::NoDivision => no_unique(),
        other => other.into(),
    };
    let device = Device::open()?;
    let set = device.set_words().map_err(told)?;
    let mut kcov = device.with_buffer(set + args.collect.buffer)?;
    let collection = kcov.collect_remote_unique(handles, set).map_err(told)?;
    let status = work(args)?;
    let records = collection.stop()?;
    // A set of this size has no bits for modules.
    let mut seen = HashSet::new();
    let once = records.iter().filter(|pc| seen.insert(*pc)).collect();
    Ok((status, once, records.overflowed()))
}

/// Does the same as [`collect`], with each edge once.
fn collect_edges(args: &RemoteArgs, handles: &RemoteHandles) -> Result<(i32, Vec<Edge>, bool)> {
    let mut kcov = Device::open()?.with_buffer(args.collect.buffer)?;
    let table = kcov::edge_table(args.collect.buffer);
    let collection = kcov
        .collect_remote_edges(handles, table)
        .map_err(|error| match error {
            Error::NoDivision => no_edges(),
            other => other.into(),
        })?;
    let status = work(args)?;
    let edges = collection.stop()?;
    // The table forgets edges that were recorded long ago.
    let mut seen = HashSet::new();
    let once = edges.iter().filter(|edge| seen.insert(*edge)).collect();
    Ok((status, once, edges.overflowed()))
}

/// Runs the command, or waits for the time to pass; returns the status.
fn work(args: &RemoteArgs) -> Result<i32> {
    let Some((program, arguments)) = args.command.split_first() else {
        // Signals end the collection, not this program.
        let _catching = Catching::start();
        wait(args.seconds.map(Duration::from_secs_f64));
        return Ok(0);
    };
    // Starts before signals are caught, so that the command ignores the signals that this program
    // was told to ignore.
    let mut child =
        Command::new(program)
            .args(arguments)
            .spawn()
            .map_err(|cause| tracer::Error::Command {
                command: program.clone(),
                cause,
            })?;
    let _catching = Catching::start();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        match signals::take_caught() {
            None => thread::sleep(PAUSE),
            Some(signal) => signal.pass_on(child.id() as i32),
        }
    };
    Ok(status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// Sleeps until the time is over or a signal comes.
fn wait(time: Option<Duration>) {
    let until = time.map(|time| std::time::Instant::now() + time);
    loop {
        let left = match until {
            Some(until) => until.saturating_duration_since(std::time::Instant::now()),
            None => Duration::from_secs(1),
        };
        if left.is_zero() || signals::take_caught().is_some() {
            return;
        }
        thread::sleep(left.min(PAUSE));
    }
}
