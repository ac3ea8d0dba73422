// SPDX-License-Identifier: GPL-2.0

//! A test at boot which checks that interrupts do not produce coverage.
//!
//! The hooks recognise an interrupt by the preempt count, which the entry code of the interrupt
//! sets. If instrumented code runs before that, its records are attributed to the interrupted task.
//! The test records while it spins without instrumented calls until timer interrupts have come.
//! Every PC that is recorded then belongs to an interrupt, and the test names its function.

#![expect(unsafe_code)]

use crate::{
    area::Area,
    gate,
    mode::Mode,
    records::{Kind, Records},
    task,
};
use kernel::{bindings, prelude::*};

/// The number of words to record into. A small number is enough, as every interrupt repeats the
/// same leaks.
const WORDS: usize = 4096;

/// The largest number of functions that the test names.
const MAX_NAMED: usize = 32;

/// Runs the test, which takes 300 ms. Reports a failure by messages and a warning; returns an error
/// only if the test cannot run.
pub(crate) fn run() -> Result {
    let mut area = Area::new(WORDS, GFP_KERNEL)?;
    let _gate = gate::KeepOpen::new()?;

    // Without this check, a hook that records nothing would pass the test.
    if cfg!(CONFIG_KCOV_INSTRUMENT_ALL) && !records_calls(&mut area) {
        pr_err!(
            "self test failed: an instrumented function was called, but nothing was recorded\n"
        );
        kernel::warn_on!(true);
        return Ok(());
    }

    // SAFETY: The function only waits.
    task::probe(&mut area, Mode::Pc, WORDS, || unsafe {
        bindings::kcov_selftest_wait()
    });
    let records = records_of(&area);
    let leaked = records.pcs();
    if leaked.is_empty() {
        pr_info!("self test passed: interrupts produced no coverage\n");
        return Ok(());
    }
    report(leaked)
}

/// Returns whether a call of an instrumented function is recorded.
fn records_calls(area: &mut Area) -> bool {
    task::probe(area, Mode::Pc, WORDS, || {
        // SAFETY: The function only reads the time. It is instrumented.
        unsafe { bindings::ktime_get_real_seconds() };
    });
    records_of(area).count() > 0
}

/// Prints the functions of leaked PCs.
fn report(leaked: &[usize]) -> Result {
    pr_err!(
        "self test failed: interrupts produced {} PCs, in these functions:\n",
        leaked.len()
    );
    let mut named = KVec::new();
    for &pc in leaked {
        if named.len() < MAX_NAMED && !named.contains(&pc) {
            named.push(pc, GFP_KERNEL)?;
            // SAFETY: The function only prints.
            unsafe { bindings::kcov_selftest_leak(pc) };
        }
    }
    kernel::warn_on!(true);
    Ok(())
}

/// Returns the records of a probe.
fn records_of(area: &Area) -> Records<'_> {
    // SAFETY: The probe has ended, and the hooks have written the count.
    unsafe { area.layout().records(Kind::Pc) }
}
