// SPDX-License-Identifier: GPL-2.0
//! Runs a command and prints what the kernel did for it elsewhere, in kernel threads and softirqs: each PC once, however
//! often it ran. Wants a kernel with KCOV in Rust.

use std::io::Write;
use std::process::Command;

use kcov::{CommonHandle, Device, RemoteHandles};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().unwrap_or_else(|| "true".into());

    let device = Device::open()?;
    // A bit for each place in the kernel's code; the trace is behind that.
    let set = device.set_words()?;
    let mut kcov = device.with_buffer(set + (64 << 10))?;
    // No other process has this number, and children inherit the handle.
    let handle = CommonHandle::new(std::process::id()).ok_or("no handle")?;
    let collection = kcov.collect_remote_unique(&RemoteHandles::new(64 << 10).common(handle), set)?;
    let status = Command::new(program).args(arguments).status()?;
    let pcs = collection.stop()?;

    let mut out = std::io::stdout().lock();
    for pc in &pcs {
        writeln!(out, "{pc:#x}")?;
    }
    eprintln!("{status}: {} PCs", pcs.len());
    Ok(())
}
