// SPDX-License-Identifier: GPL-2.0

//! `KCOV_RESET_TRACE`.

#![deny(unsafe_code)]

use super::{Descriptor, Recording};
use crate::{statistics, task};
use kernel::prelude::*;

/// The number of words of a set that are cleared before the state is checked again.
const CLEAR_STEP: usize = 4096;

impl Descriptor {
    /// `KCOV_RESET_TRACE`: discards the records of the task that has enabled the descriptor, or of
    /// the sections that were recorded for it. Any task may call it.
    pub(crate) fn reset(&self, unused: usize) -> Result {
        let paused = task::pause();
        if unused != 0 {
            return Err(EINVAL);
        }
        let own = paused.has_local(Some(self));
        // The counts are reset first. A PC that is recorded after that stays in the trace, and may
        // be recorded a second time if its bit is cleared later.
        let state = self.sink.state.lock();
        let (laid_out, recording) = state.recording().ok_or(EINVAL)?;
        statistics::records_dropped(laid_out.dropped());
        let rounds = if matches!(recording, Recording::Local) && !own {
            laid_out.reset_counts_of_other_task();
            2
        } else {
            laid_out.reset_counts();
            1
        };
        let words = laid_out.set().words();
        drop(state);
        // A hook of another task reads a word of the set, and stores it with one more bit. If it is
        // cleared in between, the old bits are there again, but not their records. The second round
        // clears these bits. The hooks that it comes across find only bits of PCs that are in the
        // trace.
        for _ in 0..rounds {
            self.clear_set(words);
        }
        Ok(())
    }

    /// Clears the first `words` words of the set, unless the descriptor is disabled.
    fn clear_set(&self, words: usize) {
        let mut left = words;
        while left > 0 {
            let state = self.sink.state.lock();
            let Some((laid_out, _)) = state.recording() else {
                break;
            };
            let from = left.saturating_sub(CLEAR_STEP);
            laid_out.set().clear(from, left - from);
            left = from;
        }
    }
}
