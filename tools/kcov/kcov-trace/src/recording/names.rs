// SPDX-License-Identifier: GPL-2.0
//! Names of functions from the running kernel, for reports without `vmlinux`.
//!
//! `/proc/kallsyms` has the addresses as they are while the kernel runs. The kernel subtracts the
//! offset of its address space from the PCs, so the offset must be known. The note VMCOREINFO of
//! `/proc/kcore` has it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use object::read::elf::{FileHeader, ProgramHeader};

use super::Kernel;

/// A function of the kernel that ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Its address, in terms of recorded PCs.
    pub address: u64,
    /// Its name.
    pub name: String,
    /// Its module; empty for the kernel itself.
    pub module: String,
}

/// Returns the functions that the PCs are in, from a list such as `/proc/kallsyms`; none if the
/// kernel hid their addresses, or if the offset of its address space is not known.
#[must_use]
pub(super) fn names(kernel: &Kernel, list: &Path, pcs: &BTreeSet<u64>) -> Vec<Name> {
    match (kernel.offset, File::open(list)) {
        (Some(offset), Ok(list)) => of_list(BufReader::new(list), offset, pcs),
        _ => Vec::new(),
    }
}

/// Returns the offset of the running kernel's address space.
pub(super) fn offset(machine: &str, text: u64, kcore: &Path) -> Option<u64> {
    let known = File::open(kcore).ok().and_then(vmcoreinfo);
    let stated = known.and_then(|note| {
        let value = note.lines().find_map(|line| line.strip_prefix("KERNELOFFSET="))?;
        u64::from_str_radix(value.trim(), 16).ok()
    });
    // Where a kernel of this machine is linked, unless it was configured otherwise.
    stated.or_else(|| (machine == "x86_64" && text == 0xffff_ffff_8100_0000).then_some(0))
}

/// Reads the note from the head of a core file.
fn vmcoreinfo(mut core: impl Read) -> Option<String> {
    // The notes follow the table of program headers, which has an entry for each range of memory.
    let mut head = vec![0; 1 << 16];
    let mut length = 0;
    while length < head.len() {
        match core.read(&mut head[length..]) {
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
    }
    let head = &head[..length];
    let header = object::elf::FileHeader64::<object::Endianness>::parse(head).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, head).ok()? {
        let Ok(Some(mut notes)) = segment.notes(endian, head) else {
            continue;
        };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == b"VMCOREINFO" {
                return Some(String::from_utf8_lossy(note.desc()).into_owned());
            }
        }
    }
    None
}

fn of_list(list: impl BufRead, offset: u64, pcs: &BTreeSet<u64>) -> Vec<Name> {
    let mut all: Vec<Name> = list
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| function(&line, offset))
        .collect();
    // Of several names for one address, the shortest.
    all.sort_by(|a, b| (a.address, a.name.len(), &a.name).cmp(&(b.address, b.name.len(), &b.name)));
    all.dedup_by_key(|name| name.address);
    let mut wanted: Vec<usize> = pcs
        .iter()
        .filter_map(|pc| all.partition_point(|name| name.address < *pc).checked_sub(1))
        .collect();
    wanted.dedup();
    wanted.into_iter().map(|at| all[at].clone()).collect()
}

/// Reads a line such as `ffffffffc0100000 t function\t[module]`.
fn function(line: &str, offset: u64) -> Option<Name> {
    let (address, rest) = line.split_once(' ')?;
    let (kind, rest) = rest.split_once(' ')?;
    let address = u64::from_str_radix(address, 16)
        .ok()
        .filter(|address| *address != 0)?;
    if !matches!(kind, "t" | "T" | "w" | "W") {
        return None;
    }
    let (name, module) = rest.split_once('\t').unwrap_or((rest, ""));
    if name.starts_with("__pfx_") || name.starts_with("__cfi_") {
        return None;
    }
    Some(Name {
        address: address.wrapping_sub(offset),
        name: name.into(),
        module: module.trim_matches(['[', ']']).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "0000000000000000 A fixed\n\
        ffffffff9f000000 T _stext\n\
        ffffffff9f000010 t __pfx_first\n\
        ffffffff9f000020 t first\n\
        ffffffff9f000020 t first_with_another_name\n\
        ffffffff9f000040 T second\n\
        ffffffff9f000050 D data\n\
        ffffffffc0100000 t in_module\t[some_driver]\n";

    #[test]
    fn functions_of_pcs_are_kept() {
        let pcs = [0x8100_0025, 0x8100_0040, 0xa210_0005].map(|pc: u64| 0xffff_ffff_0000_0000 | pc);
        let found = of_list(LIST.as_bytes(), 0x1e00_0000, &pcs.into_iter().collect());
        let told: Vec<(u64, &str, &str)> = found
            .iter()
            .map(|name| {
                (
                    name.address & 0xffff_ffff,
                    name.name.as_str(),
                    name.module.as_str(),
                )
            })
            .collect();
        // A return address at the start of a function is the end of the one before.
        assert_eq!(
            told,
            [
                (0x8100_0020, "first", ""),
                (0xa210_0000, "in_module", "some_driver")
            ]
        );
    }

    #[test]
    fn hidden_addresses_give_no_names() {
        let list = "0000000000000000 T _stext\n0000000000000000 t first\n";
        assert!(of_list(list.as_bytes(), 0, &[0x10].into()).is_empty());
    }

    /// A core file with one segment of notes.
    fn core(text: &str) -> Vec<u8> {
        let note = |name: &[u8], contents: &[u8]| {
            let mut note = Vec::new();
            for field in [name.len() as u32 + 1, contents.len() as u32, 0] {
                note.extend(field.to_le_bytes());
            }
            for part in [&[name, b"\0"].concat()[..], contents] {
                note.extend(part);
                note.resize(note.len().next_multiple_of(4), 0);
            }
            note
        };
        let notes = [note(b"CORE", b"state"), note(b"VMCOREINFO", text.as_bytes())].concat();
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0\x3e\0\x01\0\0\0".to_vec();
        file.extend([[0; 8], 64u64.to_le_bytes(), [0; 8]].concat());
        file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        file.extend([4, 0, 0, 0, 0, 0, 0, 0]);
        for field in [120, 0, 0, notes.len() as u64, notes.len() as u64, 4] {
            file.extend(field.to_le_bytes());
        }
        file.extend(notes);
        file
    }

    #[test]
    fn offset_is_that_of_the_core_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kcore");
        std::fs::write(&path, core("OSRELEASE=7.3\nKERNELOFFSET=1e000000\n")).unwrap();
        assert_eq!(offset("x86_64", 0xffff_ffff_9f00_0000, &path), Some(0x1e00_0000));
        // Without the file, only a kernel that was not moved has a known offset.
        let missing = folder.path().join("missing");
        assert_eq!(offset("x86_64", 0xffff_ffff_9f00_0000, &missing), None);
        assert_eq!(offset("x86_64", 0xffff_ffff_8100_0000, &missing), Some(0));
        assert_eq!(offset("aarch64", 0xffff_ffff_8100_0000, &missing), None);
    }
}
