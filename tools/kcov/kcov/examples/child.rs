// SPDX-License-Identifier: GPL-2.0
//! Runs a command and prints the number of PCs that its first thread covered. This program sets the
//! collection up, and the child starts it.
#![expect(
    unsafe_code,
    reason = "pre_exec is unsafe: what runs there must be safe after fork"
)]

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().unwrap_or_else(|| "true".into());

    let mut kcov = kcov::Device::open()?.with_buffer(1 << 20)?;
    let start = kcov.child_start::<kcov::Pc>()?;
    let mut command = Command::new(program);
    // SAFETY: `start` is one system call and accesses nothing that a lock of another thread might
    // protect.
    unsafe { command.args(arguments).pre_exec(move || start.start()) };
    let status = command.status()?;

    let pcs = kcov.records::<kcov::Pc>();
    let blocks: BTreeSet<u64> = pcs.iter().collect();
    println!("{status}: {} PCs, {} blocks", pcs.len(), blocks.len());
    Ok(())
}
