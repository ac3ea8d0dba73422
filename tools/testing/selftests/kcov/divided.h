/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The modes that divide the buffer: each PC once, with a set in front of the
 * trace, and PCs with comparisons behind them.
 */
#ifndef KCOV_SELFTEST_DIVIDED_H
#define KCOV_SELFTEST_DIVIDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL when this kernel has the command, or the reason why not. */
const char *unique_missing(void);
const char *both_missing(void);
const char *reset_missing(void);
/* The same for a mode by its number, KCOV_TRACE_*. */
const char *mode_missing(uint32_t mode);

/* NULL when this kernel has statistics, or the reason why not. */
const char *statistics_missing(void);
/* The files of debugfs that say where the first bit of a set is, and more. */
uint64_t statistic(const char *name);

/* How many words a section in a softirq may use (CONFIG_KCOV_IRQ_AREA_SIZE). */
unsigned long softirq_area_words(void);
/* The size of such an area in bytes: its words and a header, in pages. */
uint64_t softirq_area_bytes(void);

/*
 * How many words cover the kernel image, so that a page ends with them. Neither this
 * nor what follows asks KCOV.
 */
unsigned long set_words(void);
/* What takes the place of the start of the image for modules, or 0 if not known. */
uint64_t set_modules(void);
/*
 * The number of the bit of a PC, of the kernel image or of a module. Of modules only
 * if set_modules() is known.
 */
uint64_t set_position(uint64_t pc);
bool set_has(const uint64_t *set, uint64_t position);
uint64_t set_size(const uint64_t *set, unsigned long words);
/* Puts the PCs of a trace into a set; returns how many were there already. */
uint64_t set_add(uint64_t *set, unsigned long words, const uint64_t *trace);

/* A line of the descriptor's fdinfo, as a number; ~0 if there is none. */
uint64_t fdinfo(int fd, const char *key);
/* The same, read by another thread, so that nothing of it is recorded. */
struct worker;
uint64_t fdinfo_by(struct worker *worker, int fd, const char *key);

/* KCOV_REMOTE_ENABLE with a common handle and the size of the front. */
long remote_enable_divided(int fd, uint32_t mode, uint32_t front,
			   uint32_t area_size, uint64_t common);

#endif
