// SPDX-License-Identifier: GPL-2.0

//! KCOV: code coverage for fuzzing.
//!
//! Compilers insert calls of hooks at every basic block and every comparison. KCOV records those
//! calls for tasks that ask for it, in a buffer that they share with the kernel, and records code
//! that runs elsewhere on their behalf. `Documentation/dev-tools/kcov.rst` describes the interface.
//!
//! # The data path
//!
//! compiled code → [`hooks`] → the task's mode ([`task`]) → [`context`] → [`recorder`],
//! which writes to the user's mapping, and asks the [`layout`] of the memory when that is not one
//! plain trace. The data path takes no lock, cannot panic, and calls nothing outside the crate,
//! except that some architectures call a function to find the current task ([`arch`]). While no
//! buffer exists, the [`gate`] closes it at the entry.
//!
//! # The control path
//!
//! [`device`] decodes the calls of user space, a [`descriptor`] has the state and decides what may
//! follow, and [`task`] starts and stops recording on the current task. [`task::elsewhere`]
//! stops it on another one.
//!
//! # The path of a remote section
//!
//! [`ffi`] → [`remote::section`] → [`remote::registry`], which leads from the handle to the
//! sink of a [`descriptor`] → [`remote::pool`], which lends an [`area`] → [`task`], which
//! suspends the current [`recording`] and records into the area. At the stop, the sink merges the
//! area into its buffer, and the suspended recording goes on.
//!
//! # Rules
//!
//! - The crate is not instrumented, but what it calls outside itself is: functions of the `kernel`
//!   crate that are neither generic nor inlined, all C helpers. The data path calls none of it. The
//!   other paths call it while nothing is recorded on the current task, except that opening,
//!   `KCOV_INIT_TRACE`, mmap, close and fdinfo are recorded like every other system call, and
//!   page faults on a mapping like every other page fault.
//! - `unsafe` is allowed in the files that touch raw memory, raw task fields or C: [`hooks`],
//!   [`arch`], [`gate`], [`task`], [`memory`], [`records`], [`recorder`], [`recording`],
//!   [`layout`], [`set`], [`filter`], [`edges`], [`buffer`], [`area`], [`ffi`],
//!   [`task::elsewhere`], `sites`, `sites::group`, `sites::choice`; in their tests, [`selftest`]
//!   and `tests`; and in single functions of [`context`], [`descriptor`], [`device`],
//!   `sites::file` and `remote::registry`.
//! - Files depend on each other in one direction, with two exceptions that are in the nature of
//!   things. A descriptor owns its registration, and the registry leads to descriptors. A task owns
//!   the descriptor that it has enabled, and the descriptor starts and stops recording on the task.
//! - No field of a C type is used where only bindgen says that it is: see [`offsets`].
//! - Memory that users can write to, or could once, never holds anything of the kernel's.
//! - Tasks are created and sections are started before the crate's initialization. The state that
//!   they use is valid in zeroed memory.

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
mod edges;
mod ffi;
mod filter;
mod gate;
mod hooks;
mod layout;
mod memory;
mod mode;
mod offsets;
// Without hooks of comparisons, only tests call what writes them.
#[cfg_attr(not(CONFIG_KCOV_ENABLE_COMPARISONS), allow(dead_code))]
mod recorder;
mod recording;
#[cfg_attr(not(CONFIG_KCOV_ENABLE_COMPARISONS), allow(dead_code))]
mod records;
mod remote;
#[cfg(CONFIG_KCOV_SELFTEST)]
mod selftest;
mod set;
#[cfg(CONFIG_KCOV_SITES)]
mod sites;
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
        #[cfg(CONFIG_KCOV_SITES)]
        sites::file::create();
        let statistics = KBox::pin_init(statistics::Files::new(), GFP_KERNEL)?;

        #[cfg(CONFIG_KCOV_SELFTEST)]
        selftest::run()?;

        Ok(Self {
            _statistics: statistics,
        })
    }
}
