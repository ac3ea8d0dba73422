// SPDX-License-Identifier: GPL-2.0

//! Changes of the selection, and questions about it.

#![deny(unsafe_code)]

use super::{
    change_now,
    choice::Scratch,
    group::Group,
    is_entry,
    line::{no_memory, Line, Problem},
    selection::Selection,
    Table,
    TABLE, //
};
use core::mem::replace;
use kernel::prelude::*;

/// A change of the selection.
pub(super) struct Change {
    pub(super) lines: KVVec<Line>,
    /// True if callers are kept from now on; [`None`] if that stays.
    pub(super) callers: Option<bool>,
    /// True if nothing of the old selection stays.
    pub(super) replaces: bool,
}

impl Change {
    pub(super) const fn none() -> Self {
        Self {
            lines: KVVec::new(),
            callers: None,
            replaces: false,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.lines.is_empty() && self.callers.is_none() && !self.replaces
    }

    /// Returns the number of lines to which lines are appended.
    pub(super) fn lines_before(&self) -> usize {
        if self.replaces {
            return 0;
        }
        TABLE.lock().selection.lines().len()
    }
}

/// Changes the selection. Returns when the running code has changed. May sleep.
pub(super) fn change_selection(change: Change) -> Result<(), Problem> {
    TABLE.lock().change_selection(change)?;
    change_now();
    Ok(())
}

/// Returns the index of the first line that must match a site and does not.
pub(super) fn first_without_match(lines: &[Line]) -> Result<Option<usize>, Problem> {
    let table = TABLE.lock();
    let matched = table.count_matches(lines)?;
    let mut both = lines.iter().zip(&matched);
    Ok(both.position(|(line, matched)| *matched == 0 && !table.may_match_later(line)))
}

/// Calls a function with the selection, the number of sites that each line matches, and the last
/// refusal.
pub(super) fn with_selection<R>(
    function: impl FnOnce(&Selection, &[usize], &[u8]) -> R,
) -> Result<R, Problem> {
    let table = TABLE.lock();
    let matched = table.count_matches(table.selection.lines())?;
    Ok(function(&table.selection, &matched, &table.refusal))
}

/// Stores the last refusal.
pub(super) fn set_refusal(refusal: KVVec<u8>) {
    TABLE.lock().refusal = refusal;
}

impl Table {
    /// Returns the number of sites that each of some lines matches.
    fn count_matches(&self, lines: &[Line]) -> Result<KVVec<usize>, Problem> {
        let mut matched = KVVec::from_elem(0, lines.len(), GFP_KERNEL).map_err(no_memory)?;
        let mut scratch = Scratch::new(true)?;
        for group in &self.groups {
            group.count_matches(lines, &mut matched, &mut scratch)?;
        }
        Ok(matched)
    }

    /// Returns whether the line is for modules that are not loaded, so that it may match no site.
    fn may_match_later(&self, line: &Line) -> bool {
        let is_loaded = |group: &Group| line.names_module(&group.module);
        line.is_for_modules() && !self.groups.iter().any(is_loaded)
    }

    /// Appends to the selection, or replaces it. Without success, it stays as it was.
    fn change_selection(&mut self, change: Change) -> Result<(), Problem> {
        let replaced = change
            .replaces
            .then(|| replace(&mut self.selection, Selection::new()));
        let result = match self.selection.append(change.lines, change.callers) {
            Ok(before) => self
                .select()
                .inspect_err(|_| self.selection.go_back(before)),
            Err(problem) => Err(problem),
        };
        match (&result, replaced) {
            (Ok(()), _) => self.refusal = KVVec::new(),
            (Err(_), Some(replaced)) => self.selection = replaced,
            (Err(_), None) => {}
        }
        result
    }

    /// Finds the sites of the selection. Without success, the selected sites stay as they were.
    fn select(&mut self) -> Result<(), Problem> {
        let selection = &self.selection;
        let mut scratch = Scratch::new(true)?;
        let mut entries = KVVec::with_capacity(self.groups.len(), GFP_KERNEL).map_err(no_memory)?;
        for group in &self.groups {
            let chosen = group.choose(selection, &mut scratch)?;
            entries.push(chosen, GFP_KERNEL).map_err(no_memory)?;
        }
        if selection.finds_callers() {
            let is_entry = |target| {
                let mut all = entries.iter();
                all.any(|entries| is_entry(target, entries))
            };
            for group in &self.groups {
                group.choose_callers(selection, &is_entry, &mut scratch)?;
            }
        }
        for (group, entries) in self.groups.iter_mut().zip(entries) {
            group.select_chosen(entries);
        }
        Ok(())
    }

    /// Does the same for the group that was added last. Functions of other groups do not call it
    /// yet.
    pub(super) fn select_last(&mut self) -> Result<(), Problem> {
        let Some((group, others)) = self.groups.split_last_mut() else {
            return Ok(());
        };
        let mut scratch = Scratch::new(false)?;
        let entries = group.choose(&self.selection, &mut scratch)?;
        if self.selection.finds_callers() {
            let is_entry = |target| {
                let mut others = others.iter();
                is_entry(target, &entries) || others.any(|group| is_entry(target, &group.entries))
            };
            group.choose_callers(&self.selection, &is_entry, &mut scratch)?;
        }
        group.select_chosen(entries);
        Ok(())
    }
}
