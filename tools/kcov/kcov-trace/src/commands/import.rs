// SPDX-License-Identifier: GPL-2.0
//! Makes a recording from PCs that another program printed, such as a fuzzer, or a small program in
//! a guest for which kcov-trace was not built.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::render::check_output;
use crate::cli::ImportArgs;
use crate::output::Target;
use crate::recording::{self, Kernel, Recording, Records, Task};

pub(super) fn import(args: &ImportArgs) -> Result<i32> {
    check_output(Some(&args.output))?;
    let pcs = parse(&read(&args.pcs)?).with_context(|| args.pcs.display().to_string())?;
    let mut kernel = Kernel::default();
    if let Some(path) = &args.notes {
        let notes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let Some(id) = recording::build_id(&notes) else {
            bail!(
                "{} has no build id; copy /sys/kernel/notes, or leave --notes out",
                path.display()
            );
        };
        kernel.build_id = id;
    }
    let recording = Recording {
        kernel,
        command: Vec::new(),
        tasks: vec![Task {
            tid: 0,
            parent: 0,
            name: args.name.clone(),
            overflowed: false,
            problem: None,
            records: Records::Pcs(pcs),
        }],
    };
    Target::new(Some(&args.output)).write(|out| Ok(recording::write(&recording, out)?))?;
    Ok(0)
}

fn read(path: &Path) -> Result<String> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.with_context(|| format!("{} cannot be read", path.display()))?;
    // Bytes that are not text are not PCs either, so the parser reports their line.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(text: &str) -> Result<Vec<u64>> {
    let mut pcs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let digits = line.strip_prefix("0x").unwrap_or(line);
        // from_str_radix would accept a sign.
        let pc = if digits.starts_with('+') {
            None
        } else {
            u64::from_str_radix(digits, 16).ok()
        };
        let Some(pc) = pc else {
            let start: String = line.chars().take(60).collect();
            bail!("line {} has no hexadecimal PC: '{start}'", number + 1);
        };
        pcs.push(pc);
    }
    if pcs.is_empty() {
        bail!("it has no PC");
    }
    Ok(pcs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_all_forms() {
        let text = "0xffffffff81000000\n\n# a comment\n  10 \r\nABC\n";
        assert_eq!(parse(text).unwrap(), [0xffff_ffff_8100_0000, 0x10, 0xabc]);
    }

    #[test]
    fn nonsense_is_refused_with_its_line() {
        for text in [
            "0x10\npc: not found\n",
            "0x10\n+10",
            "1\n-1",
            "1\n10000000000000000",
            "1\n0x",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
        assert!(parse("# nothing\n").is_err());
    }
}
