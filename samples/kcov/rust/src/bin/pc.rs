// SPDX-License-Identifier: GPL-2.0
//! Which kernel code runs for one read(2) that fails?
//!
//! Prints one PC per line and nothing else, so that the output can be piped to
//! `addr2line -p -f -i -s -e vmlinux`. The addresses are those of vmlinux whatever KASLR did.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{Read, Write};

/// The count and up to 65535 PCs.
const BUFFER_WORDS: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    // Everything that the traced call needs is made before: the rest would be recorded, too.
    let mut only_for_writing = OpenOptions::new().write(true).open("/dev/null")?;
    let mut byte = [0];
    let mut kcov = kcov::Device::open()?.with_buffer(BUFFER_WORDS)?;

    let collection = kcov.collect_pcs()?;
    let result = only_for_writing.read(&mut byte);
    // Stops before anything is printed. The PCs borrow the buffer.
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
