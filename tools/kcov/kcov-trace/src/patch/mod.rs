// SPDX-License-Identifier: GPL-2.0
//! The coverage of the lines that a patch changes.

mod lines;
mod parse;

pub use lines::{File, Judged, State, judge};
pub use parse::{ChangedFile, parse};

/// The number of lines in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Covered lines.
    pub covered: usize,
    /// Lines that are not covered.
    pub not_covered: usize,
    /// Lines without code.
    pub no_code: usize,
    /// Lines that may be covered or not.
    pub undecided: usize,
    /// The covered and uncovered lines whose state was inferred.
    pub inferred: usize,
}

impl Summary {
    /// Counts the lines.
    #[must_use]
    pub fn of(files: &[File]) -> Self {
        let mut all = Self::default();
        for line in files.iter().flat_map(|file| &file.lines) {
            match line.state {
                State::Covered => all.covered += 1,
                State::NotCovered => all.not_covered += 1,
                State::NoCode => all.no_code += 1,
                State::Undecided(_) => all.undecided += 1,
            }
            all.inferred += usize::from(line.inferred);
        }
        all
    }

    /// Returns the number of lines that the share refers to.
    #[must_use]
    pub fn decided(self) -> usize {
        self.covered + self.not_covered
    }

    /// Returns the covered share of the decided lines in percent; `None` if there are none.
    #[must_use]
    pub fn percent(self) -> Option<f64> {
        let all = self.decided();
        (all > 0).then(|| self.covered as f64 * 100.0 / all as f64)
    }

    /// Returns whether the share is below a number of percent. If no line was decided, it is, unless
    /// the patch has no code.
    #[must_use]
    pub fn is_below(self, percent: f64) -> bool {
        match self.percent() {
            Some(share) => share < percent,
            None => self.undecided > 0,
        }
    }
}
