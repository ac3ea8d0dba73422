// SPDX-License-Identifier: GPL-2.0
//! The code that a user wants to see: by function, file, folder, entry of MAINTAINERS, or preset.

use anyhow::{Result, bail};

use crate::maintainers::{Entry, Maintainers};

/// The meaning of `noise`: code that nearly every system call runs. Each part has a name, too.
const PRESETS: [(&str, &[&str]); 4] = [
    (
        "allocator",
        &[
            "mm/slub.c",
            "mm/slab*.*",
            "mm/page_alloc.c",
            "mm/mempool.c",
            "mm/percpu*.*",
            "mm/vmalloc.c",
            "mm/util.c",
            "include/linux/slab.h",
            "include/linux/gfp.h",
            "include/linux/percpu*.h",
        ],
    ),
    (
        "rcu",
        &[
            "kernel/rcu",
            "include/linux/rcu*.h",
            "include/linux/srcu*.h",
            "include/linux/rculist*.h",
        ],
    ),
    (
        "locking",
        &[
            "kernel/locking",
            "include/linux/spinlock*.h",
            "include/linux/rwlock*.h",
            "include/linux/mutex.h",
            "include/linux/seqlock.h",
            "include/linux/rwsem.h",
            "include/linux/lockdep*.h",
            "include/linux/bit_spinlock.h",
            "include/asm-generic/q*lock.h",
            "lib/lockref.c",
        ],
    ),
    (
        "sanitizers",
        &[
            "mm/kasan",
            "mm/kmsan",
            "mm/kfence",
            "kernel/kcsan",
            "kernel/kcov*",
            "lib/ubsan.c",
            "lib/stackdepot.c",
            "lib/debugobjects.c",
            "include/linux/kasan*.h",
            "include/linux/kcsan*.h",
            "include/linux/kmsan*.h",
            "include/linux/kfence.h",
            "include/linux/instrumented.h",
        ],
    ),
];

/// A pattern of a user.
#[derive(Debug)]
enum Pattern {
    Function(String),
    File(String),
    Entry(Entry),
}

/// The code to keep, and the code to leave out.
#[derive(Debug, Default)]
pub struct Selection {
    only: Vec<Pattern>,
    skip: Vec<Pattern>,
}

impl Selection {
    /// Reads the patterns. `maintainers` reads the file MAINTAINERS, if a pattern needs it.
    ///
    /// # Errors
    ///
    /// A pattern names an entry that is not there, or the file cannot be read.
    pub fn new(
        only: &[String],
        skip: &[String],
        maintainers: impl Fn() -> Result<Maintainers>,
    ) -> Result<Self> {
        let all = |texts: &[String]| -> Result<Vec<Pattern>> {
            let mut patterns = Vec::new();
            for text in texts {
                patterns.extend(parse(text, &maintainers)?);
            }
            Ok(patterns)
        };
        Ok(Self {
            only: all(only)?,
            skip: all(skip)?,
        })
    }

    /// Returns whether everything is kept.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.only.is_empty() && self.skip.is_empty()
    }

    /// Returns whether a pattern needs the functions that code was inlined from.
    #[must_use]
    pub fn needs_functions(&self) -> bool {
        let mut all = self.only.iter().chain(&self.skip);
        all.any(|pattern| matches!(pattern, Pattern::Function(_)))
    }

    /// Returns whether code is kept. `frames` has its functions and their files, inlined ones first: it
    /// belongs to all the functions, and to the file of the first.
    pub fn keeps<'f>(&self, frames: impl Iterator<Item = (&'f str, &'f str)> + Clone) -> bool {
        let fits = |pattern: &Pattern| match pattern {
            Pattern::Function(function) => frames.clone().any(|(name, _)| glob(function, name, true)),
            Pattern::File(wanted) => frames
                .clone()
                .next()
                .is_some_and(|(_, file)| is_file(wanted, file)),
            Pattern::Entry(entry) => frames.clone().next().is_some_and(|(_, file)| entry.has(file)),
        };
        (self.only.is_empty() || self.only.iter().any(fits)) && !self.skip.iter().any(fits)
    }
}

