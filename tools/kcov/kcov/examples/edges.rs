// SPDX-License-Identifier: GPL-2.0
//! Prints the edges of a few system calls. Requires CONFIG_KCOV_RUST.

use std::io::Write;

use kcov::Device;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut kcov = Device::open()?.with_buffer(64 << 10)?;
    let collection = kcov.collect_edges(4096)?;
    let version = std::fs::read("/proc/version")?;
    let edges = collection.stop()?;

    let mut out = std::io::stdout().lock();
    for edge in edges.iter() {
        writeln!(
            out,
            "{:#x} {:#x} signal {:#x}",
            edge.previous,
            edge.pc,
            edge.signal()
        )?;
    }
    eprintln!("{} bytes: {} edges", version.len(), edges.len());
    Ok(())
}
