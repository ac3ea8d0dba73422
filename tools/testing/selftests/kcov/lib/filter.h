/* SPDX-License-Identifier: GPL-2.0 */
/* The file kcov_filter, which selects the calls of hooks that the running kernel has. */
#ifndef KCOV_SELFTEST_FILTER_H
#define KCOV_SELFTEST_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILTER_FILE	"/sys/kernel/debug/kcov_filter"

/* Returns NULL if the filter can be changed, or the reason why not. */
const char *filter_missing(void);
/* Returns a line for addresses of vmlinux, up to the next call. */
const char *filter_range(uint64_t start, uint64_t end);
/* Opens the file with more @flags than O_WRONLY; returns a negative errno if that fails. */
int filter_open(int flags);
/* Writes @text at once; returns 0 or a negative errno. */
int filter_write(int fd, const char *text);
/* Does both, and closes the file. */
int filter_replace(const char *text);
int filter_append(const char *text);
/* Returns what a reader gets, up to the next call; "" if it cannot be read. */
const char *filter_text(void);
/* Returns the number that the file has for a line, or -1 if it does not have the line. */
long filter_matched(const char *line);

#endif
