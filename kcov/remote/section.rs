// SPDX-License-Identifier: GPL-2.0

//! Start and stop of a remote section.
//!
//! The handle of almost every start is not collected, so this is checked first. While a section is
//! started or stopped, nothing is recorded on the task, so the functions that are called for it
//! appear in no coverage.

use super::{
    handle::{Handle, Key},
    pool,
    registry, //
};
use crate::{
    area::EndedArea,
    context::Context,
    recording::Target,
    statistics,
    task::{self, Stopped}, //
};
use kernel::prelude::*;

/// Starts a section on the current task if a descriptor collects the handle.
///
/// The section may start inside another one, or on a task that records itself. It suspends that
/// recording, which resumes when the section stops. Does nothing in hard interrupts and NMIs.
pub(crate) fn start(raw: u64) {
    let key = match Handle::parse(raw) {
        Some(handle) => handle.key(),
        None => {
            malformed();
            None
        }
    };
    let Some(context) = Context::current() else {
        return;
    };
    match key {
        Some(key) if registry::may_contain(key) => match context {
            // Two calls, so that the compiler knows the context in each of them.
            Context::Task => start_collected(key, Context::Task),
            Context::Softirq => start_collected(key, Context::Softirq),
        },
        _ => task::miss(context),
    }
}

/// Starts a section whose handle is probably collected.
#[inline(always)]
fn start_collected(key: Key, context: Context) {
    let paused = task::pause();
    let Some(mut target) = registry::find(key) else {
        return task::miss(context);
    };
    if context == Context::Softirq {
        target.words = pool::SOFTIRQ_AREA_WORDS;
    }
    match pool::lend(context, target.words) {
        Some(area) => paused.begin(area, target, context),
        None => lose(&target, context),
    }
}

/// Counts a section that cannot be recorded because the pool has no area for it.
#[cold]
fn lose(target: &Target, context: Context) {
    if let Some(sink) = registry::sink(target) {
        sink.lose_section();
    }
    task::miss(context);
}

/// Stops the section that was started last in the current context, if it was recorded.
pub(crate) fn stop() {
    let Some(context) = Context::current() else {
        return;
    };
    match context {
        Context::Task => stop_in(Context::Task),
        Context::Softirq => stop_in(Context::Softirq),
    }
}

#[inline(always)]
fn stop_in(context: Context) {
    match task::stop(context) {
        Stopped::Nothing | Stopped::Missed => {}
        Stopped::Foreign => unbalanced(),
        Stopped::Section(area, paused) => {
            finish(area, context);
            // Resumes the outer recording last, so that the functions called above are not
            // recorded.
            drop(paused);
        }
    }
}

/// Stops all sections of the current task, which must not have any here.
pub(crate) fn abandon(paused: &mut task::Paused) {
    while let Some(area) = paused.unwind() {
        unbalanced();
        let context = area.section().context();
        finish(area, context);
    }
}

#[inline(always)]
fn finish(area: EndedArea, context: Context) {
    if area.has_records() {
        merge(&area);
    }
    pool::give_back(context, area.into_area());
}

#[inline(never)]
fn merge(area: &EndedArea) {
    let target = area.section().target();
    if let Some(sink) = registry::sink(target) {
        sink.merge(target.registration, area);
    }
}

/// Reports the first malformed handle since the boot.
#[cold]
#[inline(never)]
fn malformed() {
    // In a hard interrupt or NMI there is nothing to pause, and the interrupted task must not be
    // touched.
    let _paused = Context::current().map(|_| task::pause());
    kernel::do_once_lite! {
        kernel::warn_on!(true);
    };
}

/// Counts a stop or exit that does not match a start, and reports the first one since the boot.
#[cold]
#[inline(never)]
fn unbalanced() {
    let _paused = task::pause();
    statistics::unbalanced();
    kernel::do_once_lite! {
        pr_warn!("a remote section was not stopped by the context that started it\n");
        kernel::warn_on!(true);
    };
}
