// SPDX-License-Identifier: GPL-2.0
//! Reads the table of lines: the code of each line of some files.

use anyhow::{Context as _, Result};
use gimli::{AttributeValue, EndianSlice, LittleEndian};

use super::image::Image;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// The code of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number of the file in the list of wanted files.
    pub file: usize,
    /// The line.
    pub line: u32,
    /// The address of its first byte.
    pub start: u64,
    /// The address after its last byte.
    pub end: u64,
}

/// The code of some files.
#[derive(Debug, Default)]
pub struct Rows {
    /// The code of each line; a line may have several pieces.
    pub rows: Vec<Row>,
    /// The wanted files that some unit names, with code or without, by their numbers.
    pub known: Vec<usize>,
}

/// Returns the code of the files for which `wanted` returns a number.
///
/// # Errors
///
/// The debug information is damaged.
pub fn rows(image: &Image<'_>, wanted: impl Fn(&str) -> Option<usize>) -> Result<Rows> {
    let damaged = || format!("the debug information of {} is damaged", image.path().display());
    read(image, wanted).with_context(damaged)
}

fn read(image: &Image<'_>, wanted: impl Fn(&str) -> Option<usize>) -> Result<Rows, gimli::Error> {
    let dwarf = image.dwarf();
    let mut found = Rows::default();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let Some(program) = unit.line_program.clone() else {
            continue;
        };
        let header = program.header();
        // Before version 5, files are counted from 1 on.
        let files: Vec<Option<usize>> = (0..=header.file_names().len() as u64)
            .map(|number| {
                let file = header.file(number)?;
                let name = path(&dwarf, &unit, header, file)?;
                wanted(&name)
            })
            .collect();
        found.known.extend(files.iter().flatten());
        if files.iter().all(Option::is_none) {
            continue;
        }
        read_unit(image, program, &files, &mut found.rows)?;
    }
    found.known.sort_unstable();
    found.known.dedup();
    Ok(found)
}

/// Adds the rows of a unit that are in wanted files, which have numbers in `files`.
fn read_unit<'a>(
    image: &Image<'_>,
    program: gimli::IncompleteLineProgram<Reader<'a>>,
    files: &[Option<usize>],
    found: &mut Vec<Row>,
) -> Result<(), gimli::Error> {
    let mut rows = program.rows();
    let mut open: Option<Row> = None;
    while let Some((_, row)) = rows.next_row()? {
        let closed = open.take().map(|open| Row {
            end: row.address(),
            ..open
        });
        // Code that the linker has discarded is at address 0.
        found.extend(closed.filter(|row| row.end > row.start && image.has_text(row.start + 1)));
        let file = files.get(row.file_index() as usize).copied().flatten();
        if let (false, Some(file), Some(line)) = (row.end_sequence(), file, row.line()) {
            open = Some(Row {
                file,
                line: line.get() as u32,
                start: row.address(),
                end: 0,
            });
        }
    }
    Ok(())
}

/// Returns the path of a file as the compiler knew it.
fn path<'a>(
    dwarf: &gimli::Dwarf<Reader<'a>>,
    unit: &gimli::Unit<Reader<'a>>,
    header: &gimli::LineProgramHeader<Reader<'a>>,
    file: &gimli::FileEntry<Reader<'a>>,
) -> Option<String> {
    let text = |value: AttributeValue<Reader<'a>>| {
        let text = dwarf.attr_string(unit, value).ok()?;
        Some(text.to_string_lossy().into_owned())
    };
    let mut path = text(file.path_name())?;
    if !path.starts_with('/') {
        if let Some(folder) = file
            .directory(header)
            .and_then(text)
            .filter(|folder| !folder.is_empty())
        {
            path = format!("{folder}/{path}");
        }
    }
    if !path.starts_with('/') {
        if let Some(folder) = unit.comp_dir {
            path = format!("{}/{path}", folder.to_string_lossy());
        }
    }
    Some(path)
}
