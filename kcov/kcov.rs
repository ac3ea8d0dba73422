// SPDX-License-Identifier: GPL-2.0

//! KCOV: code coverage for fuzzing.
//!
//! Compilers insert calls of hooks at every basic block and every comparison. KCOV records those
//! calls for tasks that ask for it, in a buffer that they share with the kernel, and records code
//! that runs elsewhere on their behalf. `Documentation/dev-tools/kcov.rst` describes the interface.
//!
//! # The way of the data
//!
//! compiled code → [`hooks`] → mode, then [`context`] → the task's [`task`] →
//! [`records`], or the [`layout`] of the memory when that is not one plain trace → the
//! user's mapping. Nothing on that way takes a lock or can panic, and it calls no function outside
//! of this crate, unless [`arch`] has to, which knows how the current task is found. [`gate`]
//! closes it at the entry while no buffer exists.
//!
//! # The way of control
//!
//! [`device`] decodes what user space asks for, a [`descriptor`] knows what it is used for and what
//! may follow, and [`task`] starts and stops recording on the current task.
//!
//! # The way of a remote section
//!
//! [`ffi`] → [`remote::section`] → [`remote::registry`], which leads from the handle to the
//! sink of a [`descriptor`] → [`remote::pool`], which lends an [`area`] → [`task`], which
//! suspends what was recorded and records into the area. At the stop, the sink merges the area
//! into its buffer, and what was suspended goes on.
//!
//! # Rules
//!
//! - The crate is not instrumented, but what it calls outside of itself is: functions of the
//!   `kernel` crate that are neither generic nor inlined, all C helpers. None of it may stand on
//!   the way of the data, and none of it is called while something is recorded on the task on whose
//!   behalf it is called, except by opening, `KCOV_INIT_TRACE`, mmap, close and fdinfo, which are
//!   recorded like every other system call.
//! - `unsafe` is allowed in the files that touch raw memory, raw task fields or C: [`hooks`],
//!   [`arch`], [`gate`], [`task`], [`records`], [`layout`], [`buffer`], [`area`], [`ffi`]; in
//!   their tests, [`selftest`] and `tests`; and in single functions of [`context`], [`descriptor`],
//!   [`device`] and `remote::registry`.
//! - No field of a C type is used where only bindgen says that it is: see [`offsets`].
//! - Memory that users can write to, or could once, never holds anything of the kernel's.
//! - Tasks are created and sections are started before the crate's initialization. What they reach
//!   is right in zeroed memory.

#![deny(unsafe_code, clippy::multiple_unsafe_ops_per_block)]
#![expect(
    internal_features,
    reason = "the hooks read their return address with a compiler intrinsic"
)]

mod arch;
mod area;
mod buffer;
mod context;
mod descriptor;
mod device;
mod ffi;
mod filter;
mod gate;
mod hooks;
mod layout;
mod memory;
mod mode;
mod offsets;
// What writes comparisons has no caller then, but tests.
#[cfg_attr(not(CONFIG_KCOV_ENABLE_COMPARISONS), allow(dead_code))]
mod recorder;
mod recording;
#[cfg_attr(not(CONFIG_KCOV_ENABLE_COMPARISONS), allow(dead_code))]
mod records;
mod remote;
#[cfg(CONFIG_KCOV_SELFTEST)]
mod selftest;
mod set;
mod statistics;
mod task;
#[cfg(CONFIG_KCOV_KUNIT_TEST)]
mod tests;

use kernel::prelude::*;

module! {
    type: Kcov,
    name: "kcov",
    authors: ["The KCOV developers"],
    description: "Code coverage for fuzzing",
    license: "GPL",
}

struct Kcov {
    _statistics: Pin<KBox<statistics::Files>>,
}

impl kernel::Module for Kcov {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        records::init();
        remote::registry::init();
        remote::pool::init()?;
        device::create();
        let statistics = KBox::pin_init(statistics::Files::new(), GFP_KERNEL)?;

        #[cfg(CONFIG_KCOV_SELFTEST)]
        selftest::run()?;

        Ok(Self {
            _statistics: statistics,
        })
    }
}
