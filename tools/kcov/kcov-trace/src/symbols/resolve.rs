// SPDX-License-Identifier: GPL-2.0
//! Queries the debug information for many addresses at once.
//!
//! The addresses are return addresses: each is looked up one byte earlier, inside the call. They
//! must be sorted, so that each thread works on its own part of the image and threads seldom parse
//! the same data.

use std::collections::HashMap;
use std::num::NonZero;
use std::thread;

use addr2line::{Context, FrameIter, FunctionName, LookupContinuation as _, LookupResult};
use anyhow::{Context as _, Result};
use gimli::{EndianSlice, LittleEndian};

use super::image::Image;
use crate::progress::Progress;

type Dwarf<'a> = Context<EndianSlice<'a, LittleEndian>>;

/// Names, each stored once. Name 0 is empty and means "not known".
#[derive(Clone, Debug)]
pub struct Names {
    list: Vec<String>,
    index: HashMap<String, u32>,
}

/// The source location of an address; line 0 if the compiler assigned no line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line {
    /// The file, as a name of [`Lines::names`].
    pub file: u32,
    /// The line.
    pub line: u32,
}

/// The lines of many addresses.
#[derive(Debug, Default)]
pub struct Lines {
    /// The files.
    pub names: Names,
    /// A line for each requested address.
    pub lines: Vec<Line>,
}

/// One level of the inlining at an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The function, as a name of [`Stacks::names`].
    pub function: u32,
    /// The location in the function.
    pub at: Line,
}

/// The functions of many addresses, inlined functions first.
#[derive(Debug, Default)]
pub struct Stacks {
    /// Functions and files.
    pub names: Names,
    /// The frames for each address, innermost first; never empty.
    pub stacks: Vec<Box<[Frame]>>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            list: vec![String::new()],
            index: HashMap::from([(String::new(), 0)]),
        }
    }
}

impl Names {
    /// Returns the number of a name; a new name gets a new number.
    pub fn intern(&mut self, name: &str) -> u32 {
        if let Some(number) = self.index.get(name) {
            return *number;
        }
        // The number of names cannot exceed the number of addresses, and that cannot exceed the
        // size of the code in bytes.
        let number = self.list.len() as u32;
        self.list.push(name.to_owned());
        self.index.insert(name.to_owned(), number);
        number
    }

    /// Returns the name of a number that [`intern`](Self::intern) returned.
    #[must_use]
    pub fn get(&self, number: u32) -> &str {
        self.list.get(number as usize).map_or("", String::as_str)
    }

    /// Returns all names in the order of their numbers.
    #[must_use]
    pub fn all(&self) -> &[String] {
        &self.list
    }
}

/// Returns the line of every address; `pcs` must be sorted.
///
/// # Errors
///
/// The debug information is damaged.
pub fn lines(image: &Image<'_>, pcs: &[u64], progress: &Progress) -> Result<Lines> {
    let parts = in_parallel(pcs, |part| {
        let dwarf = context(image)?;
        let mut found = Lines {
            names: Names::default(),
            lines: Vec::with_capacity(part.len()),
        };
        for pc in part {
            let location = dwarf.find_location(pc.wrapping_sub(1)).ok().flatten();
            found
                .lines
                .push(location.map_or(Line::default(), |location| Line {
                    file: location.file.map_or(0, |file| found.names.intern(file)),
                    line: location.line.unwrap_or(0),
                }));
            progress.advance();
        }
        Ok(found)
    })?;
    let mut all = Lines::default();
    for part in parts {
        let files = merge(&mut all.names, &part.names);
        all.lines
            .extend(part.lines.iter().map(|at| renumber(*at, &files)));
    }
    Ok(all)
}

/// Returns the inlining at every address; `pcs` must be sorted. Without debug information for an
/// address, the symbol table provides the function.
///
/// # Errors
///
/// The debug information is damaged.
pub fn stacks(image: &Image<'_>, pcs: &[u64], progress: &Progress) -> Result<Stacks> {
    let parts = in_parallel(pcs, |part| {
        let dwarf = if image.has_dwarf() {
            Some(context(image)?)
        } else {
            None
        };
        let mut found = Stacks {
            names: Names::default(),
            stacks: Vec::with_capacity(part.len()),
        };
        for pc in part {
            let stack = stack(image, dwarf.as_ref(), pc.wrapping_sub(1), &mut found.names);
            found.stacks.push(stack);
            progress.advance();
        }
        Ok(found)
    })?;
    let mut all = Stacks::default();
    for part in parts {
        let names = merge(&mut all.names, &part.names);
        all.stacks.extend(part.stacks.iter().map(|stack| {
            stack
                .iter()
                .map(|frame| Frame {
                    function: names[frame.function as usize],
                    at: renumber(frame.at, &names),
                })
                .collect()
        }));
    }
    Ok(all)
}

