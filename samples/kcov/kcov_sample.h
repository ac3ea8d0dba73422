/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The interface between the sample modules and the program that collects from them.
 *
 * Both modules offer the same device, as /dev/kcov-sample and /dev/rust-kcov-sample. A request
 * returns after the section that it starts has stopped, so the coverage is complete when the ioctl
 * returns.
 */
#ifndef _KCOV_SAMPLE_H
#define _KCOV_SAMPLE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The global handles of the module, for use with KCOV_REMOTE_ENABLE. */
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
 * A section of the worker's global handle and, inside it, one of the caller's common handle, in the
 * worker thread. The implementation in C does not nest sections: it warns and loses the inner
 * section and the rest of the outer one.
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
 * Compares the two values of each size with each other and the first of each size with a constant,
 * and looks up the second 32-bit value among the cases of a switch.
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

/* Contexts: of a task, which may sleep only in the first one, and of interrupts on top of it. */
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
 * @depth sections of the worker's global handle, each inside the previous one, in the given
 * context. kcov_sample_inner_code runs after each start, kcov_sample_after_code before each stop,
 * and kcov_sample_outside_code after the last stop. The implementation in C supports only a depth
 * of 1.
 */
#define KCOV_SAMPLE_SECTIONS	_IOW('|', 0x9a, struct kcov_sample_sections)
/*
 * A section of the worker's global handle in the calling thread. Inside it, one after the other, as
 * many sections of the softirq's handle as the argument says. kcov_sample_inner_code runs in each
 * of them. Not for the implementation in C.
 */
#define KCOV_SAMPLE_IN_A_ROW	_IO('|', 0x9b)

/*
 * A section of the softirq's global handle, in a softirq that keeps the CPU of the calling thread
 * busy until KCOV_SAMPLE_LET_GO, for at most ten seconds.
 */
#define KCOV_SAMPLE_HOLD	_IO('|', 0x9d)
/*
 * Returns whether the section of KCOV_SAMPLE_HOLD runs, or a thread waits for KCOV_SAMPLE_WAIT. If
 * the argument is not 0, releases it. For KCOV_SAMPLE_HOLD, it must be called on another CPU.
 */
#define KCOV_SAMPLE_LET_GO	_IO('|', 0x9e)

/*
 * A section of the softirq's global handle, in a softirq. A timer in hard interrupt context
 * interrupts it as often as the argument says, for at most ten seconds. Each time, the timer starts
 * and stops a section of the worker's handle, and kcov_sample_hard_code runs between them. Returns
 * the number of interruptions.
 */
#define KCOV_SAMPLE_HARD_TIMER	_IO('|', 0x9f)
/* The largest argument of KCOV_SAMPLE_HARD_TIMER. */
#define KCOV_SAMPLE_MAX_TIMES	100000
/* The same as KCOV_SAMPLE_HARD_TIMER, with the section in the calling thread. */
#define KCOV_SAMPLE_HARD_TIMER_TASK	_IO('|', 0xa0)

/* Bits of @flags in struct kcov_sample_pair. */
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
 * In the given context, a section of the handle @outer and, inside it, a section of the handle
 * @inner, if @flags ask for them. The handles are not checked. kcov_sample_before_code runs after
 * the start of the outer section, kcov_sample_inner_code after the start of the inner one, and
 * kcov_sample_after_code before the stop of the outer one. Then kcov_sample_outside_code runs in
 * the calling thread. With KCOV_SAMPLE_WAIT, which is for KCOV_SAMPLE_PREEMPTIBLE only, the thread
 * waits before kcov_sample_after_code until KCOV_SAMPLE_LET_GO, for at most ten seconds.
 *
 * Returns 1 if the sections ran in the calling thread or on top of it, 0 if the interrupt came on
 * top of another task.
 */
#define KCOV_SAMPLE_PAIR	_IOW('|', 0xa1, struct kcov_sample_pair)

/*
 * Runs kcov_sample_inner_code without a section, in the context that the argument selects. Returns
 * a value as KCOV_SAMPLE_PAIR does.
 */
#define KCOV_SAMPLE_CODE	_IO('|', 0xa2)

struct kcov_sample_common {
	__u32 context;
	__u32 padding;
	__u64 handle;
};

/*
 * Stores the result of kcov_common_handle() in @context. Returns a value as KCOV_SAMPLE_PAIR does.
 */
#define KCOV_SAMPLE_COMMON_HANDLE	_IOWR('|', 0xa3, struct kcov_sample_common)

/*
 * The same as KCOV_SAMPLE_SECTIONS, except that in every second section, beginning with the second,
 * kcov_sample_before_code runs after the start and kcov_sample_worker_code before the stop.
 */
#define KCOV_SAMPLE_ALTERNATING	_IOW('|', 0xa4, struct kcov_sample_sections)

/*
 * A section of the worker's global handle, in the calling thread. It runs kcov_sample_before_code
 * as often as the argument says, and then kcov_sample_after_code as often.
 */
#define KCOV_SAMPLE_LONG	_IO('|', 0xa5)

/*
 * As many sections as the argument says, each like the one of KCOV_SAMPLE_SOFTIRQ, one every 100
 * microseconds, on the CPU of the calling thread, which waits.
 */
#define KCOV_SAMPLE_SOFTIRQS	_IO('|', 0xa7)

/*
 * The number of times that softirqs interrupted a task, counted by the last KCOV_SAMPLE_SOFTIRQS or
 * KCOV_SAMPLE_SOFTIRQ.
 */
struct kcov_sample_interrupted {
	__u64 recording;	/* While the task was recording. */
	__u64 switched;		/* Those of them that came during a switch of tasks. */
};

#define KCOV_SAMPLE_INTERRUPTED	_IOR('|', 0xa6, struct kcov_sample_interrupted)

/*
 * Mistakes that a driver must not make, to test the consequences. The implementation in Rust warns
 * once and goes on; do not use these requests with any other implementation.
 */

/* A stop by the caller, who has not started a section. */
#define KCOV_SAMPLE_SURPLUS_STOP	_IO('|', 0x96)
/*
 * A section of the worker's global handle, in the worker thread, and in it a softirq that stops
 * this section, which it has not started.
 */
#define KCOV_SAMPLE_FOREIGN_STOP	_IO('|', 0x97)
/* A section of the worker's global handle, in which its thread exits. */
#define KCOV_SAMPLE_MISSING_STOP	_IO('|', 0x98)
/*
 * As many nested sections of the softirq's global handle as the argument says: more than there are
 * areas for softirqs.
 */
#define KCOV_SAMPLE_DEEP		_IO('|', 0x99)
/*
 * The same as KCOV_SAMPLE_FOREIGN_STOP, while a section of the softirq's global handle runs inside
 * the worker's.
 */
#define KCOV_SAMPLE_FOREIGN_STOP_INSIDE	_IO('|', 0x9c)

#endif /* _KCOV_SAMPLE_H */
