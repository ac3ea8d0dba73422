// SPDX-License-Identifier: GPL-2.0
//! The functions of the kernel's files, and the calls that their code can make.

use std::collections::{HashMap, HashSet};

use crate::images::{Images, module_name};
use crate::symbols::{Hook, Image, Relocated, Step, Symbol, Target, demangled, instructions, sites};

/// The functions that a call may pass through without a record.
const DEPTH: usize = 4;

/// The image and the address of a function or a PC.
type At = (usize, u64);

/// A function that has records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Its name, as its author wrote it.
    pub name: String,
    /// The name in the table of symbols.
    pub symbol: String,
    /// Its module.
    pub module: Option<String>,
    /// The PC of its first block, in terms of its image.
    entry: At,
    /// The functions that it may call, directly or through functions without call sites.
    callees: HashSet<At>,
    /// Set if it calls through pointers.
    indirect: bool,
}

/// The calls of one function's code.
#[derive(Clone, Debug, Default)]
struct Calls {
    targets: Vec<At>,
    indirect: bool,
}

/// The functions that were needed so far.
#[derive(Debug)]
pub struct Graph<'i, 'a> {
    images: &'i Images<'a>,
    relocated: Vec<Relocated>,
    sites: Vec<Vec<u64>>,
    functions: Vec<Function>,
    by_start: HashMap<At, u32>,
    calls: HashMap<At, Calls>,
}

impl<'i, 'a> Graph<'i, 'a> {
    /// Prepares the search for functions.
    #[must_use]
    pub fn new(images: &'i Images<'a>) -> Self {
        let pcs = |image: &Image<'_>| match sites(image, Hook::Pc) {
            Ok(sites) => sites.iter().map(|site| site.pc).collect(),
            Err(_) => Vec::new(),
        };
        Self {
            relocated: images.list.iter().map(Relocated::of).collect(),
            sites: images.list.iter().map(pcs).collect(),
            images,
            functions: Vec::new(),
            by_start: HashMap::new(),
            calls: HashMap::new(),
        }
    }

    /// Returns a function.
    #[must_use]
    pub fn function(&self, number: u32) -> &Function {
        &self.functions[number as usize]
    }

    /// Returns the function of a recorded PC, and whether the PC is that of its first block.
    pub fn at(&mut self, pc: u64) -> Option<(u32, bool)> {
        let place = self.images.place(pc)?;
        let image = &self.images.list[place.image];
        let symbol = *image.whole(image.function(place.pc - 1)?);
        let start = (place.image, symbol.address);
        let number = match self.by_start.get(&start) {
            Some(number) => *number,
            None => self.add(start, &symbol),
        };
        let entry = self.functions[number as usize].entry;
        Some((number, entry == (place.image, place.pc)))
    }

    /// Returns whether `caller` has an instruction that leads to `callee`.
    #[must_use]
    pub fn calls(&self, caller: u32, callee: u32) -> bool {
        let entry = self.functions[callee as usize].entry;
        self.functions[caller as usize].callees.contains(&entry)
    }

    /// Returns whether a function calls through pointers.
    #[must_use]
    pub fn calls_through_pointers(&self, function: u32) -> bool {
        self.functions[function as usize].indirect
    }

    fn add(&mut self, start: At, symbol: &Symbol<'_>) -> u32 {
        let number = self.functions.len() as u32;
        let mut function = Function {
            name: demangled(symbol.name),
            symbol: symbol.name.to_owned(),
            module: match start.0 {
                0 => None,
                image => module_name(self.images.list[image].path()).map(str::to_owned),
            },
            entry: self.entry(start).unwrap_or(start),
            ..Function::default()
        };
        // Functions without call sites leave no record, so what they call follows their caller.
        let mut left = vec![(start, 0)];
        let mut seen = HashSet::from([start]);
        while let Some((at, depth)) = left.pop() {
            let calls = self.calls_of(at);
            function.indirect |= calls.indirect;
            for target in calls.targets {
                if let Some(entry) = self.entry(target) {
                    function.callees.insert(entry);
                } else if depth < DEPTH && seen.insert(target) {
                    left.push((target, depth + 1));
                }
            }
        }
        self.functions.push(function);
        self.by_start.insert(start, number);
        number
    }

    /// Returns the PC of the first block of the function that starts at a place; `None` if it has no
    /// call sites.
    fn entry(&self, (image, start): At) -> Option<At> {
        let symbol = self.images.list[image].function(start)?;
        let sites = &self.sites[image];
        let first = sites.get(sites.partition_point(|site| *site <= symbol.address))?;
        (*first <= symbol.end).then_some((image, *first))
    }

    fn calls_of(&mut self, start: At) -> Calls {
        if let Some(known) = self.calls.get(&start) {
            return known.clone();
        }
        let image = &self.images.list[start.0];
        let mut calls = Calls::default();
        if let Some(symbol) = image.function(start.1) {
            for part in [symbol].into_iter().chain(image.cold_parts(symbol)) {
                self.add_calls(start.0, symbol, part, &mut calls);
            }
        }
        self.calls.insert(start, calls.clone());
        calls
    }

    fn add_calls(&self, number: usize, symbol: &Symbol<'_>, part: &Symbol<'_>, calls: &mut Calls) {
        let image = &self.images.list[number];
        for instruction in instructions(image, &self.relocated[number], part) {
            let is_site = self.sites[number].binary_search(&instruction.end).is_ok();
            let (target, jump) = match instruction.step {
                Step::Call(target) if !is_site => (target, false),
                Step::Jump(target) | Step::Branch(target) => (target, true),
                _ => continue,
            };
            match target {
                Target::Unknown => calls.indirect = true,
                Target::Address(to) => {
                    let Some(callee) = image.function(to).filter(|callee| callee.address == to) else {
                        continue;
                    };
                    // A jump inside a function is not a call of it.
                    if jump && (to == symbol.address || image.whole(callee).address == symbol.address) {
                        continue;
                    }
                    // The compiler calls through pointers by way of these.
                    calls.indirect |= callee.name.starts_with("__x86_indirect_");
                    calls.targets.push((number, to));
                }
                Target::Name(name) => {
                    calls.indirect |= name.starts_with("__x86_indirect_");
                    let vmlinux = self.images.list[0].functions_named(&name).next();
                    calls.targets.extend(vmlinux.map(|callee| (0, callee.address)));
                }
            }
        }
    }
}
