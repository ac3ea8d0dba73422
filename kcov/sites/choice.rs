// SPDX-License-Identifier: GPL-2.0

//! The sites of a group that a selection has.

#![expect(unsafe_code)]

use super::{
    branches,
    group::{Group, Site},
    line::{no_memory, Line, Problem},
    selection::{Selection, Verdict}, //
};
use core::ops::Range;
use kernel::{bindings, kallsyms::Lookup, prelude::*};

/// The number of bytes of code that are searched at once.
const WINDOW: usize = 4096;

/// Memory to look at functions with.
pub(super) struct Scratch {
    lookup: Lookup,
    code: KVec<u8>,
    /// True if the search ends when the task is killed.
    killable: bool,
}

impl Scratch {
    pub(super) fn new(killable: bool) -> Result<Self, Problem> {
        Ok(Self {
            lookup: Lookup::new().map_err(no_memory)?,
            code: KVec::from_elem(0, WINDOW, GFP_KERNEL).map_err(no_memory)?,
            killable,
        })
    }
}

/// Lets other tasks run. Returns whether the current task was killed.
pub(super) fn is_killed() -> bool {
    // SAFETY: Callers may sleep.
    unsafe { bindings::kcov_sites_pause() }
}

/// A function with its sites.
struct Function<'a> {
    name: &'a [u8],
    code: Range<usize>,
    sites: &'static [Site],
}

impl Function<'_> {
    /// Stores the last line that matches the function, and adds its sites to the numbers of sites
    /// of the lines that match it.
    fn match_names(&self, module: &[u8], lines: &[Line], matched: &mut [usize]) {
        let mut last = 0;
        for (index, line) in lines.iter().enumerate() {
            if line.matches(self.name, module) {
                count(self.sites, matched.get_mut(index));
                last = index + 1;
            }
        }
        for site in self.sites {
            site.set_line(site.line().max(last));
        }
    }

    /// Returns whether the code has a branch to an entry. `window` is memory for a part of it.
    fn reaches(&self, is_entry: &dyn Fn(usize) -> bool, window: &mut [u8]) -> bool {
        let mut start = self.code.start;
        while start < self.code.end {
            let size = window.len().min(self.code.end - start);
            let Some(code) = window.get_mut(..size) else {
                return false;
            };
            // SAFETY: The memory has `size` bytes. The function accepts every address.
            if !unsafe { bindings::kcov_site_read(code.as_mut_ptr().cast(), start, size) } {
                return false;
            }
            if branches::reaches(code, start, is_entry) {
                return true;
            }
            // A branch may begin in this part and end in the next one.
            start += size.saturating_sub(branches::LONGEST - 1).max(1);
            if size < window.len() {
                return false;
            }
        }
        false
    }
}

/// Adds the number of sites that can be changed.
fn count(sites: &[Site], number: Option<&mut usize>) {
    if let Some(number) = number {
        *number += sites.iter().filter(|site| site.changes()).count();
    }
}

/// Returns whether a line has a name, and not addresses.
fn has_names(lines: &[Line]) -> bool {
    lines.iter().any(|line| line.addresses().is_none())
}

impl Group {
    /// Calls `visit` with each function of which a site is not left out.
    fn for_each_function(
        &self,
        lookup: &mut Lookup,
        killable: bool,
        leave_out: impl Fn(&Site) -> bool,
        mut visit: impl FnMut(Function<'_>) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let mut rest = self.sites;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            if !first.changes() || leave_out(first) {
                continue;
            }
            if is_killed() && killable {
                return Err(Problem::Killed);
            }
            let Some(symbol) = lookup.find(first.address()) else {
                continue;
            };
            let end = symbol.start.saturating_add(symbol.size);
            let number = after.partition_point(|site| site.address() < end) + 1;
            let start = self.sites.len() - after.len() - 1;
            let sites = self.sites.get(start..start + number).unwrap_or_default();
            rest = after.get(number - 1..).unwrap_or_default();
            visit(Function {
                name: symbol.name.to_bytes(),
                code: symbol.start..end,
                sites,
            })?;
        }
        Ok(())
    }

    /// Stores for each site the last line with addresses that matches it, and adds the numbers of
    /// sites to those of the lines.
    fn match_addresses(
        &self,
        lines: &[Line],
        matched: &mut [usize],
        killable: bool,
    ) -> Result<(), Problem> {
        for site in self.sites {
            site.set_line(0);
        }
        for (index, line) in lines.iter().enumerate() {
            let Some(range) = line.addresses() else {
                continue;
            };
            if is_killed() && killable {
                return Err(Problem::Killed);
            }
            let from = self
                .sites
                .partition_point(|site| site.address() < range.start);
            let to = self
                .sites
                .partition_point(|site| site.address() < range.end);
            let sites = self.sites.get(from..to).unwrap_or_default();
            count(sites, matched.get_mut(index));
            for site in sites {
                site.set_line(index + 1);
            }
        }
        Ok(())
    }

    /// Adds the numbers of sites that lines match.
    pub(super) fn count_matches(
        &self,
        lines: &[Line],
        matched: &mut [usize],
        scratch: &mut Scratch,
    ) -> Result<(), Problem> {
        let killable = scratch.killable;
        self.match_addresses(lines, matched, killable)?;
        if !has_names(lines) {
            return Ok(());
        }
        self.for_each_function(
            &mut scratch.lookup,
            killable,
            |_| false,
            |function| {
                function.match_names(&self.module, lines, matched);
                Ok(())
            },
        )
    }

    /// Chooses the sites that the selection has, without callers. Returns the entries of their
    /// functions, if callers are to be found.
    pub(super) fn choose(
        &self,
        selection: &Selection,
        scratch: &mut Scratch,
    ) -> Result<KVVec<usize>, Problem> {
        let lines = selection.lines();
        let is_selected = |site: &Site| selection.verdict(site.line()) == Verdict::Selected;
        let killable = scratch.killable;
        let mut entries = KVVec::new();
        self.match_addresses(lines, &mut [], killable)?;
        if has_names(lines) || selection.finds_callers() {
            self.for_each_function(
                &mut scratch.lookup,
                killable,
                |_| false,
                |function| {
                    function.match_names(&self.module, lines, &mut []);
                    if selection.finds_callers() && function.sites.iter().any(is_selected) {
                        entries
                            .push(function.code.start, GFP_KERNEL)
                            .map_err(no_memory)?;
                    }
                    Ok(())
                },
            )?;
        }
        for site in self.sites {
            site.choose(is_selected(site));
        }
        Ok(entries)
    }

    /// Chooses the sites in functions that have a branch to an entry, except for sites that a line
    /// takes away.
    pub(super) fn choose_callers(
        &self,
        selection: &Selection,
        is_entry: &dyn Fn(usize) -> bool,
        scratch: &mut Scratch,
    ) -> Result<(), Problem> {
        let is_other = |site: &Site| selection.verdict(site.line()) == Verdict::Other;
        let killable = scratch.killable;
        let code = &mut scratch.code;
        self.for_each_function(
            &mut scratch.lookup,
            killable,
            |site| !is_other(site),
            |function| {
                if function.reaches(is_entry, code) {
                    for site in function.sites.iter().filter(|site| is_other(site)) {
                        site.choose(true);
                    }
                }
                Ok(())
            },
        )
    }
}
