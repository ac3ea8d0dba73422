/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What the sample modules and the program that collects from them agree on.
 *
 * Both modules offer the same device, /dev/kcov-sample and
 * /dev/rust-kcov-sample.  A request returns after the section that it starts
 * has stopped, so the coverage is there when the ioctl is back.
 */
#ifndef _KCOV_SAMPLE_H
#define _KCOV_SAMPLE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The global handles of the module, to be passed to KCOV_REMOTE_ENABLE. */
struct kcov_sample_handles {
	__u64 worker;
	__u64 softirq;
};

#define KCOV_SAMPLE_HANDLES	_IOR('|', 0x90, struct kcov_sample_handles)
/* A section of the worker's global handle, in the worker thread. */
#define KCOV_SAMPLE_WORKER	_IO('|', 0x91)
/* A section of the caller's common handle, in a work item. */
#define KCOV_SAMPLE_WORK	_IO('|', 0x92)
/* A section of the softirq's global handle, in a timer. */
#define KCOV_SAMPLE_SOFTIRQ	_IO('|', 0x93)
/*
 * A section of the worker's global handle and inside of it one of the caller's
 * common handle, in the worker thread.  The implementation in C does not nest:
 * it warns and loses the inner section and the rest of the outer one.
 */
#define KCOV_SAMPLE_NESTED	_IO('|', 0x94)

/* Two values of each size, for comparisons in the calling thread. */
struct kcov_sample_operands {
	__u64 u64[2];
	__u32 u32[2];
	__u16 u16[2];
	__u8 u8[2];
	__u16 padding;
};

/*
 * Compares both values of each size with each other, the first of each with a
 * constant, and looks up the second of 32 bits among the cases of a switch.
 */
#define KCOV_SAMPLE_COMPARE	_IOW('|', 0x95, struct kcov_sample_operands)

#define KCOV_SAMPLE_CONST_U64	0x5eedc0de7ea5ba5eULL
#define KCOV_SAMPLE_CONST_U32	0x5eedc0deU
#define KCOV_SAMPLE_CONST_U16	0x5eed
#define KCOV_SAMPLE_CONST_U8	0x5e

#define KCOV_SAMPLE_CASE_A	0x00000a11U
#define KCOV_SAMPLE_CASE_B	0x00b0b000U
#define KCOV_SAMPLE_CASE_C	0xca401000U
#define KCOV_SAMPLE_CASE_D	0xdadad0d0U

/* Only the module in C has the following requests. */

/* The largest number of sections in one request. */
#define KCOV_SAMPLE_MAX_DEPTH	4096

/*
 * Contexts: of a task, which may sleep in the first one only, and of interrupts on
 * top of it.
 */
enum kcov_sample_context {
	KCOV_SAMPLE_PREEMPTIBLE,
	KCOV_SAMPLE_BH_DISABLED,
	KCOV_SAMPLE_PREEMPT_DISABLED,
	KCOV_SAMPLE_IRQS_DISABLED,
	KCOV_SAMPLE_RCU_READ,
	KCOV_SAMPLE_IN_SOFTIRQ,
	KCOV_SAMPLE_IN_HARD_INTERRUPT,
};

struct kcov_sample_sections {
	__u32 context;
	__u32 depth;
};

/*
 * As many sections of the worker's global handle as @depth says, each inside the
 * one before, in the given context.  kcov_sample_inner_code runs after each start,
 * kcov_sample_after_code before each stop, and kcov_sample_outside_code after the
 * last stop.  The implementation in C takes a depth of 1 only.
 */
#define KCOV_SAMPLE_SECTIONS	_IOW('|', 0x9a, struct kcov_sample_sections)
/*
 * A section of the worker's global handle, in the calling thread, and inside it as
 * many sections of the softirq's as the argument says, one after the other.
 * kcov_sample_inner_code runs in each of them.  Not for the implementation in C.
 */
#define KCOV_SAMPLE_IN_A_ROW	_IO('|', 0x9b)

/*
 * A section of the softirq's global handle, in a softirq that keeps the CPU of the
 * calling thread busy until it is let go, or ten seconds have passed.
 */
#define KCOV_SAMPLE_HOLD	_IO('|', 0x9d)
/*
 * Returns whether the section of KCOV_SAMPLE_HOLD runs, or a thread waits for
 * KCOV_SAMPLE_WAIT. If the argument is not 0, lets it go. To be called on another
 * CPU for the first one.
 */
#define KCOV_SAMPLE_LET_GO	_IO('|', 0x9e)

/*
 * A section of the softirq's global handle, in a softirq, that a timer in hard
 * interrupt context interrupts as often as the argument says, or for ten seconds.
 * Each time, the timer starts and stops a section of the worker's handle, and
 * kcov_sample_hard_code runs between them.  Returns how often that was.
 */