/// Looks up an address, with what the compiler has split off.
fn frames_at<'i, 'd>(
    image: &'i Image<'_>,
    dwarf: &'d Dwarf<'i>,
    address: u64,
) -> Option<FrameIter<'d, EndianSlice<'i, LittleEndian>>> {
    let mut looked_up = dwarf.find_frames(address);
    loop {
        match looked_up {
            LookupResult::Output(frames) => return frames.ok(),
            LookupResult::Load { load, continuation } => {
                looked_up = continuation.resume(image.split_off(&load));
            }
        }
    }
}

fn stack<'i>(
    image: &'i Image<'_>,
    dwarf: Option<&Dwarf<'i>>,
    address: u64,
    names: &mut Names,
) -> Box<[Frame]> {
    let mut stack = Vec::new();
    if let Some(mut frames) = dwarf.and_then(|dwarf| frames_at(image, dwarf, address)) {
        // A frame that cannot be read ends the stack; the frames before it are kept.
        while let Ok(Some(frame)) = frames.next() {
            let function = frame
                .function
                .as_ref()
                .map_or(0, |name| function_name(name, names));
            let at = frame.location.map_or(Line::default(), |location| Line {
                file: location.file.map_or(0, |file| names.intern(file)),
                line: location.line.unwrap_or(0),
            });
            stack.push(Frame { function, at });
        }
    }
    let symbol = || image.function(address).map(|symbol| demangled(symbol.name));
    match stack.last_mut() {
        Some(outermost) if outermost.function == 0 => {
            outermost.function = symbol().map_or(0, |name| names.intern(&name));
        }
        Some(_) => {}
        None => stack.push(Frame {
            function: symbol().map_or(0, |name| names.intern(&name)),
            at: Line::default(),
        }),
    }
    stack.into_boxed_slice()
}

fn function_name(name: &FunctionName<EndianSlice<'_, LittleEndian>>, names: &mut Names) -> u32 {
    match name.raw_name() {
        Ok(raw) => names.intern(&demangled(&raw)),
        Err(_) => 0,
    }
}

/// Returns the name as its author wrote it: without mangling, and without the endings by which
/// compilers name the parts and the copies of a function.
#[must_use]
pub fn demangled(name: &str) -> String {
    match rustc_demangle::try_demangle(name) {
        Ok(demangled) => format!("{demangled:#}"),
        Err(_) => whole(name).to_owned(),
    }
}

/// Returns the name of the function of which `name` is a part or a copy, such as `f` for
/// `f.part.0.cold`.
fn whole(name: &str) -> &str {
    const ENDINGS: [&str; 7] = [
        "cold",
        "part",
        "isra",
        "constprop",
        "llvm",
        "specialized",
        "__uniq",
    ];
    // A name that starts with a dot is not a function's.
    let Some(dot) = name.find('.').filter(|dot| *dot > 0) else {
        return name;
    };
    let known = name[dot + 1..]
        .split('.')
        .all(|part| ENDINGS.contains(&part) || part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if known { &name[..dot] } else { name }
}

fn context<'i>(image: &'i Image<'_>) -> Result<Dwarf<'i>> {
    Context::from_dwarf(image.dwarf())
        .with_context(|| format!("the debug information of {} is damaged", image.path().display()))
}

/// Splits the addresses among the processors.
fn in_parallel<T: Send>(pcs: &[u64], work: impl Fn(&[u64]) -> Result<T> + Sync) -> Result<Vec<T>> {
    // Reading the table of units costs a thread more than looking up a few hundred addresses.
    let useful = NonZero::new(pcs.len() / 512).map_or(1, NonZero::get);
    let threads = thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(useful);
    let size = pcs.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let started: Vec<_> = pcs.chunks(size).map(|part| scope.spawn(|| work(part))).collect();
        started
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// Adds the names of `part` to `all`; returns the new number of each.
fn merge(all: &mut Names, part: &Names) -> Vec<u32> {
    part.list.iter().map(|name| all.intern(name)).collect()
}

fn renumber(at: Line, files: &[u32]) -> Line {
    Line {
        file: files[at.file as usize],
        line: at.line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_copies_have_the_name_of_the_function() {
        for name in [
            "f",
            "f.cold",
            "f.part.0",
            "f.isra.0.cold",
            "f.constprop.12",
            "f.llvm.12345",
            "f.part.0.isra.0",
        ] {
            assert_eq!(demangled(name), "f", "{name}");
        }
        for name in [".L12", "f.x", "__pi_f"] {
            assert_eq!(demangled(name), name);
        }
    }
}
