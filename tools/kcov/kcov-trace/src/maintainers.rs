// SPDX-License-Identifier: GPL-2.0
//! The file MAINTAINERS of the kernel: which entry a source belongs to.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use regex::Regex;

use crate::selection::glob;

/// The entries of the file.
#[derive(Debug, Default)]
pub struct Maintainers {
    entries: Vec<Entry>,
}

/// An entry.
#[derive(Debug, Default)]
pub struct Entry {
    /// Its title.
    pub title: String,
    /// The patterns of its files.
    files: Vec<String>,
    excluded: Vec<String>,
    names: Vec<Regex>,
}

impl Maintainers {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| {
            format!(
                "{} cannot be read, which tells the files of an entry; name the kernel's sources with --source",
                path.display()
            )
        })?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut before = "";
        for line in text.lines() {
            let Some((kind, value)) = line.split_once(":\t").filter(|(kind, _)| kind.len() == 1) else {
                before = line;
                continue;
            };
            // A title is in the line before the first line of this kind.
            if !before.trim().is_empty() {
                entries.push(Entry {
                    title: before.trim().to_owned(),
                    ..Entry::default()
                });
                before = "";
            }
            let (Some(entry), value) = (entries.last_mut(), value.trim().to_owned()) else {
                continue;
            };
            match kind {
                "F" => entry.files.push(value),
                "X" => entry.excluded.push(value),
                "N" => entry.names.extend(Regex::new(&value)),
                _ => {}
            }
        }
        entries.retain(|entry| !entry.files.is_empty() || !entry.names.is_empty());
        Self { entries }
    }

    /// Returns the entries whose titles fit a pattern, in capital or small letters.
    pub fn titled(self, pattern: &str) -> impl Iterator<Item = Entry> {
        let pattern = pattern.to_uppercase();
        let fits = move |entry: &Entry| glob(&pattern, &entry.title.to_uppercase(), true);
        self.entries.into_iter().filter(fits)
    }

    /// Returns the title of the entry that names a file most exactly.
    #[must_use]
    pub fn of(&self, file: &str) -> Option<&str> {
        let exact = |entry: &Entry| entry.exactness(file);
        let best = self.entries.iter().filter(|entry| entry.title != "THE REST");
        let best = best.filter_map(|entry| Some((exact(entry)?, entry)));
        // Of several, the first one in the file.
        best.reduce(|a, b| if b.0 > a.0 { b } else { a })
            .map(|(_, entry)| entry.title.as_str())
    }
}

impl Entry {
    /// Returns whether a file belongs to the entry.
    #[must_use]
    pub fn has(&self, file: &str) -> bool {
        self.exactness(file).is_some()
    }

    /// Returns how exactly the entry names a file; `None` if it does not.
    fn exactness(&self, file: &str) -> Option<usize> {
        if self.excluded.iter().any(|pattern| fits(pattern, file)) {
            return None;
        }
        let parts = |pattern: &String| pattern.trim_end_matches('/').split('/').count() + 1;
        let by_file = self.files.iter().filter(|pattern| fits(pattern, file));
        let by_name = self.names.iter().any(|name| name.is_match(file));
        by_file.map(parts).max().or_else(|| by_name.then_some(1))
    }
}

/// Returns whether a pattern is that of a file. With a slash at its end, it is that of all files below
/// a folder.
fn fits(pattern: &str, file: &str) -> bool {
    match pattern.strip_suffix('/') {
        Some(folder) => {
            let depth = folder.matches('/').count();
            let end = file.match_indices('/').nth(depth).map(|(at, _)| at);
            end.is_some_and(|end| glob(folder, &file[..end], false))
        }
        None => glob(pattern, file, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "List of maintainers\n\n\tF:\tnot this\n\nEXT4 FILE SYSTEM\nM:\tA\nF:\tfs/ext4/\n\n\
        FILESYSTEMS (VFS)\nF:\tfs/*\nX:\tfs/x.c\n\nKUNIT\nN:\tkunit\n\nTHE REST\nF:\t*\nF:\t*/\n";

    #[test]
    fn most_exact_entry_counts() {
        let all = Maintainers::parse(TEXT);
        for (file, wanted) in [
            ("fs/ext4/inode.c", Some("EXT4 FILE SYSTEM")),
            ("fs/ext4/a/b.c", Some("EXT4 FILE SYSTEM")),
            ("fs/open.c", Some("FILESYSTEMS (VFS)")),
            ("fs/x.c", None),
            ("fs/btrfs/a.c", None),
            ("lib/kunit/test.c", Some("KUNIT")),
        ] {
            assert_eq!(all.of(file), wanted, "{file}");
        }
        let titles: Vec<String> = all.titled("ext4*").map(|entry| entry.title).collect();
        assert_eq!(titles, ["EXT4 FILE SYSTEM"]);
    }
}
