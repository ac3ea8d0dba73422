/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KCOV crate needs from C: constants that bindgen can't evaluate, and inline functions of
 * the kernel that have no counterpart in Rust.
 */
#ifndef _KERNEL_KCOV_SUPPORT_H
#define _KERNEL_KCOV_SUPPORT_H

#include <linux/kcov.h>
#include <linux/preempt.h>

#include "gate.h"

/* Contexts, as bits of the preempt count. */
enum kcov_context_bits {
	KCOV_CONTEXT_SOFTIRQ	= SOFTIRQ_OFFSET,
	KCOV_CONTEXT_INTERRUPT	= NMI_MASK | HARDIRQ_MASK,
};

/* The number of words in a softirq's area. */
enum kcov_sizes {
	KCOV_SOFTIRQ_AREA_WORDS	= CONFIG_KCOV_IRQ_AREA_SIZE,
};

/* What KASLR added to every address of the kernel image. */
extern unsigned long kcov_kaslr_offset;

void kcov_support_init(void);

/* For the self test at boot: time for some timer interrupts, and a line for a leaked PC. */
void kcov_selftest_wait(void);
void kcov_selftest_leak(unsigned long pc);

#endif /* _KERNEL_KCOV_SUPPORT_H */
