// SPDX-License-Identifier: GPL-2.0
//! The kernel that ran, and the addresses of its code and modules: the data that is needed to
//! symbolise a recording elsewhere.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::encoding::{Cursor, put, put_text};

/// The description of a kernel in a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// The output of `uname -m`.
    pub machine: String,
    /// The output of `uname -r`.
    pub release: String,
    /// The build id; empty if the kernel has none.
    pub build_id: Vec<u8>,
    /// The run-time address of `_stext`; 0 if the kernel did not show it.
    pub text: u64,
    /// The offset of the randomised address space, which the kernel subtracts from PCs; `None` if it
    /// is not known. Without `vmlinux`, `text` does not tell it.
    pub offset: Option<u64>,
    /// The modules that were loaded.
    pub modules: Vec<Module>,
}

/// A loaded module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Its name, as in `/proc/modules`.
    pub name: String,
    /// Its address.
    pub base: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its build id; empty if it has none.
    pub build_id: Vec<u8>,
    /// Its sections with code, and their addresses.
    pub sections: Vec<(String, u64)>,
}

impl Kernel {
    /// Returns the description of the running kernel.
    #[must_use]
    pub fn running() -> Self {
        let system = rustix::system::uname();
        Self {
            machine: system.machine().to_string_lossy().into_owned(),
            release: system.release().to_string_lossy().into_owned(),
            ..Self::below(Path::new("/"))
        }
    }

    /// Returns the description of a kernel from copies of its files in `proc` and `sys` below a
    /// folder. What was not copied is not known.
    #[must_use]
    pub fn below(folder: &Path) -> Self {
        let word = |name: &str| {
            let text = fs::read_to_string(folder.join("proc/sys/kernel").join(name));
            text.map_or(String::new(), |text| text.trim().to_owned())
        };
        let machine = word("arch");
        let text = start_of_text(&folder.join("proc/kallsyms"));
        Self {
            release: word("osrelease"),
            build_id: fs::read(folder.join("sys/kernel/notes"))
                .ok()
                .and_then(|notes| build_id(&notes))
                .unwrap_or_default(),
            text,
            offset: super::names::offset(&machine, text, &folder.join("proc/kcore")),
            modules: loaded_modules(&folder.join("proc/modules"), &folder.join("sys/module")),
            machine,
        }
    }

    /// Adds the modules of `later`, which were loaded since then; modules that were unloaded stay
    /// known.
    pub fn add_modules_of(&mut self, later: Self) {
        for module in later.modules {
            if !self.modules.contains(&module) {
                self.modules.push(module);
            }
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.machine);
        put_text(out, &self.release);
        put_bytes(out, &self.build_id);
        put(out, self.text);
        put(out, self.modules.len() as u64);
        for module in &self.modules {
            put_text(out, &module.name);
            put(out, module.base);
            put(out, module.size);
            put_bytes(out, &module.build_id);
            put(out, module.sections.len() as u64);
            for (name, address) in &module.sections {
                put_text(out, name);
                put(out, *address);
            }
        }
    }

    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut kernel = Self {
            machine: cursor.text()?,
            release: cursor.text()?,
            build_id: bytes(cursor)?,
            text: cursor.number()?,
            offset: None,
            modules: Vec::new(),
        };
        for _ in 0..cursor.length()? {
            let mut module = Module {
                name: cursor.text()?,
                base: cursor.number()?,
                size: cursor.number()?,
                build_id: bytes(cursor)?,
                sections: Vec::new(),
            };
            for _ in 0..cursor.length()? {
                module.sections.push((cursor.text()?, cursor.number()?));
            }
            kernel.modules.push(module);
        }
        Some(kernel)
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn bytes(cursor: &mut Cursor<'_>) -> Option<Vec<u8>> {
    let length = cursor.length()?;
    Some(cursor.bytes(length)?.to_vec())
}

/// Returns the build id from ELF notes in the form of `/sys/kernel/notes`, all with 4-byte
/// alignment.
#[must_use]
pub fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    const NT_GNU_BUILD_ID: u32 = 3;
    loop {
        let (head, rest) = notes.split_at_checked(12)?;
        let field = |i: usize| u32::from_ne_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
        let (name_size, size, kind) = (field(0) as usize, field(4) as usize, field(8));
        let name = rest.get(..name_size)?;
        let rest = rest.get(name_size.next_multiple_of(4)..)?;
        let contents = rest.get(..size)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(contents.to_vec());
        }
        notes = rest.get(size.next_multiple_of(4)..)?;
    }
}

