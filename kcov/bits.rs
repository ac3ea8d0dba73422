// SPDX-License-Identifier: GPL-2.0

//! Constants that come from C headers.

use kernel::bindings;

/// Bits of the preempt count: a hard interrupt or NMI is being served.
pub(crate) const INTERRUPT: u32 = bindings::kcov_context_bits_KCOV_CONTEXT_INTERRUPT;

/// Bits of the preempt count (or, with PREEMPT_RT, of the task's count): a softirq is being served.
pub(crate) const SOFTIRQ: u32 = bindings::kcov_context_bits_KCOV_CONTEXT_SOFTIRQ;

/// The number of words in a softirq's area, `CONFIG_KCOV_IRQ_AREA_SIZE`.
pub(crate) const SOFTIRQ_AREA_WORDS: usize = bindings::kcov_sizes_KCOV_SOFTIRQ_AREA_WORDS as usize;

/// The largest number of CPUs, `CONFIG_NR_CPUS`.
pub(crate) const POSSIBLE_CPUS: usize = bindings::kcov_sizes_KCOV_POSSIBLE_CPUS as usize;
