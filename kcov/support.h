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

enum kcov_sizes {
	/* The number of words in a softirq's area. */
	KCOV_SOFTIRQ_AREA_WORDS	= CONFIG_KCOV_IRQ_AREA_SIZE,
	KCOV_POSSIBLE_CPUS	= CONFIG_NR_CPUS,
};

/* What KASLR added to every address of the kernel image. */
extern unsigned long kcov_kaslr_offset;

/* Where code is, as in the symbol file: without what KASLR added. */
struct kcov_text {
	/* The code of the kernel image, and its size in bytes. */
	unsigned long start;
	unsigned long size;
	/* The lowest address that a module can have. */
	unsigned long modules;
};

extern struct kcov_text kcov_text;

void kcov_support_init(void);

/* Whether the current task may sleep, as far as the kernel counts what forbids it. */
bool kcov_may_sleep(void);

/* Whether so many pages can be had without another process being killed for them. */
bool kcov_memory_suffices(unsigned long pages);

#ifdef CONFIG_KCOV_GENERIC_ARCH
/* What other architectures read without a call: `current`, preempt_count(), and the CPU. */
struct task_struct *kcov_current_task(void);
unsigned int kcov_preempt_count(void);
unsigned int kcov_cpu(void);
#endif

/* For the self test at boot: time for some timer interrupts, and a line for a leaked PC. */
void kcov_selftest_wait(void);
void kcov_selftest_leak(unsigned long pc);

#endif /* _KERNEL_KCOV_SUPPORT_H */