#define KCOV_SAMPLE_HARD_TIMER	_IO('|', 0x9f)
/* The largest argument of KCOV_SAMPLE_HARD_TIMER. */
#define KCOV_SAMPLE_MAX_TIMES	100000
/* As KCOV_SAMPLE_HARD_TIMER, with the section in the calling thread. */
#define KCOV_SAMPLE_HARD_TIMER_TASK	_IO('|', 0xa0)

/* Bits of struct kcov_sample_pair's @flags. */
#define KCOV_SAMPLE_OUTER	1
#define KCOV_SAMPLE_INNER	2
#define KCOV_SAMPLE_WAIT	4

struct kcov_sample_pair {
	__u64 outer;
	__u64 inner;
	__u32 context;
	__u32 flags;
};

/*
 * In the given context, a section of the handle @outer, and inside it one of the
 * handle @inner, as far as @flags say so.  The handles are not checked.
 * kcov_sample_before_code runs after the start of the outer section,
 * kcov_sample_inner_code after that of the inner one, and kcov_sample_after_code
 * before the stop of the outer one.  Then kcov_sample_outside_code runs in the calling
 * thread.  With KCOV_SAMPLE_WAIT, the thread waits before kcov_sample_after_code
 * until KCOV_SAMPLE_LET_GO, or ten seconds; in KCOV_SAMPLE_PREEMPTIBLE only.
 *
 * Returns 1 if the sections were in the calling thread or on top of it, 0 if an
 * interrupt has met another one.
 */
#define KCOV_SAMPLE_PAIR	_IOW('|', 0xa1, struct kcov_sample_pair)

/*
 * kcov_sample_inner_code and no section, in the context that the argument says.
 * Returns what KCOV_SAMPLE_PAIR returns.
 */
#define KCOV_SAMPLE_CODE	_IO('|', 0xa2)

struct kcov_sample_common {
	__u32 context;
	__u32 padding;
	__u64 handle;
};

/*
 * Stores what kcov_common_handle() returns in @context.  Returns what
 * KCOV_SAMPLE_PAIR returns.
 */
#define KCOV_SAMPLE_COMMON_HANDLE	_IOWR('|', 0xa3, struct kcov_sample_common)

/*
 * As KCOV_SAMPLE_SECTIONS.  But in every second section, the first one not among
 * them, kcov_sample_before_code runs after the start and kcov_sample_worker_code
 * before the stop.
 */
#define KCOV_SAMPLE_ALTERNATING	_IOW('|', 0xa4, struct kcov_sample_sections)

/*
 * A section of the worker's global handle, in the calling thread, that runs
 * kcov_sample_before_code as often as the argument says, and then
 * kcov_sample_after_code as often.
 */
#define KCOV_SAMPLE_LONG	_IO('|', 0xa5)

/*
 * As many sections as the argument says, as KCOV_SAMPLE_SOFTIRQ has one, one every
 * 100 microseconds, on the CPU of the calling thread, which waits.
 */
#define KCOV_SAMPLE_SOFTIRQS	_IO('|', 0xa7)

/* Interruptions of a task by softirqs of the last one, or by KCOV_SAMPLE_SOFTIRQ. */
struct kcov_sample_interrupted {
	__u64 recording;	/* that was recording, and of those: */
	__u64 switched;		/* in a switch of tasks */
};

#define KCOV_SAMPLE_INTERRUPTED	_IOR('|', 0xa6, struct kcov_sample_interrupted)

/*
 * What a driver must not do, to see what becomes of it.  The implementation in
 * Rust warns once and goes on; do not try the others.
 */

/* A stop of the caller, who has started nothing. */
#define KCOV_SAMPLE_SURPLUS_STOP	_IO('|', 0x96)
/*
 * A section of the worker's global handle, in the worker thread, and in it a
 * softirq that stops what it has not started.
 */
#define KCOV_SAMPLE_FOREIGN_STOP	_IO('|', 0x97)
/* A section of the worker's global handle that its thread ends in. */
#define KCOV_SAMPLE_MISSING_STOP	_IO('|', 0x98)
/*
 * As many sections of the softirq's global handle as the argument says, each
 * inside the one before: more than there are areas for softirqs.
 */
#define KCOV_SAMPLE_DEEP		_IO('|', 0x99)
/*
 * As KCOV_SAMPLE_FOREIGN_STOP, while a section of the softirq's global handle runs
 * inside the worker's.
 */
#define KCOV_SAMPLE_FOREIGN_STOP_INSIDE	_IO('|', 0x9c)

#endif /* _KCOV_SAMPLE_H */
