/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sections of the sample module, and buffers that record its code in every mode.
 */
#ifndef KCOV_SELFTEST_SAMPLE_H
#define KCOV_SELFTEST_SAMPLE_H

#include <linux/kcov.h>
#include <stdbool.h>
#include <stdint.h>

#include "kcov_sample.h"

#define SAMPLE_DEVICE		"/dev/kcov-sample"

/* Each of them makes one comparison. */
#define BEFORE_FUNCTION		"kcov_sample_before_code"
#define INNER_FUNCTION		"kcov_sample_inner_code"
#define AFTER_FUNCTION		"kcov_sample_after_code"
#define OUTSIDE_FUNCTION	"kcov_sample_outside_code"
#define HARD_FUNCTION		"kcov_sample_hard_code"

/*
 * Returns NULL if a sample module is loaded and its functions can be found, or the reason why not.
 */
const char *sample_missing(void);

/* The modes, in the order of KCOV_TRACE_*. */
#define MODES	4
const char *mode_name(uint32_t mode);

/* A descriptor, and its records in the mode that it was enabled in last. */
struct trace {
	unsigned long front, words;
	uint64_t *area;
	uint32_t mode;
	int fd;
};

int trace_open(struct trace *trace);
void trace_close(struct trace *trace);
/* Empties the buffer. */
void trace_clear(struct trace *trace);
/* Empties the buffer, and starts recording the calling thread. */
long trace_enable(struct trace *trace, uint32_t mode);
/* Starts recording sections with a handle of each kind, 0 for none. Does not change the buffer. */
long trace_collect(struct trace *trace, uint32_t mode, uint32_t area_size, uint64_t common,
		   uint64_t handle);

/* An empty buffer for sections of a handle. A worker may run collection_start(). */
struct collection {
	struct trace *trace;
	uint32_t mode;
	uint64_t handle;
};

long collection_start(void *collection);

/* Returns the number of records, of both kinds together. */
uint64_t trace_count(const struct trace *trace);
/*
 * Returns the number of times that the function was recorded. In KCOV_TRACE_PC_CMP, that is ~0 if
 * PCs and comparisons do not agree.
 */
uint64_t trace_times(const struct trace *trace, const char *function);
/* Returns whether the set has the bits of the PCs of the trace, and no others. */
bool trace_set_agrees(const struct trace *trace);
/*
 * Leaves no space for another record. The last words of the buffer's parts hold a pattern, and
 * trace_is_full() checks that they still do.
 */
void trace_fill(struct trace *trace);
bool trace_is_full(const struct trace *trace);

/* Opens the device, and asks for the handles; a negative errno when one of them fails. */
int sample_open(struct kcov_sample_handles *handles);

/* KCOV_SAMPLE_PAIR, until it was in the calling thread or on top of it. */
long sample_pair(int device, const struct kcov_sample_pair *pair);
/*
 * The same in a row: if an interrupt has met another thread, the row begins again, each
 * time with @prepare, which removes what the row before has left, and returns 0. Returns
 * 1, or 0 when there was no such row in a thousand attempts.
 */
long sample_pairs(int device, const struct kcov_sample_pair *pair, int number,
		  long (*prepare)(void *data), void *data);

/* Returns the number of records of code that ran @times: 1 in modes that record each PC once. */
static inline uint64_t times_in_mode(uint32_t mode, uint64_t times)
{
	return mode == KCOV_TRACE_UNIQUE_PC && times ? 1 : times;
}

/* Expects that a trace has the function as often as its mode records what ran @times. */
#define EXPECT_RECORDED(times, trace, function, format, ...)				\
do {											\
	const uint64_t expected = times_in_mode((trace)->mode, times);			\
	const uint64_t recorded = trace_times(trace, function);				\
											\
	EXPECT_EQ(expected, recorded) TH_LOG(function ", " format, __VA_ARGS__);	\
} while (0)

#endif
