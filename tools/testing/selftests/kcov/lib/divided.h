/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The modes that divide the buffer: each PC once, with a set in front of the trace, and PCs
 * followed by comparisons.
 */
#ifndef KCOV_SELFTEST_DIVIDED_H
#define KCOV_SELFTEST_DIVIDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returns NULL if this kernel has the command, or the reason why not. */
const char *unique_missing(void);
const char *both_missing(void);
const char *reset_missing(void);
/* Does the same for a mode by its number, KCOV_TRACE_*. */
const char *mode_missing(uint32_t mode);

/* Returns NULL if this kernel has statistics, or the reason why not. */
const char *statistics_missing(void);
/* Returns a number from a file in debugfs, such as the address of the first bit of a set. */
uint64_t statistic(const char *name);

/* Returns the number of words that a section in a softirq may use (CONFIG_KCOV_IRQ_AREA_SIZE). */
unsigned long softirq_area_words(void);
/* Returns the size of such an area in bytes: its words and a header, in whole pages. */
uint64_t softirq_area_bytes(void);

/*
 * Returns the number of words that cover the kernel image, rounded up to whole pages. Like the
 * functions below, it does not ask KCOV.
 */
unsigned long set_words(void);
/* Returns the address that replaces the start of the image for modules, or 0 if it is not known. */
uint64_t set_modules(void);
/*
 * Returns the number of the bit of a PC in the kernel image or in a module. For modules, only if
 * set_modules() is known.
 */
uint64_t set_position(uint64_t pc);
bool set_has(const uint64_t *set, uint64_t position);
uint64_t set_size(const uint64_t *set, unsigned long words);
/* Puts the PCs of a trace into a set; returns the number of PCs that it had already. */
uint64_t set_add(uint64_t *set, unsigned long words, const uint64_t *trace);

/* Returns the number in a line of the descriptor's fdinfo; ~0 if the line is missing. */
uint64_t fdinfo(int fd, const char *key);
/* Does the same in another thread, so that the reading is not recorded. */
struct worker;
uint64_t fdinfo_by(struct worker *worker, int fd, const char *key);


#endif
