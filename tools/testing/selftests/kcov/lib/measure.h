/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts that the benchmarks share: a clock of instructions or of time, rounds, and forks.
 */
#ifndef KCOV_SELFTEST_MEASURE_H
#define KCOV_SELFTEST_MEASURE_H

#include <stdint.h>

/* More rounds than any benchmark makes. */
#define MEASURE_ROUNDS	200

/* Prints @what with the error in errno, and ends the program. */
void measure_fail(const char *what) __attribute__((noreturn));

/*
 * Chooses the clock: "instructions" or "time". Ends the program if the machine counts no
 * instructions. QEMU's time stamp counter counts them with -icount shift=0.
 */
void measure_with(const char *unit);

/* Returns the number of instructions, or of nanoseconds, since a moment in the past. */
uint64_t measure_now(void);

/* Returns what one of @repeat calls of @call took. */
double measure_calls(void (*call)(void), unsigned int repeat);

/*
 * Returns the median of what @round returned in @rounds rounds, from 1 to MEASURE_ROUNDS of them.
 * Some rounds come before these, and warm up what the kernel keeps.
 */
double measure_rounds(unsigned int rounds, double (*round)(const void *data), const void *data);

/* Forks a process that calls @body, unless it is NULL, and exits; waits for it. */
void measure_fork(void (*body)(void));

#endif
