// SPDX-License-Identifier: GPL-2.0

//! The selection: the lines of `kcov_filter` that are in force.
//!
//! The last line that matches a site decides. Without lines, every site is selected. If the first
//! line takes sites away, it takes them from all sites; otherwise a site that no line matches is
//! not selected.

#![deny(unsafe_code)]

use super::line::{no_memory, Line, Problem};
use kernel::prelude::*;

/// The largest number of lines. A site has 16 bits for the number of a line.
pub(crate) const MOST_LINES: usize = 8192;

/// The meaning of a selection for one site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Selected,
    /// Not selected, and kept only as a caller of a selected function.
    Other,
    /// Not selected because of a line.
    TakenAway,
}

/// The lines, and whether callers of selected functions are kept.
pub(crate) struct Selection {
    lines: KVVec<Line>,
    callers: bool,
}

impl Selection {
    pub(crate) const fn new() -> Self {
        Self {
            lines: KVVec::new(),
            callers: true,
        }
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(crate) fn callers(&self) -> bool {
        self.callers
    }

    /// Returns whether callers of selected functions must be found: they are kept, and may not be
    /// selected themselves.
    pub(crate) fn finds_callers(&self) -> bool {
        self.callers && self.verdict(0) == Verdict::Other
    }

    /// Returns the verdict on a site, with the number of the last line that matches it, counted
    /// from 1; 0 if no line matches it.
    pub(crate) fn verdict(&self, number: usize) -> Verdict {
        let line = match number.checked_sub(1) {
            Some(index) => self.lines.get(index),
            None => None,
        };
        match (line, self.lines.first()) {
            (Some(line), _) if line.takes_away() => Verdict::TakenAway,
            (Some(_), _) | (None, None) => Verdict::Selected,
            (None, Some(first)) if first.takes_away() => Verdict::Selected,
            (None, Some(_)) => Verdict::Other,
        }
    }

    /// Appends lines, and changes whether callers are kept if `callers` tells. Returns what
    /// [`Self::go_back`] needs.
    pub(crate) fn append(
        &mut self,
        lines: KVVec<Line>,
        callers: Option<bool>,
    ) -> Result<(usize, bool), Problem> {
        let before = (self.lines.len(), self.callers);
        if self.lines.len() + lines.len() > MOST_LINES {
            return Err(Problem::TooMany);
        }
        self.lines
            .reserve(lines.len(), GFP_KERNEL)
            .map_err(no_memory)?;
        for line in lines {
            self.lines.push(line, GFP_KERNEL).map_err(no_memory)?;
        }
        self.callers = callers.unwrap_or(self.callers);
        Ok(before)
    }

    /// Undoes what has happened since [`Self::append`] returned `before`.
    pub(crate) fn go_back(&mut self, before: (usize, bool)) {
        self.lines.truncate(before.0);
        self.callers = before.1;
    }
}
