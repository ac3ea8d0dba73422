// SPDX-License-Identifier: GPL-2.0

//! What is recorded: PCs or comparisons.

use kernel::{bindings, prelude::*};

/// What is recorded.
///
/// The values are those of the task's mode word, which the scheduler changes too (it sets
/// `KCOV_IN_CTXSW` during a context switch). That word is therefore kept as a number, and compared
/// with these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Mode {
    Pc = bindings::kcov_mode_KCOV_MODE_TRACE_PC,
    Cmp = bindings::kcov_mode_KCOV_MODE_TRACE_CMP,
}

/// The mode word of a task that records nothing.
pub(crate) const DISABLED: u32 = bindings::kcov_mode_KCOV_MODE_DISABLED;

impl Mode {
    /// Decodes the mode that user space asks for.
    pub(crate) fn from_user(raw: usize) -> Result<Self> {
        const PC: usize = bindings::KCOV_TRACE_PC as usize;
        const CMP: usize = bindings::KCOV_TRACE_CMP as usize;
        match raw {
            PC => Ok(Mode::Pc),
            CMP if cfg!(CONFIG_KCOV_ENABLE_COMPARISONS) => Ok(Mode::Cmp),
            CMP => Err(ENOTSUPP),
            _ => Err(EINVAL),
        }
    }
}
