// SPDX-License-Identifier: GPL-2.0
//! Prints the kernel code that runs for one read(2) that fails.
//!
//! The output is one PC per line and nothing else, so that it can be piped to `addr2line -p -f -i
//! -s -e vmlinux`. The addresses are those of vmlinux, with or without KASLR.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{Read, Write};

/// The size of the buffer in words: the count and up to 65535 PCs.
const BUFFER_WORDS: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    // The preparations for the traced call come first: later they would be recorded, too.
    let mut only_for_writing = OpenOptions::new().write(true).open("/dev/null")?;
    let mut byte = [0];
    let mut kcov = kcov::Device::open()?.with_buffer(BUFFER_WORDS)?;

    let collection = kcov.collect_pcs()?;
    let result = only_for_writing.read(&mut byte);
    // Stops before printing. The PCs borrow the buffer.
    let pcs = collection.stop()?;

    if result.is_ok() {
        return Err("a file that is open for writing only could be read".into());
    }
    if pcs.is_empty() {
        return Err(
            "no PC was recorded: build the kernel with CONFIG_KCOV_INSTRUMENT_ALL=y".into(),
        );
    }
    let mut out = std::io::stdout().lock();
    for pc in &pcs {
        writeln!(out, "{pc:#x}")?;
    }
    Ok(())
}
