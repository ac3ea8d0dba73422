// SPDX-License-Identifier: GPL-2.0
//! Prints the kernel code that runs for this process, but outside its system calls.
//!
//! Collects from the work of USB bus 1 and from all work that the kernel does elsewhere under the
//! common handle of this process. The command in the arguments causes that work. Without a command,
//! the program waits two seconds, long enough to plug in a device. Prints one PC per line.

use std::error::Error;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use kcov::{CommonHandle, Pc, RemoteHandles, UsbBus};

const BUFFER_WORDS: usize = 64 << 10;
/// The number of words that one section in a task may record before it is merged.
const AREA_WORDS: u32 = 64 << 10;
const USB_BUS: u32 = 1;

fn make_work() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        std::thread::sleep(Duration::from_secs(2));
        return Ok(());
    };
    // The child inherits the common handle of its parent. Standard output is reserved for the PCs.
    let status = Command::new(&program)
        .args(arguments)
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .map_err(|error| format!("cannot run {}: {error}", program.to_string_lossy()))?;
    if !status.success() {
        return Err(format!("{} failed: {status}", program.to_string_lossy()).into());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    // The process id is never 0, and no other process has it.
    let common = CommonHandle::new(std::process::id()).ok_or("the process has no id")?;
    let handles = RemoteHandles::new(AREA_WORDS)
        .common(common)
        .usb(UsbBus(USB_BUS))?;
    let mut kcov = kcov::Device::open()?.with_buffer(BUFFER_WORDS)?;

    let collection = kcov.collect_remote::<Pc>(&handles)?;
    make_work()?;
    // After this call, no section is merged any more.
    let pcs = collection.stop()?;

    // An empty result is valid: the handles saw no work.
    let mut out = std::io::stdout().lock();
    for pc in &pcs {
        writeln!(out, "{pc:#x}")?;
    }
    Ok(())
}
