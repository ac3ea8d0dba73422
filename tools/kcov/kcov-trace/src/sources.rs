// SPDX-License-Identifier: GPL-2.0
//! The names of source files: converts names in the debug information to the names that users know,
//! and to files.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::progress::Progress;
use crate::symbols::{Image, lines};

/// A function that every kernel has, and its file in the source tree.
const LANDMARK: (&str, &str) = ("start_kernel", "/init/main.c");

/// The parts of Rust's library that a kernel contains, below the folder of the compiler's sources
/// or a folder that the compiler was given.
const LIBRARY: [&str; 2] = ["library/core/src/", "library/alloc/src/"];

/// The path of the source tree at the time of the build, and its path now.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Ends with a slash; empty if the path is not known.
    root: String,
    /// Folders to search.
    here: Vec<PathBuf>,
    /// Prefixes of names, and the folders that take their places.
    moved: Vec<(String, String)>,
    /// The prefix of `library/` in the names of Rust's library, from the first such name.
    library: OnceLock<String>,
}

impl Sources {
    /// Finds the tree that the image was built from. Each of `given` is a folder to search, or a
    /// prefix of names and, after `=`, the folder that takes its place.
    #[must_use]
    pub fn of(image: &Image<'_>, given: &[PathBuf]) -> Self {
        let mut here = Vec::new();
        let mut moved = Vec::new();
        for path in given {
            // A folder may have the character in its name.
            match path.to_str().and_then(|text| text.split_once('=')) {
                Some((old, new)) if !path.exists() => moved.push((normal(old), normal(new))),
                _ => here.push(path.clone()),
            }
        }
        let root = image
            .address_of(LANDMARK.0)
            .and_then(|address| lines(image, &[address + 1], &Progress::hidden()).ok())
            .and_then(|lines| {
                let name = normal(lines.names.get(lines.lines[0].file));
                Some(format!("{}/", name.strip_suffix(LANDMARK.1)?))
            })
            .unwrap_or_default();
        Self {
            root,
            here,
            moved,
            library: OnceLock::new(),
        }
    }

    /// Returns the name as users know it: relative to the tree if the file is in the tree, and from
    /// `library/` on if it is in Rust's library.
    #[must_use]
    pub fn shown(&self, name: &str) -> String {
        let name = self.mapped(&normal(name));
        if let Some(inside) = name.strip_prefix(&self.root).filter(|_| !self.root.is_empty()) {
            return inside.to_owned();
        }
        // A prefix may have been mapped to the folder of the tree.
        for folder in self.here.iter().filter(|_| !self.moved.is_empty()) {
            if let Ok(inside) = Path::new(&name).strip_prefix(folder) {
                return inside.to_string_lossy().into_owned();
            }
        }
        let library = LIBRARY.iter().find_map(|folder| name.find(&format!("/{folder}")));
        match library.map(|at| name.split_at(at + 1)) {
            Some((before, inside)) if self.library.get_or_init(|| before.to_owned()) == before => {
                inside.to_owned()
            }
            _ => name,
        }
    }

    /// Returns the name with its prefix replaced, the longest one if several fit.
    fn mapped(&self, name: &str) -> String {
        self.moved
            .iter()
            .filter_map(|(old, new)| {
                let rest = name.strip_prefix(old)?;
                (old.is_empty() || rest.is_empty() || rest.starts_with('/')).then_some((old, new, rest))
            })
            .max_by_key(|(old, _, _)| old.len())
            .map_or_else(
                || name.to_owned(),
                |(_, new, rest)| format!("{}/{}", new.trim_end_matches('/'), rest.trim_start_matches('/')),
            )
    }

    /// Returns the path of the file itself.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        let shown = self.shown(name);
        // The kernel's tree has no folder of this name.
        let library = self.library.get().filter(|_| shown.starts_with("library/"));
        if let Some(before) = library {
            return Path::new(before).join(shown);
        }
        let built = Path::new(&self.root).join(&shown);
        // An absolute name is that of a module that is not in the tree.
        let absolute = Path::new(&shown).is_absolute();
        let moved: Vec<PathBuf> = match absolute {
            true => Vec::new(),
            false => self.here.iter().map(|folder| folder.join(&shown)).collect(),
        };
        let found = moved.iter().chain([&built]).find(|path| path.exists()).cloned();
        found
            .or_else(|| self.searched(&shown))
            .or_else(|| moved.into_iter().next())
            .unwrap_or(built)
    }

    /// Searches the folders for a file by the end of its name, the longest end first.
    fn searched(&self, name: &str) -> Option<PathBuf> {
        let mut rest = name.trim_start_matches('/');
        loop {
            let found = self
                .here
                .iter()
                .map(|folder| folder.join(rest))
                .find(|path| path.is_file());
            if found.is_some() {
                return found;
            }
            rest = rest.split_once('/')?.1;
        }
    }
}

/// Returns the path without `.` and `..`: the compiler was given names relative to its working
/// directory.
fn normal(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if name.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    if name.starts_with('/') {
        format!("/{path}")
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_resolved() {
        assert_eq!(normal("/a/obj/../linux/./init/main.c"), "/a/linux/init/main.c");
        assert_eq!(normal("./include/linux/fs.h"), "include/linux/fs.h");
        assert_eq!(normal("../x/../../y.c"), "../../y.c");
        assert_eq!(normal("/../y.c"), "/y.c");
        assert_eq!(normal(""), "");
    }

    #[test]
    fn names_in_the_tree_are_relative_and_can_be_moved() {
        let mut sources = Sources {
            root: "/build/linux/".into(),
            ..Sources::default()
        };
        assert_eq!(sources.shown("/build/obj/../linux/mm/slub.c"), "mm/slub.c");
        assert_eq!(sources.shown("/build/obj/generated.c"), "/build/obj/generated.c");
        assert_eq!(
            sources.path("/build/obj/../linux/mm/slub.c"),
            Path::new("/build/linux/mm/slub.c")
        );
        sources.here = vec!["/home/linux".into()];
        assert_eq!(
            sources.path("/build/obj/../linux/mm/slub.c"),
            Path::new("/home/linux/mm/slub.c")
        );
        assert_eq!(
            sources.path("/build/obj/generated.c"),
            Path::new("/build/obj/generated.c")
        );
    }
    #[test]
    fn names_in_the_library_of_rust_are_short() {
        let sources = Sources {
            root: "/build/linux/".into(),
            here: vec!["/home/linux".into()],
            ..Sources::default()
        };
        let long = "/home/me/rustlib/src/rust/library/core/src/ptr/mod.rs";
        let short = "library/core/src/ptr/mod.rs";
        // Before a file of the library was seen, the name is taken for one in the tree.
        assert_eq!(sources.path(short), Path::new("/home/linux").join(short));
        assert_eq!(sources.shown(long), short);
        assert_eq!(sources.path(long), Path::new(long));
        assert_eq!(sources.path(short), Path::new(long));
        // The names of two libraries are not mixed.
        let other = "/opt/rust/library/core/src/ptr/mod.rs";
        assert_eq!(sources.shown(other), other);
    }
}