/// Returns the address of `_stext`; 0 if the kernel hides it from unprivileged users.
fn start_of_text(list: &Path) -> u64 {
    fs::File::open(list).map_or(0, |symbols| address_of("_stext", BufReader::new(symbols)))
}

/// Returns the address of a symbol in a list such as `/proc/kallsyms`; 0 if it is missing. The
/// kernel makes that list while it is read, which takes long for the whole list, so reading ends at
/// the symbol.
fn address_of(symbol: &str, list: impl BufRead) -> u64 {
    list.lines()
        .map_while(Result::ok)
        .find_map(|line| {
            let (address, rest) = line.split_once(' ')?;
            let name = rest.split_once(' ')?.1;
            (name == symbol).then(|| u64::from_str_radix(address, 16).ok())?
        })
        .unwrap_or(0)
}

fn loaded_modules(list: &Path, details: &Path) -> Vec<Module> {
    fs::read_to_string(list)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let name = *fields.first()?;
            let folder = details.join(name);
            let notes = fs::read(folder.join("notes/.note.gnu.build-id")).ok();
            Some(Module {
                name: name.into(),
                size: fields.get(1)?.parse().ok()?,
                base: hexadecimal(fields.get(5)?)?,
                build_id: notes.and_then(|notes| build_id(&notes)).unwrap_or_default(),
                sections: code_sections(&folder.join("sections")),
            })
        })
        .collect()
}

fn code_sections(folder: &Path) -> Vec<(String, u64)> {
    let mut sections: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            if !name.contains("text") {
                return None;
            }
            let address = hexadecimal(fs::read_to_string(entry.path()).ok()?.trim())?;
            (address != 0).then_some((name, address))
        })
        .collect();
    sections.sort();
    sections
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: u32, name: &[u8], contents: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for field in [name.len() as u32, contents.len() as u32, kind] {
            note.extend(field.to_ne_bytes());
        }
        for part in [name, contents] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn build_id_is_found_behind_other_notes() {
        let notes = [
            note(6, b"Xen\0", b"odd"),
            note(3, b"Linux\0", b"7"),
            note(3, b"GNU\0", b"id"),
        ]
        .concat();
        assert_eq!(build_id(&notes), Some(b"id".to_vec()));
        assert_eq!(build_id(&notes[..notes.len() - 5]), None);
        assert_eq!(build_id(&[]), None);
    }

    #[test]
    fn symbol_is_found_and_nothing_read_behind_it() {
        let list = "0000000000000000 A fixed\nffffffff81000000 T _stext\nffffffff81000000 T _text\n";
        let mut reader = list.as_bytes();
        assert_eq!(address_of("_stext", &mut reader), 0xffff_ffff_8100_0000);
        assert_eq!(reader, b"ffffffff81000000 T _text\n");
        assert_eq!(
            address_of("_stext", &b"ffffffff81000000 T _stext.cold\tm\n"[..]),
            0
        );
        assert_eq!(address_of("_stext", &b""[..]), 0);
    }

    #[test]
    fn modules_are_read_with_their_sections() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("modules");
        fs::write(
            &list,
            "dummy 16384 1 other, Live 0xffffffffc0100000 (O)\nbroken\n",
        )
        .unwrap();
        let sections = folder.path().join("dummy/sections");
        fs::create_dir_all(&sections).unwrap();
        fs::write(sections.join(".text"), "0xffffffffc0100000\n").unwrap();
        fs::write(sections.join(".data"), "0xffffffffc0200000\n").unwrap();
        let modules = loaded_modules(&list, folder.path());
        assert_eq!(modules.len(), 1);
        assert_eq!(modules[0].base, 0xffff_ffff_c010_0000);
        assert_eq!(modules[0].size, 16384);
        assert_eq!(modules[0].sections, [(".text".to_owned(), 0xffff_ffff_c010_0000)]);
    }
}
