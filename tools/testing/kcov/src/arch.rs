// SPDX-License-Identifier: GPL-2.0

//! A CPU and a task for each thread of a test.

pub(crate) use kernel::host::{cpu, current_task, preempt_count};

pub(crate) const VMALLOC_FAULTS: bool = true;

pub(crate) const POSSIBLE_CPUS: usize = kernel::bindings::kcov_sizes_KCOV_POSSIBLE_CPUS as usize;
