// SPDX-License-Identifier: GPL-2.0
//! Runs a command and prints the PCs of the kernel's work for it in kernel threads and softirqs,
//! each PC once. Requires CONFIG_KCOV_RUST.

use std::io::Write;
use std::process::Command;

use kcov::{CommonHandle, Device, RemoteHandles};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().unwrap_or_else(|| "true".into());

    let device = Device::open()?;
    // The set has a bit for each address in the kernel's code; the trace follows the set.
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
