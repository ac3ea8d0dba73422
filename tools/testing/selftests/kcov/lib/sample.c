// SPDX-License-Identifier: GPL-2.0
/* Sections of the sample module; see sample.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "divided.h"
#include "kcov.h"
#include "sample.h"
#include "symbols.h"

/* The size of the front if the buffer has no set. */
#define FRONT		(16UL << 10)
#define PATTERN		0x5eed5eed5eed5eedULL
/* The number of times that an interrupt may hit another thread. */
#define ATTEMPTS	1000

const char *sample_missing(void)
{
	if (access(SAMPLE_DEVICE, R_OK | W_OK))
		return "no " SAMPLE_DEVICE " (CONFIG_SAMPLE_KCOV_MODULE)";
	return symbols_missing();
}

const char *mode_name(uint32_t mode)
{
	static const char * const names[MODES] = { "pc", "cmp", "unique", "pc+cmp" };

	return mode < MODES ? names[mode] : "?";
}

int trace_open(struct trace *trace)
{
	memset(trace, 0, sizeof(*trace));
	trace->front = statistics_missing() ? FRONT : set_words();
	if (trace->front < FRONT)
		trace->front = FRONT;
	trace->words = trace->front + COVER_WORDS;
	trace->fd = kcov_open_mapped(trace->words, &trace->area);
	return trace->fd;
}

void trace_close(struct trace *trace)
{
	kcov_unmap(trace->area, trace->words);
	close(trace->fd);
}

void trace_clear(struct trace *trace)
{
	memset(trace->area, 0, trace->words * sizeof(*trace->area));
}

long trace_enable(struct trace *trace, uint32_t mode)
{
	trace->mode = mode;
	trace_clear(trace);
	switch (mode) {
	case KCOV_TRACE_UNIQUE_PC:
		return kcov_ioctl(trace->fd, KCOV_UNIQUE_ENABLE, trace->front);
	case KCOV_TRACE_PC_CMP:
		return kcov_ioctl(trace->fd, KCOV_PC_CMP_ENABLE, trace->front);
	default:
		return kcov_enable(trace->fd, mode);
	}
}

long trace_collect(struct trace *trace, uint32_t mode, uint32_t area_size, uint64_t common,
		   uint64_t handle)
{
	trace->mode = mode;
	return kcov_remote_divided(trace->fd, mode, trace->front, area_size, common, handle);
}

long collection_start(void *data)
{
	struct collection *collection = data;

	trace_clear(collection->trace);
	return trace_collect(collection->trace, collection->mode, COVER_WORDS, 0,
			     collection->handle);
}

/* Returns the part of the buffer for PCs and its size; NULL if the mode has none. */
static uint64_t *pcs(const struct trace *trace, unsigned long *words)
{
	switch (trace->mode) {
	case KCOV_TRACE_PC:
		*words = trace->words;
		return trace->area;
	case KCOV_TRACE_UNIQUE_PC:
		*words = trace->words - trace->front;
		return trace->area + trace->front;
	case KCOV_TRACE_PC_CMP:
		*words = trace->front;
		return trace->area;
	default:
		return NULL;
	}
}

/* Does the same for comparisons. */
static uint64_t *comparisons(const struct trace *trace, unsigned long *words)
{
	switch (trace->mode) {
	case KCOV_TRACE_CMP:
		*words = trace->words;
		return trace->area;
	case KCOV_TRACE_PC_CMP:
		*words = trace->words - trace->front;
		return trace->area + trace->front;
	default:
		return NULL;
	}
}

uint64_t trace_count(const struct trace *trace)
{
	unsigned long words;
	const uint64_t *part = pcs(trace, &words);
	uint64_t count = part ? cover_count(part) : 0;

	part = comparisons(trace, &words);
	return count + (part ? cover_count(part) : 0);
}

/* Converts a trace of comparisons to a trace of PCs. */
static uint64_t times_compared(const uint64_t *part, const char *function)
{
	uint64_t i, times, count = cover_count(part), *places = calloc(count + 1, sizeof(*places));

	if (!places)
		return ~0ULL;
	places[0] = count;
	for (i = 1; i <= count; i++)
		places[i] = part[WORDS_PER_CMP * i];
	times = times_covered(places, function);
	free(places);
	return times;
}

uint64_t trace_times(const struct trace *trace, const char *function)
{
	unsigned long words;
	const uint64_t *covered = pcs(trace, &words), *compared = comparisons(trace, &words);
	uint64_t times;

	if (!compared)
		return times_covered(covered, function);
	times = times_compared(compared, function);
	if (covered && times_covered(covered, function) != times)
		return ~0ULL;
	return times;
}

bool trace_set_agrees(const struct trace *trace)
{
	uint64_t *expected = calloc(trace->front, sizeof(*expected));
	unsigned long words;
	bool agrees;

	if (!expected)
		return false;
	agrees = !set_add(expected, trace->front, pcs(trace, &words)) &&
		 !memcmp(expected, trace->area, trace->front * sizeof(*expected));
	free(expected);
	return agrees;
}

/*
 * Fills the last words of a buffer with records, except for words that are too few for a
 * comparison.
 */
static void fill(uint64_t *part, unsigned long words, unsigned long record)
{
	part[0] = (words - 1) / record;
	part[words - 1] = PATTERN;
	part[part[0] * record] = PATTERN;
}

static bool is_full(const uint64_t *part, unsigned long words, unsigned long record)
{
	return part[0] == (words - 1) / record && part[words - 1] == PATTERN &&
	       part[part[0] * record] == PATTERN;
}

void trace_fill(struct trace *trace)
{
	unsigned long words;
	uint64_t *part = pcs(trace, &words);

	if (part)
		fill(part, words, 1);
	part = comparisons(trace, &words);
	if (part)
		fill(part, words, WORDS_PER_CMP);
}

bool trace_is_full(const struct trace *trace)
{
	unsigned long words;
	const uint64_t *part = pcs(trace, &words);

	if (part && !is_full(part, words, 1))
		return false;
	part = comparisons(trace, &words);
	return !part || is_full(part, words, WORDS_PER_CMP);
}

int sample_open(struct kcov_sample_handles *handles)
{
	int device = open(SAMPLE_DEVICE, O_RDWR | O_CLOEXEC), ret;

	if (device < 0)
		return -errno;
	ret = kcov_ioctl(device, KCOV_SAMPLE_HANDLES, (unsigned long)handles);
	if (!ret)
		return device;
	close(device);
	return ret;
}

static long pairs(int device, const struct kcov_sample_pair *pair, int number)
{
	long ret = 1;
	int i;

	for (i = 0; i < number && ret == 1; i++)
		ret = kcov_ioctl(device, KCOV_SAMPLE_PAIR, (unsigned long)pair);
	return ret;
}

long sample_pairs(int device, const struct kcov_sample_pair *pair, int number,
		  long (*prepare)(void *data), void *data)
{
	long ret = 0;
	int i;

	for (i = 0; i < ATTEMPTS && !ret; i++)
		ret = (prepare ? prepare(data) : 0) ?: pairs(device, pair, number);
	return ret;
}

long sample_pair(int device, const struct kcov_sample_pair *pair)
{
	return sample_pairs(device, pair, 1, NULL, NULL);
}
