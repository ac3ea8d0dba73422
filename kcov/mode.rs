// SPDX-License-Identifier: GPL-2.0

//! Modes: PCs, comparisons, or both are recorded; each PC every time, or once.

use kernel::{bindings, prelude::*};

/// The kind of records, and which of them.
///
/// As large as its neighbours: padding would be copied at every start of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Mode {
    /// Every PC.
    Pc,
    /// Every comparison.
    Cmp,
    /// Every PC that is not in the set yet, which takes the front of the buffer.
    Unique,
    /// Every PC, in the front of the buffer, and every comparison, after it.
    PcCmp,
}

/// The bits of the task's mode word that the hooks look at.
///
/// The scheduler moves the word aside while it switches tasks, so that no bit is set where a hook
/// looks; see `kcov_prepare_switch()` in `include/linux/kcov.h`. That word is therefore kept as a
/// number.
pub(crate) const RECORD_PCS: u32 = bindings::KCOV_RECORD_PCS;
pub(crate) const RECORD_COMPARISONS: u32 = bindings::KCOV_RECORD_COMPARISONS;

/// Whether each PC can be recorded once. Without it, the code for sets and filters is left out.
pub(crate) const UNIQUE: bool = cfg!(CONFIG_KCOV_UNIQUE);

/// The mode word of a task that records nothing.
pub(crate) const DISABLED: u32 = 0;

impl Mode {
    /// Decodes the argument of `KCOV_ENABLE`.
    pub(crate) fn from_user(raw: usize) -> Result<Self> {
        const PC: usize = bindings::KCOV_TRACE_PC as usize;
        const CMP: usize = bindings::KCOV_TRACE_CMP as usize;
        match raw {
            PC => Ok(Mode::Pc),
            CMP => Mode::Cmp.supported(),
            _ => Err(EINVAL),
        }
    }

    /// Decodes the mode of `KCOV_REMOTE_ENABLE`, which has no other place for all of them.
    pub(crate) fn from_remote_user(raw: usize) -> Result<Self> {
        const UNIQUE: usize = bindings::KCOV_TRACE_UNIQUE_PC as usize;
        const PC_CMP: usize = bindings::KCOV_TRACE_PC_CMP as usize;
        match raw {
            UNIQUE => Mode::Unique.supported(),
            PC_CMP => Mode::PcCmp.supported(),
            _ => Mode::from_user(raw),
        }
    }

    /// Returns the mode, if the kernel is configured for it.
    pub(crate) fn supported(self) -> Result<Self> {
        let configured = match self {
            Mode::Pc => true,
            Mode::Unique => UNIQUE,
            Mode::Cmp | Mode::PcCmp => cfg!(CONFIG_KCOV_ENABLE_COMPARISONS),
        };
        if configured {
            Ok(self)
        } else {
            Err(ENOTSUPP)
        }
    }

    /// Returns whether all memory is one trace, of one kind of records.
    pub(crate) const fn is_plain(self) -> bool {
        matches!(self, Mode::Pc | Mode::Cmp)
    }

    /// Returns the mode word of a task that records.
    pub(crate) const fn word(self) -> u32 {
        match self {
            Mode::Pc | Mode::Unique => RECORD_PCS,
            Mode::Cmp => RECORD_COMPARISONS,
            Mode::PcCmp => RECORD_PCS | RECORD_COMPARISONS,
        }
    }

    /// Returns the name for a person to read.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Mode::Pc => "pc",
            Mode::Cmp => "cmp",
            Mode::Unique => "unique",
            Mode::PcCmp => "pc+cmp",
        }
    }
}
