// SPDX-License-Identifier: GPL-2.0
//! Modes, which of them a kernel has, and how each divides a buffer.

use super::{ENOTSUPP, Outcome};
use crate::actor::Part;

/// The kernel under test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    /// `CONFIG_KCOV_RUST`.
    pub(crate) rust: bool,
    /// `CONFIG_KCOV_UNIQUE`.
    pub(crate) unique: bool,
    /// `CONFIG_KCOV_ENABLE_COMPARISONS`.
    pub(crate) comparisons: bool,
}

/// The kind of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pc,
    Cmp,
    Unique,
    PcCmp,
}

impl Mode {
    /// Returns the name in fdinfo.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Pc => "pc",
            Mode::Cmp => "cmp",
            Mode::Unique => "unique",
            Mode::PcCmp => "pc+cmp",
        }
    }

    pub(super) fn plain(self) -> bool {
        matches!(self, Mode::Pc | Mode::Cmp)
    }
}

impl Kernel {
    pub(super) fn supported(self, mode: Mode) -> Result<Mode, i32> {
        let configured = match mode {
            Mode::Pc => true,
            Mode::Unique => self.unique,
            Mode::Cmp | Mode::PcCmp => self.comparisons,
        };
        if configured { Ok(mode) } else { Err(ENOTSUPP) }
    }

    /// Decodes the argument of `KCOV_ENABLE`.
    pub(super) fn local_mode(self, raw: usize) -> Result<Mode, i32> {
        match raw {
            0 => Ok(Mode::Pc),
            1 => self.supported(Mode::Cmp),
            _ => Err(libc::EINVAL),
        }
    }

    /// Decodes the mode of `KCOV_REMOTE_ENABLE`. The implementation in C has only the first two.
    pub(super) fn remote_mode(self, raw: u32) -> Result<Mode, i32> {
        match raw {
            2 if self.rust => self.supported(Mode::Unique),
            3 if self.rust => self.supported(Mode::PcCmp),
            _ => self.local_mode(raw as usize),
        }
    }
}

/// The parts of a buffer, or of an area, that have counts.
pub(crate) fn parts(mode: Mode, words: usize, front: usize) -> [Part; 2] {
    let part = |at, words, record| Part { at, words, record };
    match mode {
        Mode::Pc => [part(0, words, 1), Part::default()],
        Mode::Cmp => [Part::default(), part(0, words, 4)],
        Mode::Unique => [part(front, words - front, 1), Part::default()],
        Mode::PcCmp => [part(0, front, 1), part(front, words - front, 4)],
    }
}

pub(super) fn check_front(mode: Mode, words: usize, front: usize) -> Outcome {
    let fits = match mode {
        Mode::Pc | Mode::Cmp => true,
        Mode::Unique => front > 0 && words.saturating_sub(front) >= 2,
        Mode::PcCmp => front >= 2 && words.saturating_sub(front) >= 5,
    };
    if fits { Ok(()) } else { Err(libc::EINVAL) }
}
