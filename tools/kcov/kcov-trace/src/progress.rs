// SPDX-License-Identifier: GPL-2.0
//! Shows on standard error how far long work has come; nothing where that is no terminal.

use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

/// The display is touched once in so many steps.
const STRIDE: u64 = 256;

/// How far a piece of work has come.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    steps: AtomicU64,
}

impl Progress {
    /// Starts the display of work with so many steps.
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

    /// Work that nobody watches.
    #[must_use]
    pub fn hidden() -> Self {
        Self {
            bar: None,
            steps: AtomicU64::new(0),
        }
    }

    /// One step is done; any thread may say so.
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
