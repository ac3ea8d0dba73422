// SPDX-License-Identifier: GPL-2.0
//! Comparisons by site, with the operands that were seen there.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use anyhow::Result;
use kcov::Comparison;

use crate::recording::Recording;
use crate::symbolised::Symbolised;

/// The number of different pairs of operands that are shown for a site, unless all are requested.
const SHOWN: usize = 16;

/// Writes each site with the pairs of operands that were seen there and their counts. Constants are
/// marked with `=`, pairs of equal operands with `equal`.
///
/// # Errors
///
/// The errors of the writer.
pub fn write(
    recording: &Recording,
    symbols: Option<&Symbolised>,
    all: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let mut sites: BTreeMap<u64, HashMap<Comparison, u64>> = BTreeMap::new();
    for comparison in recording.comparisons() {
        *sites
            .entry(comparison.pc)
            .or_default()
            .entry(*comparison)
            .or_default() += 1;
    }
    for (pc, pairs) in &sites {
        write!(out, "{pc:#018x}")?;
        if let Some(frame) = symbols.and_then(|symbols| symbols.frames(*pc).next()) {
            write!(out, " {} {}:{}", frame.function, frame.file, frame.line)?;
        }
        writeln!(out)?;
        let mut pairs: Vec<_> = pairs.iter().collect();
        pairs.sort_by(|(a, x), (b, y)| (y, a).cmp(&(x, b)));
        let shown = if all { pairs.len() } else { SHOWN };
        for (comparison, count) in pairs.iter().take(shown) {
            writeln!(out, "{count:>10}  {}", pair(comparison))?;
        }
        if pairs.len() > shown {
            writeln!(out, "{:>10}  more pairs of operands", pairs.len() - shown)?;
        }
    }
    Ok(())
}

fn pair(comparison: &Comparison) -> String {
    let digits = comparison.size.bytes() * 2 + 2;
    let constant = if comparison.constant { "=" } else { " " };
    let equal = if comparison.left == comparison.right {
        "  equal"
    } else {
        ""
    };
    format!(
        "{constant}{:#0digits$x}  {:#0digits$x}{equal}",
        comparison.left, comparison.right
    )
}
