// SPDX-License-Identifier: GPL-2.0
//! Reads recordings without trusting them: they come from another machine.

use std::fs;
use std::path::{Path, PathBuf};

use super::encoding::{Cursor, MAGIC, OLDEST, TAG_END, TAG_KERNEL, TAG_NAMES, VERSION};
use super::{Kernel, Name, Recording, tasks};

/// The size of the head in bytes: magic and version.
const HEAD: usize = MAGIC.len() + 4;
/// The size of the part of a section before its contents in bytes: tag and length.
const SECTION_HEAD: usize = 4 + 8;

/// The reason why a file is not a recording that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be read at all.
    #[error("{} cannot be read: {cause}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        cause: std::io::Error,
    },
    /// The file is something else.
    #[error("{} is not a kcov-trace recording; make one with 'kcov-trace -o FILE -- COMMAND'", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file has a later version of the format.
    #[error("{} has format version {version}, and this kcov-trace reads versions {OLDEST} to {VERSION}; use a newer kcov-trace", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The end of the file is missing.
    #[error("{} is truncated: it ends in the middle of the recording; copy it again, or record again", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// The contents contradict each other or the checksum.
    #[error("{} is damaged: {what}; copy it again, or record again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// A description of the damage.
        what: &'static str,
    },
}

/// Reads the recording in a file.
///
/// # Errors
///
/// [`ReadError`] describes the problem of the file.
pub fn read(path: &Path) -> Result<Recording, ReadError> {
    let bytes = fs::read(path).map_err(|cause| ReadError::File {
        path: path.into(),
        cause,
    })?;
    read_bytes(path, &bytes)
}

/// Reads the recording in `bytes`; `path` is used in messages.
///
/// # Errors
///
/// The errors of [`read`].
pub fn read_bytes(path: &Path, bytes: &[u8]) -> Result<Recording, ReadError> {
    let truncated = || ReadError::Truncated { path: path.into() };
    let damaged = |what| ReadError::Damaged {
        path: path.into(),
        what,
    };
    if bytes.is_empty() || !bytes.starts_with(&MAGIC[..MAGIC.len().min(bytes.len())]) {
        return Err(ReadError::Foreign { path: path.into() });
    }
    let mut cursor = Cursor::new(bytes);
    let version = cursor
        .bytes(MAGIC.len())
        .and_then(|_| cursor.array())
        .map(u32::from_le_bytes)
        .ok_or_else(truncated)?;
    if !(OLDEST..=VERSION).contains(&version) {
        return Err(ReadError::Version {
            path: path.into(),
            version,
        });
    }

    // The checksum is verified first. After that, the file is known to be as it was written, but
    // its writer may still be malicious.
    let mut sections = Vec::new();
    let mut at = HEAD;
    loop {
        let tag: [u8; 4] = cursor.array().ok_or_else(truncated)?;
        let length = cursor.array().map(u64::from_le_bytes).ok_or_else(truncated)?;
        let length = usize::try_from(length).map_err(|_| damaged("a section is longer than memory"))?;
        let contents = cursor.bytes(length).ok_or_else(truncated)?;
        if tag == TAG_END {
            if contents != crc32fast::hash(&bytes[..at]).to_le_bytes() {
                return Err(damaged("the checksum does not match"));
            }
            break;
        }
        at += SECTION_HEAD + length;
        sections.push((tag, contents));
    }
    if !cursor.is_at_end() {
        return Err(damaged("something follows the end"));
    }

    let mut recording = Recording::default();
    let mut offset = None;
    for (tag, contents) in sections {
        let mut cursor = Cursor::new(contents);
        match tag {
            TAG_KERNEL => {
                (recording.kernel, recording.command) =
                    kernel(&mut cursor).ok_or_else(|| damaged("the kernel's section makes no sense"))?;
            }
            TAG_NAMES => {
                (offset, recording.names) =
                    names(&mut cursor).ok_or_else(|| damaged("the section of names makes no sense"))?;
            }
            // A later version may add sections that readers can ignore.
            _ => tasks::add(&mut recording.tasks, tag, contents)
                .ok_or_else(|| damaged("a task's section makes no sense"))?,
        }
    }
    recording.kernel.offset = offset;
    Ok(recording)
}

fn names(cursor: &mut Cursor<'_>) -> Option<(Option<u64>, Vec<Name>)> {
    let known = cursor.number()? != 0;
    let offset = cursor.number()?;
    let count = cursor.length()?;
    let mut before = 0;
    let mut name = || {
        before = cursor.difference(before)?;
        Some(Name {
            address: before,
            name: cursor.text()?,
            module: cursor.text()?,
        })
    };
    let names = (0..count).map(|_| name()).collect::<Option<_>>()?;
    Some((known.then_some(offset), names))
}

fn kernel(cursor: &mut Cursor<'_>) -> Option<(Kernel, Vec<String>)> {
    let kernel = Kernel::decode(cursor)?;
    let words = cursor.length()?;
    let command = (0..words).map(|_| cursor.text()).collect::<Option<_>>()?;
    Some((kernel, command))
}

#[cfg(test)]
mod tests {
    use kcov::{Comparison, Edge};

