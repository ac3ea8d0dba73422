// SPDX-License-Identifier: GPL-2.0
//! Reads patches: the files that they change, and the lines that they add.

use std::path::Path;

use anyhow::{Result, bail};

/// A file that a patch changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangedFile {
    /// Its name after the change, in the tree.
    pub name: String,
    /// The numbers and the texts of the lines that the patch adds.
    pub lines: Vec<(u32, String)>,
}

/// Reads the text of a patch, or of a mail with one. `path` is used in messages.
///
/// # Errors
///
/// The text is not a patch, or is cut off.
pub fn parse(path: &Path, text: &str) -> Result<Vec<ChangedFile>> {
    let mut files: Vec<ChangedFile> = Vec::new();
    let mut hunks = 0;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(name) = line.strip_prefix("+++ ") {
            files.push(ChangedFile {
                name: file_name(name),
                lines: Vec::new(),
            });
            continue;
        }
        let (Some((mut old, mut new, mut at)), Some(file)) = (hunk(line), files.last_mut()) else {
            continue;
        };
        hunks += 1;
        while old > 0 || new > 0 {
            let Some((_, line)) = lines.next() else {
                bail!(
                    "{} is cut off: the part that starts in line {} is not complete; make the patch again",
                    path.display(),
                    number + 1
                );
            };
            match line.as_bytes().first() {
                Some(b'+') => {
                    file.lines.push((at, line[1..].to_owned()));
                    at += 1;
                    new = new.saturating_sub(1);
                }
                Some(b'-') => old = old.saturating_sub(1),
                Some(b'\\') => {}
                // Some programs remove the space of an empty line.
                _ => {
                    at += 1;
                    old = old.saturating_sub(1);
                    new = new.saturating_sub(1);
                }
            }
        }
    }
    if hunks == 0 {
        bail!(
            "{} is not a patch: it has no line that starts with @@; make one with 'git diff' or 'diff -u'",
            path.display()
        );
    }
    files.retain(|file| !file.lines.is_empty());
    Ok(files)
}

/// Returns the name without the prefix of git, and without the time that diff appends.
fn file_name(text: &str) -> String {
    let name = text.split('\t').next().unwrap_or(text).trim_end();
    let name = name.trim_matches('"');
    let plain = ["b/", "w/", "i/"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    plain.unwrap_or(name).to_owned()
}

/// Reads `@@ -1,2 +3,4 @@`: the numbers of old and of new lines, and the first new one.
fn hunk(line: &str) -> Option<(u32, u32, u32)> {
    let (ranges, _) = line.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let range = |text: &str| -> Option<(u32, u32)> {
        let (start, count) = text.split_once(',').unwrap_or((text, "1"));
        Some((start.parse().ok()?, count.parse().ok()?))
    };
    let ((_, old), (start, new)) = (range(old)?, range(new)?);
    Some((old, new, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<ChangedFile>> {
        parse(Path::new("p"), text)
    }

    #[test]
    fn added_lines_have_their_new_numbers() {
        let text = "From: me\n\n--- a/fs/x.c\t2026\n+++ b/fs/x.c\t2026\n@@ -3,3 +3,4 @@ int f(void)\n one\n\
                    -two\n+zwei\n+drei\n three\n@@ -20 +21 @@\n-a\n+++ b\n\\ No newline at end of file\n\
                    --- a/gone.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n-- \n2.43\n";
        let lines = vec![(4, "zwei".into()), (5, "drei".into()), (21, "++ b".into())];
        let wanted = ChangedFile {
            name: "fs/x.c".into(),
            lines,
        };
        assert_eq!(parsed(text).unwrap(), [wanted]);
    }

    #[test]
    fn other_text_and_cut_patches_are_refused() {
        let error = parsed("hello\n").unwrap_err().to_string();
        assert!(error.contains("not a patch"), "{error}");
        let error = parsed("+++ b/x.c\n@@ -1,2 +1,3 @@\n a\n+b\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("cut off") && error.contains("line 2"), "{error}");
    }
}
