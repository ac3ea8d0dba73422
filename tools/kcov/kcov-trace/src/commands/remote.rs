// SPDX-License-Identifier: GPL-2.0
//! Collecting sections that other tasks run.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use kcov::{Cmp, CommonHandle, Device, Mode, Pc, RemoteHandles, UsbBus};

use super::render::{check_output, render, render_comparisons, warn};
use crate::cli::RemoteArgs;
use crate::recording::{Kernel, Recording, Records, Task};
use crate::signals::{self, Catching};
use crate::tracer;

pub(super) fn remote(args: &RemoteArgs) -> Result<i32> {
    check_output(args.output.output.as_deref())?;
    if args.seconds.is_some_and(|seconds| !(0.0..1e9).contains(&seconds)) {
        bail!("--seconds wants a number from 0 on");
    }
    let mut handles = RemoteHandles::new(args.section_words);
    for bus in &args.usb {
        handles = handles.usb(UsbBus(*bus))?;
    }
    if let Some(handle) = args.common.and_then(CommonHandle::new) {
        handles = handles.common(handle);
    }
    if handles.is_empty() {
        bail!("there is nothing to collect: name a USB bus with --usb or a handle with --common");
    }
    let mut kernel = Kernel::running();
    let (status, records, overflowed) = if args.comparisons {
        let (status, records, overflowed) = collect::<Cmp>(args, &handles)?;
        (status, Records::Comparisons(records), overflowed)
    } else {
        let (status, records, overflowed) = collect::<Pc>(args, &handles)?;
        (status, Records::Pcs(records), overflowed)
    };
    kernel.add_modules_of(Kernel::running());
    if overflowed {
        warn("the buffer was full and records are missing: take a larger one with --buffer");
    }
    let recording = Recording {
        kernel,
        command: args
            .command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        tasks: vec![Task {
            tid: 0,
            parent: 0,
            name: format!("{} remote handles", handles.len()),
            overflowed,
            problem: None,
            records,
        }],
    };
    if args.comparisons {
        render_comparisons(&recording, false, &args.output, &args.symbols)?;
    } else {
        render(&recording, &args.output, &args.symbols)?;
    }
    Ok(status)
}

/// Collects until the command or the time is over.
fn collect<M: Mode>(args: &RemoteArgs, handles: &RemoteHandles) -> Result<(i32, Vec<M::Record>, bool)> {
    let mut kcov = Device::open()?.with_buffer(args.collect.buffer)?;
    // Signals end the collection, not the program.
    let catching = Catching::start();
    // The command inherits the common handle from the task that attaches it: this one.
    let collection = kcov.collect_remote::<M>(handles)?;
    let status =
        match args.command.split_first() {
            Some((program, arguments)) => {
                let status = Command::new(program).args(arguments).status().map_err(|cause| {
                    tracer::Error::Command {
                        command: program.clone(),
                        cause,
                    }
                })?;
                status
                    .code()
                    .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
            }
            None => {
                wait(args.seconds.map(Duration::from_secs_f64));
                0
            }
        };
    drop(catching);
    let records = collection.stop()?;
    Ok((status, records.iter().collect(), records.overflowed()))
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
        // Short, since a signal may come just before the sleep.
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}
