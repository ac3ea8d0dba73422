// SPDX-License-Identifier: GPL-2.0
//! The tree of folders and files.

use std::collections::BTreeMap;

use anyhow::Result;

use super::markup::Markup;
use super::percent;
use super::sources::Packed;
use crate::coverage::{Blocks, Coverage};
use crate::maintainers::Maintainers;

#[derive(Debug, Default)]
struct Folder {
    blocks: Blocks,
    folders: BTreeMap<String, Folder>,
    /// Maps short names to full names and blocks.
    files: BTreeMap<String, (String, Blocks)>,
}

pub(super) fn write(
    page: &mut Markup<'_>,
    coverage: &Coverage,
    packed: &Packed,
    maintainers: Option<&Maintainers>,
) -> Result<()> {
    let mut root = Folder::default();
    let mut groups: BTreeMap<&str, Folder> = BTreeMap::new();
    for (name, file) in &coverage.files {
        let folder = match maintainers {
            Some(maintainers) => groups
                .entry(maintainers.of(name).unwrap_or("(no entry)"))
                .or_default(),
            None => &mut root,
        };
        folder.insert(name, file.blocks);
    }
    root.join_chains();
    page.raw("<div id=\"tree\">\n")?;
    for (title, mut group) in groups {
        group.join_chains();
        group.write_below(title, "", page, packed)?;
    }
    root.write(page, packed)?;
    page.raw("</div>\n")?;
    Ok(())
}

impl Folder {
    fn insert(&mut self, name: &str, blocks: Blocks) {
        let mut folder = self;
        folder.blocks += blocks;
        let (path, short) = name.rsplit_once('/').unwrap_or(("", name));
        // Generated files are outside the source tree and have absolute names.
        let outside = path.starts_with('/');
        for (i, part) in path.split('/').filter(|part| !part.is_empty()).enumerate() {
            let part = if outside && i == 0 {
                format!("/{part}")
            } else {
                part.to_owned()
            };
            folder = folder.folders.entry(part).or_default();
            folder.blocks += blocks;
        }
        folder.files.insert(short.to_owned(), (name.to_owned(), blocks));
    }

    /// Joins folders that contain only one folder with that folder.
    fn join_chains(&mut self) {
        let folders = std::mem::take(&mut self.folders);
        for (mut name, mut folder) in folders {
            while folder.files.is_empty() && folder.folders.len() == 1 {
                let Some((inner, next)) = folder.folders.pop_first() else {
                    break;
                };
                name = format!("{name}/{inner}");
                folder = next;
            }
            folder.join_chains();
            self.folders.insert(name, folder);
        }
    }

    /// Writes the folder below a line with its name, which `end` follows, and its numbers.
    fn write_below(
        &self,
        name: &str,
        end: &'static str,
        page: &mut Markup<'_>,
        packed: &Packed,
    ) -> Result<()> {
        page.raw("<details><summary class=\"row\"><span class=\"name\">")?
            .text(name)?
            .raw(end)?
            .raw("</span>")?;
        numbers(page, self.blocks)?;
        page.raw("</summary>\n")?;
        self.write(page, packed)?;
        page.raw("</details>\n")?;
        Ok(())
    }

    fn write(&self, page: &mut Markup<'_>, packed: &Packed) -> Result<()> {
        // Folders outside the source tree come last.
        let mut folders: Vec<_> = self.folders.iter().collect();
        folders.sort_by_key(|(name, _)| name.starts_with('/'));
        for (name, folder) in folders {
            folder.write_below(name, "/", page, packed)?;
        }
        for (short, (name, blocks)) in &self.files {
            match packed.number(name) {
                Some(number) => {
                    page.raw("<a class=\"row\" data-source=\"s")?.number(number)?;
                    page.raw("\" href=\"#")?
                        .text(name)?
                        .raw("\"><span class=\"name\">")?;
                    page.text(short)?.raw("</span>")?;
                    numbers(page, *blocks)?;
                    page.raw("</a>\n")?;
                }
                None => {
                    page.raw("<div class=\"row\"><span class=\"name\">")?
                        .text(short)?
                        .raw("</span>")?;
                    numbers(page, *blocks)?;
                    page.raw("</div>\n")?;
                }
            }
        }
        Ok(())
    }
}

fn numbers(page: &mut Markup<'_>, blocks: Blocks) -> Result<()> {
    page.raw("<span class=\"bar\" style=\"--share:")?
        .text(&format!("{:.1}", blocks.percent()))?;
    page.raw("%\"></span><span class=\"percent\">")?
        .text(&percent(blocks))?;
    page.raw("</span><span class=\"blocks\">")?
        .number(blocks.covered)?
        .raw("/")?;
    page.number(blocks.instrumented)?.raw("</span>")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_add_up_and_chains_are_joined() {
        let mut root = Folder::default();
        let blocks = |covered, instrumented| Blocks {
            covered,
            instrumented,
        };
        root.insert("mm/slub.c", blocks(1, 10));
        root.insert("mm/kasan/x/init.c", blocks(2, 20));
        root.insert("/build/obj/gen.c", blocks(0, 5));
        root.join_chains();
        assert_eq!(root.blocks, blocks(3, 35));
        assert_eq!(root.folders.keys().collect::<Vec<_>>(), ["/build/obj", "mm"]);
        assert_eq!(root.folders["mm"].blocks, blocks(3, 30));
        assert_eq!(root.folders["mm"].folders.keys().collect::<Vec<_>>(), ["kasan/x"]);
    }
}
