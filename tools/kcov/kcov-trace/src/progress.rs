// SPDX-License-Identifier: GPL-2.0
//! Shows the progress of long work on standard error, if that is a terminal.

use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

/// The number of steps after which the display is updated.
const STRIDE: u64 = 256;

/// The progress of a piece of work.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    steps: AtomicU64,
}

impl Progress {
    /// Starts the display for work of `steps` steps.
    #[must_use]
    pub fn new(what: &'static str, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} [{wide_bar}] {percent:>3} % {eta:>4}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self {
            bar: Some(bar),
            steps: AtomicU64::new(0),
        }
    }

    /// Returns the progress of work that is not displayed.
    #[must_use]
    pub fn hidden() -> Self {
        Self {
            bar: None,
            steps: AtomicU64::new(0),
        }
    }

    /// Counts a step as done; may be called on any thread.
    pub fn advance(&self) {
        let Some(bar) = &self.bar else { return };
        let done = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        if done % STRIDE == 0 {
            bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
