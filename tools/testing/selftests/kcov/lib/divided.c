// SPDX-License-Identifier: GPL-2.0
/* The modes that divide the buffer; see divided.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define STATISTICS	"/sys/kernel/debug/kcov_statistics/"
#define WORD_BITS	64
/* The number of bytes of code that share a bit. */
#define STEP		4
#define PAGE_WORDS	512
/* The default, used if the configuration cannot be read. */
#define IRQ_AREA_SIZE	0x40000UL

const char *unique_missing(void)
{
	switch (kcov_answer(KCOV_UNIQUE_ENABLE, 1)) {
	case -ENOTTY:
		return "this implementation has no KCOV_UNIQUE_ENABLE";
	case -ENOTSUPP:
		return "each PC once is configured out (CONFIG_KCOV_UNIQUE)";
	}
	return NULL;
}

const char *both_missing(void)
{
	switch (kcov_answer(KCOV_PC_CMP_ENABLE, 2)) {
	case -ENOTTY:
		return "this implementation has no KCOV_PC_CMP_ENABLE";
	case -ENOTSUPP:
		return "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)";
	}
	return NULL;
}

const char *reset_missing(void)
{
	return kcov_answer(KCOV_RESET_TRACE, 0) == -ENOTTY ?
		"this implementation has no KCOV_RESET_TRACE" : NULL;
}

const char *mode_missing(uint32_t mode)
{
	switch (mode) {
	case KCOV_TRACE_CMP:
		return comparisons_missing();
	case KCOV_TRACE_UNIQUE_PC:
		return unique_missing();
	case KCOV_TRACE_PC_CMP:
		return both_missing();
	default:
		return NULL;
	}
}

const char *statistics_missing(void)
{
	return access(STATISTICS, F_OK) ? "this implementation has no statistics" : NULL;
}

uint64_t statistic(const char *name)
{
	uint64_t value = 0;
	char path[128], line[64];
	FILE *file;

	snprintf(path, sizeof(path), STATISTICS "%s", name);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fgets(line, sizeof(line), file))
		value = strtoull(line, NULL, 0);
	fclose(file);
	return value;
}

unsigned long softirq_area_words(void)
{
	return kernel_number("CONFIG_KCOV_IRQ_AREA_SIZE", IRQ_AREA_SIZE);
}

uint64_t softirq_area_bytes(void)
{
	uint64_t page = sysconf(_SC_PAGESIZE);

	return (softirq_area_words() * sizeof(uint64_t) / page + 1) * page;
}

unsigned long set_words(void)
{
	unsigned long words = (kernel_text_size() + STEP * WORD_BITS - 1) / (STEP * WORD_BITS);

	return (words + PAGE_WORDS - 1) / PAGE_WORDS * PAGE_WORDS;
}

uint64_t set_modules(void)
{
	static uint64_t start;

	if (!start)
		start = modules_start();
	return start ? start - kernel_text_size() : 0;
}

uint64_t set_position(uint64_t pc)
{
	return (pc - (in_module_text(pc - 1) ? set_modules() : kernel_text_start())) / STEP;
}

bool set_has(const uint64_t *set, uint64_t position)
{
	return set[position / WORD_BITS] >> (position % WORD_BITS) & 1;
}

uint64_t set_size(const uint64_t *set, unsigned long words)
{
	uint64_t size = 0;
	unsigned long i;

	for (i = 0; i < words; i++)
		size += __builtin_popcountll(set[i]);
	return size;
}

uint64_t set_add(uint64_t *set, unsigned long words, const uint64_t *trace)
{
	uint64_t i, count = cover_count(trace), repeated = 0;

	for (i = 1; i <= count; i++) {
		uint64_t position = set_position(trace[i]);

		if (position >= words * WORD_BITS)
			continue;
		repeated += set_has(set, position);
		set[position / WORD_BITS] |= 1ULL << (position % WORD_BITS);
	}
	return repeated;
}

uint64_t fdinfo(int fd, const char *key)
{
	uint64_t value = ~0ULL;
	char path[64], line[128];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			value = strtoull(line + strlen(key) + 1, NULL, 10);
	if (file)
		fclose(file);
	return value;
}

struct fdinfo_line {
	int fd;
	const char *key;
};

static long read_line(void *data)
{
	struct fdinfo_line *line = data;

	return fdinfo(line->fd, line->key);
}

uint64_t fdinfo_by(struct worker *worker, int fd, const char *key)
{
	struct fdinfo_line line = { fd, key };

	return worker_run(worker, read_line, &line);
}
