// SPDX-License-Identifier: GPL-2.0
//! Makes a recording from PCs that another program printed, such as a fuzzer, or a small program in
//! a guest for which kcov-trace was not built.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::render::{check_output, warn};
use crate::cli::ImportArgs;
use crate::output::Target;
use crate::recording::{self, Kernel, Recording, Records, Task};

pub(super) fn import(args: &ImportArgs) -> Result<i32> {
    check_output(Some(&args.output))?;
    let files = files(&args.pcs, "files of PCs")?;
    let mut tasks = Vec::new();
    let mut empty = Vec::new();
    for file in &files {
        let pcs = parse(&read(file)?).with_context(|| file.display().to_string())?;
        if pcs.is_empty() {
            empty.push(file.display().to_string());
            continue;
        }
        let records = pcs.iter().map(|pc| pc.wrapping_add(args.add)).collect();
        let name = name_of(file, args.name.as_deref(), files.len());
        tasks.push(Task {
            test: if files.len() > 1 {
                name.clone()
            } else {
                String::new()
            },
            name,
            records: Records::Pcs(records),
            ..Task::default()
        });
    }
    if tasks.is_empty() {
        bail!("{}: it has no PC", empty.join(", "));
    }
    if let Some(first) = empty.first() {
        warn(&format!(
            "{} files have no PC and are left out, such as {first}",
            empty.len()
        ));
    }
    let mut recording = Recording {
        kernel: kernel(args)?,
        tasks,
        ..Recording::default()
    };
    if let Some(folder) = &args.proc {
        recording.add_names(&folder.join("proc/kallsyms"));
    }
    Target::new(Some(&args.output)).write(|out| Ok(recording::write(&recording, out)?))?;
    Ok(0)
}

/// Returns the named files, and the files in the named folders.
pub(super) fn files(named: &[PathBuf], what: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let cannot = || format!("{} cannot be read", path.display());
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            if entry.path().is_file() {
                inside.push(entry.path());
            }
        }
        if inside.is_empty() {
            bail!("{} has no file; name a folder with {what}", path.display());
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

fn name_of(file: &Path, given: Option<&str>, files: usize) -> String {
    let own = file
        .file_name()
        .map_or(String::new(), |name| name.to_string_lossy().into_owned());
    match (given, files) {
        (Some(given), 1) => given.into(),
        (Some(given), _) => format!("{given} {own}"),
        (None, 1) => "imported".into(),
        (None, _) => own,
    }
}

/// Returns the description of the kernel that the user has given.
fn kernel(args: &ImportArgs) -> Result<Kernel> {
    if let Some(folder) = &args.proc {
        let kernel = Kernel::below(folder);
        if kernel.build_id.is_empty() && kernel.modules.is_empty() && kernel.text == 0 {
            bail!(
                "{} has no copies of sys/kernel/notes, proc/modules and proc/kallsyms; make it with the shell line in README",
                folder.display()
            );
        }
        let without = kernel
            .modules
            .iter()
            .filter(|module| module.sections.is_empty())
            .count();
        if without > 0 {
            warn(&format!(
                "the sections of {without} modules are not known, so their code is assumed to be at their start: copy /sys/module/*/sections as root"
            ));
        }
        if kernel.text == 0 && !kernel.modules.is_empty() {
            warn(
                "the address of _stext is not known, so PCs in modules match only without address space randomisation: copy /proc/kallsyms as root, with kernel.kptr_restrict below 2",
            );
        }
        return Ok(kernel);
    }
    let Some(path) = &args.notes else {
        return Ok(Kernel::default());
    };
    let notes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    match recording::build_id(&notes) {
        Some(build_id) => Ok(Kernel {
            build_id,
            ..Kernel::default()
        }),
        None => bail!(
            "{} has no build id; copy /sys/kernel/notes, or leave --notes out",
            path.display()
        ),
    }
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
        assert!(parse("# nothing\n").unwrap().is_empty());
    }
}
