// SPDX-License-Identifier: GPL-2.0
//! Makes the lines of the kernel's filter from sources, folders and entries of MAINTAINERS.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};

use super::render::{needs_vmlinux, with_images};
use crate::cli::FilterArgs;
use crate::images::{Images, module_name, modules_below};
use crate::maintainers::Maintainers;
use crate::output::Target;
use crate::progress::Progress;
use crate::recording::{Kernel, Module, Recording};
use crate::selection::Selection;
use crate::sources::Sources;
use crate::symbols::{Hook, Image, Stacks, Symbol, demangled, sites, stacks};

/// The kernel reads so many bytes at once at least, so no line is cut.
const CHUNK: usize = 4000;

/// A function with call sites.
struct Function {
    symbol: String,
    range: (u64, u64),
    module: Option<String>,
    chosen: bool,
    refused: bool,
}

pub(super) fn filter(args: &FilterArgs) -> Result<i32> {
    let recording = Recording {
        kernel: kernel(args),
        ..Recording::default()
    };
    let (refused, chosen): (Vec<String>, Vec<String>) = args
        .patterns
        .iter()
        .cloned()
        .partition(|text| text.starts_with('!'));
    let refused: Vec<String> = refused.iter().map(|text| text[1..].to_owned()).collect();
    with_images(&recording, &args.symbols, |found| {
        let Some(found) = found else {
            bail!("{}", needs_vmlinux(&recording, &args.symbols));
        };
        let maintainers = || Maintainers::read(&found.sources.path("MAINTAINERS"));
        let positive = Selection::new(&chosen, &[], maintainers)?;
        let negative = Selection::new(&refused, &[], maintainers)?;
        let functions = functions(found.images, found.sources, &positive, &negative)?;
        let offset = recording.kernel.offset;
        let lines = lines(&functions, chosen.is_empty(), offset.unwrap_or(0));
        if offset.is_none() && lines.iter().any(|line| has_addresses(line)) {
            eprintln!(
                "kcov-trace: lines with addresses fit a kernel without KASLR only: the offset is not known"
            );
        }
        if lines.is_empty() {
            bail!(
                "no function with call sites fits; look at the names of files with 'kcov-trace report -f functions'"
            );
        }
        Target::Stdout.write(|out| {
            let mut chunk = String::new();
            for line in &lines {
                if chunk.len() + line.len() >= CHUNK {
                    out.write_all(chunk.as_bytes())?;
                    out.flush()?;
                    chunk.clear();
                }
                chunk += line;
                chunk.push('\n');
            }
            out.write_all(chunk.as_bytes())?;
            Ok(out.flush()?)
        })?;
        Ok(found.outcome.status())
    })
}

/// Returns the kernel that runs, or the one that was named, with the modules in the folders.
fn kernel(args: &FilterArgs) -> Kernel {
    if args.symbols.vmlinux.is_none() {
        return Kernel::running();
    }
    let module = |name| Module {
        name,
        ..Module::default()
    };
    Kernel {
        modules: modules_below(&args.symbols.modules)
            .into_iter()
            .map(module)
            .collect(),
        ..Kernel::default()
    }
}

fn functions(
    images: &Images<'_>,
    sources: &Sources,
    positive: &Selection,
    negative: &Selection,
) -> Result<Vec<Function>> {
    let mut all = Vec::new();
    for (number, image) in images.list.iter().enumerate() {
        let module = match number {
            0 => None,
            _ => module_name(image.path()).map(|name| name.replace('-', "_")),
        };
        let symbols = instrumented(image)?;
        let entries: Vec<u64> = symbols.iter().map(|symbol| symbol.address + 1).collect();
        let progress = Progress::new("Looking up the functions", entries.len());
        let found = stacks(image, &entries, &progress)?;
        for (symbol, stack) in symbols.iter().zip(&found.stacks) {
            let name = demangled(symbol.name);
            let file = file_of(&found, stack, sources);
            let frame = || [(name.as_str(), file.as_str())].into_iter();
            all.push(Function {
                symbol: symbol.name.to_owned(),
                range: (symbol.address, symbol.end),
                module: module.clone(),
                chosen: positive.keeps(frame()),
                refused: !negative.is_everything() && negative.keeps(frame()),
            });
        }
    }
    Ok(all)
}

/// Returns the file of the function itself, which is the outermost one.
fn file_of(found: &Stacks, stack: &[crate::symbols::Frame], sources: &Sources) -> String {
    let name = stack.last().map_or("", |frame| found.names.get(frame.at.file));
    sources.shown(name)
}

/// Returns the functions with call sites, by address.
fn instrumented<'a>(image: &Image<'a>) -> Result<Vec<Symbol<'a>>> {
    let mut all: Vec<Symbol<'a>> = Vec::new();
    for site in sites(image, Hook::Pc)? {
        if let Some(symbol) = image.function(site.pc - 1) {
            if all.last().is_none_or(|last| last.address != symbol.address) {
                all.push(*symbol);
            }
        }
    }
    Ok(all)
}

fn has_addresses(line: &str) -> bool {
    line.trim_start_matches('!').starts_with("0x")
}

/// Returns the lines. With `all`, the functions that are refused are taken out of everything; otherwise
/// only those that are chosen are named. `offset` is that of KASLR, which the kernel's addresses have.
fn lines(functions: &[Function], all: bool, offset: u64) -> Vec<String> {
    let wanted = |function: &Function| match all {
        true => function.refused,
        false => function.chosen && !function.refused,
    };
    // Functions with the names of others are told by their addresses.
    let mut others: HashMap<(&str, &Option<String>), bool> = HashMap::new();
    for function in functions {
        let name = (function.symbol.as_str(), &function.module);
        *others.entry(name).or_default() |= !wanted(function);
    }
    let mut known = HashSet::new();
    let mark = if all { "!" } else { "" };
    functions
        .iter()
        .filter(|function| wanted(function))
        .map(|function| match &function.module {
            Some(module) => format!("{mark}{}:mod:{module}", function.symbol),
            None if others[&(function.symbol.as_str(), &None)] => {
                let (start, end) = function.range;
                let [start, end] = [start, end].map(|address| address.wrapping_add(offset));
                format!("{mark}{start:#x}-{end:#x}")
            }
            None => format!("{mark}{}", function.symbol),
        })
        .filter(|line| known.insert(line.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(symbol: &str, start: u64, module: Option<&str>, chosen: bool, refused: bool) -> Function {
        Function {
            symbol: symbol.into(),
            range: (start, start + 0x10),
            module: module.map(str::to_owned),
            chosen,
            refused,
        }
    }

    #[test]
    fn functions_are_named_and_told_apart() {
        let all = [
            function("open", 0x10, None, true, false),
            function("init", 0x20, None, true, false),
            function("init", 0x30, None, false, true),
            function("work", 0x40, Some("vhci"), true, false),
            function("work", 0x50, None, true, true),
            function("twice", 0x60, None, true, false),
            function("twice", 0x70, None, true, false),
        ];
        assert_eq!(
            lines(&all, false, 0),
            ["open", "0x20-0x30", "work:mod:vhci", "twice"]
        );
        assert_eq!(lines(&all, true, 0), ["!0x30-0x40", "!work"]);
        assert_eq!(lines(&all, true, 0x1000), ["!0x1030-0x1040", "!work"]);
        assert!(has_addresses("!0x30-0x40") && !has_addresses("!work"));
    }
}
