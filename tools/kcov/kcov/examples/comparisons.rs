// SPDX-License-Identifier: GPL-2.0
//! Prints the operands that the kernel compares during one system call.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    let mut kcov = kcov::Device::open()?.with_buffer(64 << 10)?;
    let collection = kcov.collect_comparisons()?;
    let _ = std::fs::metadata("/");
    for comparison in &collection.stop()? {
        let kcov::Comparison {
            pc,
            left,
            right,
            size,
            constant,
        } = comparison;
        let mark = if constant { "constant " } else { "" };
        writeln!(
            out,
            "{pc:#x}: {mark}{left:#x} with {right:#x}, {} bytes",
            size.bytes()
        )?;
    }
    Ok(())
}
