// SPDX-License-Identifier: GPL-2.0
/*
 * The parts that the benchmarks share: a clock of instructions or of time, rounds, and forks.
 */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

#define WARM_UP	3

static bool count_instructions;

void measure_fail(const char *what)
{
	perror(what);
	exit(1);
}

uint64_t measure_now(void)
{
	struct timespec time;

#if defined(__x86_64__)
	if (count_instructions) {
		uint32_t low, high;

		__asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
		return (uint64_t)high << 32 | low;
	}
#endif
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* Refuses to call something an instruction count that is none. */
static void check_counter(void)
{
#if defined(__x86_64__)
	unsigned long turns = 1000000;
	uint64_t start = measure_now(), passed;

	__asm__ volatile("1:\tdec %0\n\tjnz 1b" : "+r"(turns) : : "cc");
	passed = measure_now() - start;
	if (passed < 2000000 || passed > 2100000) {
		fprintf(stderr, "the counter says %llu for 2000000 instructions\n",
			(unsigned long long)passed);
		exit(1);
	}
#else
	fprintf(stderr, "instructions can be counted on x86_64 only\n");
	exit(1);
#endif
}

void measure_with(const char *unit)
{
	count_instructions = !strcmp(unit, "instructions");
	if (count_instructions)
		check_counter();
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

double measure_calls(void (*call)(void), unsigned int repeat)
{
	uint64_t start = measure_now();
	unsigned int i;

	for (i = 0; i < repeat; i++)
		call();
	return (double)(measure_now() - start) / repeat;
}

double measure_rounds(unsigned int rounds, double (*round)(const void *data), const void *data)
{
	static double samples[MEASURE_ROUNDS];
	unsigned int i;

	for (i = 0; i < WARM_UP; i++)
		round(data);
	for (i = 0; i < rounds; i++)
		samples[i] = round(data);
	qsort(samples, rounds, sizeof(samples[0]), compare);
	return samples[rounds / 2];
}

void measure_fork(void (*body)(void))
{
	pid_t child = fork();
	int status;

	if (child < 0)
		measure_fail("fork");
	if (!child) {
		if (body)
			body();
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status)
		measure_fail("waitpid");
}
