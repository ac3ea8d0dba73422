// SPDX-License-Identifier: GPL-2.0

//! The test at boot that interrupts don't produce coverage.
//!
//! The hooks tell interrupts by the preempt count, which the entry code of an interrupt sets. What
//! is instrumented and runs before that is taken for code of the interrupted task. The test spins
//! for a while, with recording on and no instrumented calls, until timer interrupts have come;
//! whatever was recorded then does not belong to it, and is named.

#![expect(unsafe_code)]

use crate::{
    area::Area,
    gate,
    mode::Mode,
    records::{Kind, Records},
    task,
};
use kernel::{bindings, prelude::*};

/// The largest number of words that are recorded. Leaks repeat with every interrupt.
const WORDS: usize = 4096;

/// The largest number of functions that are named.
const MAX_NAMED: usize = 32;

/// Runs the test. Takes 300 ms.
pub(crate) fn run() -> Result {
    let mut area = Area::new(WORDS, GFP_KERNEL)?;
    let _gate = gate::KeepOpen::new()?;

    // Without this, a hook that records nothing at all would pass.
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
    // SAFETY: The probe is over, and the hooks have written the count.
    unsafe { area.layout().records(Kind::Pc) }
}
