// SPDX-License-Identifier: GPL-2.0
//! Prints the values that the kernel compares in one system call.
//!
//! Seeks to an odd position and prints the operands of every comparison that the call makes. One
//! comparison has the position as one operand and a limit as the other: a fuzzer tries the limit
//! and the numbers next to it next. Needs `CONFIG_KCOV_ENABLE_COMPARISONS=y`.

use std::error::Error;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

const BUFFER_WORDS: usize = 64 << 10;

/// A number that is easy to find in the output.
const ODD_POSITION: u64 = 0x5eed_5eed;

fn main() -> Result<(), Box<dyn Error>> {
    let mut file = File::open(std::env::current_exe()?)?;
    let mut kcov = kcov::Device::open()?.with_buffer(BUFFER_WORDS)?;

    let collection = kcov.collect_comparisons()?;
    let position = file.seek(SeekFrom::Start(ODD_POSITION));
    let comparisons = collection.stop()?;
    position?;

    let mut out = std::io::stdout().lock();
    for comparison in &comparisons {
        // If one operand is a constant, it is the first.
        writeln!(
            out,
            "pc {:#x} {} bytes {:#x} {:#x}{}",
            comparison.pc,
            comparison.size.bytes(),
            comparison.left,
            comparison.right,
            if comparison.constant { " const" } else { "" }
        )?;
    }
    Ok(())
}