    use super::super::encoding::{TAG_COMPARISONS, TAG_EDGES, TAG_PCS, WITHOUT_EDGES};
    use super::super::{Module, Records, Task, write};
    use super::*;

    fn sample() -> Recording {
        Recording {
            kernel: Kernel {
                machine: "x86_64".into(),
                release: "7.3.4".into(),
                build_id: vec![1, 2, 3],
                text: 0xffff_ffff_8ee0_0000,
                offset: Some(0xde0_0000),
                modules: vec![Module {
                    name: "vhci_hcd".into(),
                    base: 0xffff_ffff_c000_0000,
                    size: 0x4000,
                    build_id: vec![9; 20],
                    sections: vec![(".text".into(), 0xffff_ffff_c000_0000)],
                }],
            },
            command: vec!["cat".into(), "a file".into()],
            names: vec![
                Name {
                    address: 0xffff_ffff_8100_0000,
                    name: "vfs_read".into(),
                    module: String::new(),
                },
                Name {
                    address: 0xffff_ffff_b220_0000,
                    name: "vhci_urb".into(),
                    module: "vhci_hcd".into(),
                },
            ],
            tasks: vec![
                Task {
                    tid: 12,
                    name: "cat".into(),
                    overflowed: true,
                    records: Records::Pcs(vec![0xffff_ffff_8100_0005, 0xffff_ffff_8100_0001]),
                    ..Task::default()
                },
                Task {
                    tid: 13,
                    parent: 12,
                    problem: Some("no memory".into()),
                    records: Records::Comparisons(vec![Comparison::from_raw(7, 1, u64::MAX, 3)]),
                    ..Task::default()
                },
            ],
        }
    }

    /// Returns the sample with a task in the middle that has edges.
    fn with_edges() -> Recording {
        let edge = |(previous, pc)| Edge { previous, pc };
        let edges = [(0, 0xffff_ffff_8100_0005), (0xffff_ffff_8100_0005, 1), (1, 1)];
        let mut recording = sample();
        let task = Task {
            tid: 14,
            test: "edges".into(),
            unique: true,
            records: Records::Edges(edges.map(edge).to_vec()),
            gaps: vec![1],
            ..Task::default()
        };
        recording.tasks.insert(1, task);
        recording
    }

    fn encoded() -> Vec<u8> {
        bytes_of(&sample())
    }

    fn bytes_of(recording: &Recording) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(recording, &mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Recording, ReadError> {
        read_bytes(Path::new("r"), bytes)
    }

    #[test]
    fn recording_survives() {
        assert_eq!(read(&encoded()).unwrap(), sample());
        assert_eq!(read(&bytes_of(&with_edges())).unwrap(), with_edges());
    }

    #[test]
    fn only_edges_need_a_newer_program() {
        // A reader of the version before skips sections that it does not know.
        assert_eq!(encoded()[8], WITHOUT_EDGES as u8);
        assert_eq!(bytes_of(&with_edges())[8], VERSION as u8);
    }

    #[test]
    fn every_shorter_file_is_truncated() {
        let bytes = bytes_of(&with_edges());
        for length in 1..bytes.len() {
            let error = read(&bytes[..length]).unwrap_err();
            assert!(matches!(error, ReadError::Truncated { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let good = bytes_of(&with_edges());
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x40;
            assert!(read(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn foreign_files_are_named_so() {
        for bytes in [&b""[..], b"\x7fELF", b"0xffffffff81000000\n"] {
            assert!(matches!(read(bytes), Err(ReadError::Foreign { .. })), "{bytes:?}");
        }
    }

    #[test]
    fn later_version_asks_for_a_newer_program() {
        let mut bytes = encoded();
        bytes[8] = 4;
        let error = read(&bytes).unwrap_err();
        assert!(matches!(error, ReadError::Version { version: 4, .. }), "{error}");
    }

    #[test]
    fn first_version_is_read() {
        // It differs in having no names and no offset.
        let mut wanted = sample();
        wanted.names.clear();
        wanted.kernel.offset = None;
        let mut bytes = Vec::new();
        write(&wanted, &mut bytes).unwrap();
        bytes[8] = 1;
        let end = bytes.len() - 4;
        let sum = crc32fast::hash(&bytes[..end - SECTION_HEAD]);
        bytes[end..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(read(&bytes).unwrap(), wanted);
    }

    #[test]
    fn what_follows_the_end_is_refused() {
        let mut bytes = encoded();
        bytes.push(0);
        assert!(matches!(read(&bytes), Err(ReadError::Damaged { .. })));
    }

    #[test]
    fn forged_count_takes_no_memory() {
        for tag in [TAG_PCS, TAG_COMPARISONS, TAG_EDGES] {
            let mut bytes = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &tag].concat();
            let contents = [0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
            bytes.extend((contents.len() as u64).to_le_bytes());
            bytes.extend(contents);
            let sum = crc32fast::hash(&bytes);
            bytes.extend(TAG_END);
            bytes.extend(4u64.to_le_bytes());
            bytes.extend(sum.to_le_bytes());
            assert!(matches!(read(&bytes), Err(ReadError::Damaged { .. })), "{tag:?}");
        }
    }
}
