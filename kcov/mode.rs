// SPDX-License-Identifier: GPL-2.0

//! Modes: they select PCs, comparisons or both, or edges, and whether each is recorded every time
//! or once.

use kernel::{bindings, prelude::*};

/// The kinds of records that are made, and which of them are kept.
///
/// As large as the fields next to it: padding would be copied at every start of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Mode {
    /// Every PC.
    Pc,
    /// Every comparison.
    Cmp,
    /// Every PC that the set does not have yet. The set takes the front of the buffer.
    Unique,
    /// Every PC, in the front of the buffer, and every comparison, after the front.
    PcCmp,
    /// Every pair of consecutive PCs that the table does not know. The table takes the front.
    Edge,
}

/// The bits of the task's mode word that the hooks test.
///
/// The scheduler shifts the word while it switches tasks, so that the bits that hooks test are 0;
/// see `kcov_prepare_switch()` in `include/linux/kcov.h`. Therefore the word is a number and not a
/// [`Mode`].
pub(crate) const RECORD_PCS: u32 = bindings::KCOV_RECORD_PCS;
pub(crate) const RECORD_COMPARISONS: u32 = bindings::KCOV_RECORD_COMPARISONS;

/// `true` if the kernel can record each PC or each edge once. Otherwise the code for sets, filters
/// and tables is left out.
pub(crate) const UNIQUE: bool = cfg!(CONFIG_KCOV_UNIQUE);

/// The mode word of a task that is not recorded.
pub(crate) const DISABLED: u32 = 0;

impl Mode {
    /// Decodes the argument of `KCOV_ENABLE`. Returns [`EINVAL`] for a number that it does not
    /// accept, [`ENOTSUPP`] for a mode that the kernel was built without.
    pub(crate) fn from_user(raw: usize) -> Result<Self> {
        const PC: usize = bindings::KCOV_TRACE_PC as usize;
        const CMP: usize = bindings::KCOV_TRACE_CMP as usize;
        match raw {
            PC => Ok(Mode::Pc),
            CMP => Mode::Cmp.supported(),
            _ => Err(EINVAL),
        }
    }

    /// Decodes the mode of `KCOV_REMOTE_ENABLE`, which is the only remote command and therefore
    /// takes all modes. Returns errors as [`Mode::from_user`] does.
    pub(crate) fn from_remote_user(raw: usize) -> Result<Self> {
        const UNIQUE: usize = bindings::KCOV_TRACE_UNIQUE_PC as usize;
        const PC_CMP: usize = bindings::KCOV_TRACE_PC_CMP as usize;
        const EDGE: usize = bindings::KCOV_TRACE_EDGE as usize;
        match raw {
            UNIQUE => Mode::Unique.supported(),
            PC_CMP => Mode::PcCmp.supported(),
            EDGE => Mode::Edge.supported(),
            _ => Mode::from_user(raw),
        }
    }

    /// Returns the mode, or [`ENOTSUPP`] if the kernel was built without it.
    pub(crate) fn supported(self) -> Result<Self> {
        let configured = match self {
            Mode::Pc => true,
            Mode::Unique | Mode::Edge => UNIQUE,
            Mode::Cmp | Mode::PcCmp => cfg!(CONFIG_KCOV_ENABLE_COMPARISONS),
        };
        if configured {
            Ok(self)
        } else {
            Err(ENOTSUPP)
        }
    }

    /// Returns whether all of the memory is one trace with one kind of records.
    pub(crate) const fn is_plain(self) -> bool {
        matches!(self, Mode::Pc | Mode::Cmp)
    }

    /// Returns the mode word of a task that records in this mode.
    pub(crate) const fn word(self) -> u32 {
        match self {
            Mode::Pc | Mode::Unique | Mode::Edge => RECORD_PCS,
            Mode::Cmp => RECORD_COMPARISONS,
            Mode::PcCmp => RECORD_PCS | RECORD_COMPARISONS,
        }
    }

    /// Returns the name of the mode, for users to read.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Mode::Pc => "pc",
            Mode::Cmp => "cmp",
            Mode::Unique => "unique",
            Mode::PcCmp => "pc+cmp",
            Mode::Edge => "edge",
        }
    }
}