fn parse(text: &str, maintainers: &impl Fn() -> Result<Maintainers>) -> Result<Vec<Pattern>> {
    let presets = PRESETS
        .iter()
        .filter(|(name, _)| text == "noise" || text == *name);
    let files = presets.flat_map(|(_, files)| files.iter());
    let preset: Vec<Pattern> = files.map(|file| Pattern::File((*file).to_owned())).collect();
    if !preset.is_empty() {
        return Ok(preset);
    }
    let entries = |title: &str| -> Result<Vec<Pattern>> {
        let found: Vec<Pattern> = maintainers()?.titled(title).map(Pattern::Entry).collect();
        if found.is_empty() {
            bail!("MAINTAINERS has no entry '{title}'; a * stands for any characters, as in 'EXT4*'");
        }
        Ok(found)
    };
    let small = text.chars().any(|c| c.is_ascii_lowercase());
    Ok(match text.split_once(':') {
        Some(("function", name)) => vec![Pattern::Function(name.to_owned())],
        Some(("file", name)) => vec![Pattern::File(name.trim_end_matches('/').to_owned())],
        Some(("maintainers", title)) => entries(title)?,
        _ if text.contains(' ') || !small && text.chars().any(|c| c.is_ascii_uppercase()) => entries(text)?,
        _ if text.contains('/') || [".c", ".h", ".rs", ".S"].iter().any(|end| text.ends_with(end)) => {
            vec![Pattern::File(text.trim_end_matches('/').to_owned())]
        }
        _ => vec![Pattern::Function(text.to_owned())],
    })
}

/// Returns whether a pattern is that of a file, or of a folder that it is in. A file with an absolute
/// name is outside of the tree, or the tree is not known.
fn is_file(pattern: &str, file: &str) -> bool {
    let parts = pattern.matches('/').count();
    let mut starts = vec![0];
    if file.starts_with('/') && !pattern.starts_with('/') {
        starts.extend(file.match_indices('/').map(|(at, _)| at + 1));
    }
    starts.into_iter().any(|start| {
        let rest = &file[start..];
        let end = rest
            .match_indices('/')
            .nth(parts)
            .map_or(rest.len(), |(at, _)| at);
        glob(pattern, &rest[..end], false)
    })
}

/// Returns whether a name fits a pattern with `*` and `?`, which stand for slashes only if `slashes` is
/// set.
#[must_use]
pub fn glob(pattern: &str, name: &str, slashes: bool) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let any = |byte: u8| slashes || byte != b'/';
    let (mut p, mut n) = (0, 0);
    // The last star, and the part of the name from which on it is tried again.
    let mut again: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                again = Some((p, n));
                p += 1;
            }
            Some(b'?') if any(name[n]) => (p, n) = (p + 1, n + 1),
            Some(byte) if *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match again {
                Some((star, from)) if any(name[from]) => {
                    again = Some((star, from + 1));
                    (p, n) = (star + 1, from + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(only: &[&str], skip: &[&str], frames: &[(&str, &str)]) -> bool {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let none = || bail!("MAINTAINERS is not needed");
        let selection = Selection::new(&texts(only), &texts(skip), none).unwrap();
        selection.keeps(frames.iter().copied())
    }

    #[test]
    fn names_fit_globs() {
        for (pattern, name, slashes, wanted) in [
            ("ext4_*", "ext4_iget", true, true),
            ("*_iget", "ext4_iget", true, true),
            ("e*4*t", "ext4_iget", true, true),
            ("e?t4", "ext4", true, true),
            ("ext4", "ext4_iget", true, false),
            ("mm/*", "mm/a/b.c", false, false),
            ("mm/*.c", "mm/slub.c", false, true),
            ("**", "", true, true),
        ] {
            assert_eq!(glob(pattern, name, slashes), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_are_those_of_functions_files_and_presets() {
        let frames = [
            ("kmalloc", "include/linux/slab.h"),
            ("ext4_iget", "fs/ext4/inode.c"),
        ];
        assert!(keeps(&["ext4_*"], &[], &frames));
        assert!(keeps(&["kmalloc"], &[], &frames));
        assert!(!keeps(&[], &["noise"], &frames));
        assert!(!keeps(&[], &["allocator"], &frames) && keeps(&[], &["rcu"], &frames));
        // The file is that of the innermost function.
        assert!(!keeps(&["fs/ext4"], &[], &frames) && keeps(&["fs/ext4/"], &[], &frames[1..]));
        assert!(!keeps(&["fs/ext"], &[], &frames[1..]) && keeps(&["inode.c"], &[], &[("f", "/x/inode.c")]));
        assert!(keeps(&["function:noise"], &[], &[("noise", "a.c")]));
    }
}
