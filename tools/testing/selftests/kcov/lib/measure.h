/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the benchmarks share: a clock of instructions or of time, and medians.
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

/* Returns the median of @number samples, which are sorted. @number is not 0. */
double measure_median(double *samples, unsigned int number);

#endif
