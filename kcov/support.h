/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Parts that the KCOV crate needs from C: constants that bindgen cannot evaluate, and inline
 * functions of the kernel that have no counterpart in Rust.
 */
#ifndef _KERNEL_KCOV_SUPPORT_H
#define _KERNEL_KCOV_SUPPORT_H

#include <linux/kcov.h>
#include <linux/preempt.h>

#include "gate.h"
#include "sites.h"

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

/* The offset that KASLR added to every address of the kernel image. */
extern unsigned long kcov_kaslr_offset;

/* The addresses of code as in the symbol file, without the offset of KASLR. */
struct kcov_text {
	/* The start of the kernel image's code, and its size in bytes. */
	unsigned long start;
	unsigned long size;
	/* The lowest address that a module can have. */
	unsigned long modules;
};

extern struct kcov_text kcov_text;

void kcov_support_init(void);

/*
 * Returns whether the current task may sleep, as far as the kernel tracks the conditions that
 * forbid it.
 */
bool kcov_may_sleep(void);

/*
 * Returns whether so many pages can be allocated without the kernel killing another process for
 * them.
 */
bool kcov_memory_suffices(unsigned long pages);

/*
 * Calls @function with @task and @arg if the task is blocked, and keeps it blocked meanwhile.
 * Interrupts are off in the call.
 */
void kcov_call_blocked(struct task_struct *task,
		       void (*function)(struct task_struct *task, void *arg), void *arg);

/*
 * Has @task call kcov_disable_here(), which is in ffi.rs, on its way to user space. Returns
 * -ESRCH if the task exits, and -ENOMEM without memory.
 */
int kcov_ask(struct task_struct *task, void *descriptor);
void kcov_disable_here(void *descriptor);

/* Waits for some timer ticks. Returns -EINTR if the current task was killed. */
int kcov_wait(long ticks);

#ifdef CONFIG_KCOV_GENERIC_ARCH
/*
 * The values that other architectures read without a call: `current`, preempt_count(), and the CPU
 * number.
 */
struct task_struct *kcov_current_task(void);
unsigned int kcov_preempt_count(void);
unsigned int kcov_cpu(void);
#endif

/*
 * For the self test at boot: a wait for some timer interrupts, and a line in the log for a leaked
 * PC.
 */
void kcov_selftest_wait(void);
void kcov_selftest_leak(unsigned long pc);

#endif /* _KERNEL_KCOV_SUPPORT_H */
