// SPDX-License-Identifier: GPL-2.0
//! Prints the PCs of one system call.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    let mut kcov = kcov::Device::open()?.with_buffer(64 << 10)?;
    let collection = kcov.collect_pcs()?;
    let _ = std::fs::metadata("/");
    let pcs = collection.stop()?;
    for pc in &pcs {
        writeln!(out, "{pc:#x}")?;
    }
    if pcs.overflowed() {
        eprintln!("the buffer was too small: later PCs are missing");
    }
    Ok(())
}
