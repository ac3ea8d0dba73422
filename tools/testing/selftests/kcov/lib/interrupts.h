/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Detects interrupts. Without one, the code that the kernel executes depends only on the calls of
 * the program.
 */
#ifndef KCOV_SELFTEST_INTERRUPTS_H
#define KCOV_SELFTEST_INTERRUPTS_H

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* If user-mode Linux does not count its timer in the first file, it counts it in the second. */
#define INTERRUPTS_OF_CPUS	"/proc/interrupts"
#define INTERRUPTS_OF_ALL	"/proc/stat"
/* Within this many seconds without a system call, a timer interrupts a task. */
#define INTERRUPTS_SECONDS	2

static bool interrupts_of_all;

/* Returns the sum of a column: each line has a name, a colon, and a number for each CPU. */
static inline uint64_t interrupts_in_column(char *line, int column)
{
	uint64_t sum = 0;
	char *next;

	for (; *line; line = next) {
		char *end = strchr(line, '\n'), *numbers = strchr(line, ':');
		int i;

		next = end ? end + 1 : line + strlen(line);
		for (i = 0, numbers++; numbers > line && numbers < next && i <= column; i++) {
			uint64_t value = strtoull(numbers, &end, 10);

			/* Some lines have one number for all CPUs. */
			if (end == numbers || end > next)
				break;
			numbers = end;
			if (i == column)
				sum += value;
		}
	}
	return sum;
}

/*
 * Returns the number of interrupts of the calling thread's CPU, to which the thread must be bound,
 * or of all CPUs; 0 if it is not known.
 */
static inline uint64_t interrupts(void)
{
	static char text[1 << 18];
	int i, column = -1, file;
	size_t length = 0;
	ssize_t part;
	char *place, *name;

	file = open(interrupts_of_all ? INTERRUPTS_OF_ALL : INTERRUPTS_OF_CPUS,
		    O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return 0;
	while ((part = read(file, text + length, sizeof(text) - 1 - length)) > 0)
		length += part;
	close(file);
	text[length] = 0;
	if (interrupts_of_all) {
		place = strstr(text, "\nintr ");
		return place ? strtoull(place + strlen("\nintr "), NULL, 10) : 0;
	}
	/* The first line names the CPUs that are online. */
	place = strchr(text, '\n');
	if (!place)
		return 0;
	*place = 0;
	name = strstr(text, "CPU");
	for (i = 0; name && column < 0; i++) {
		if (atoi(name + strlen("CPU")) == sched_getcpu())
			column = i;
		name = strstr(name + strlen("CPU"), "CPU");
	}
	if (column < 0)
		return 0;
	return interrupts_in_column(place + 1, column);
}

static inline bool interrupts_are_counted(void)
{
	struct timespec start, now;
	uint64_t before = interrupts();

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		volatile int i;

		for (i = 0; i < 1000000; i++)
			;
		if (interrupts() != before)
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec <= INTERRUPTS_SECONDS);
	return false;
}

/*
 * Binds the calling thread to its current CPU. Returns NULL if the interrupts of that CPU are
 * counted, or the reason why not.
 */
static inline const char *interrupts_missing(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		return "the thread can't be bound to a CPU";
	interrupts_of_all = false;
	if (interrupts_are_counted())
		return NULL;
	interrupts_of_all = true;
	return interrupts_are_counted() ? NULL : "interrupts are not counted (CONFIG_PROC_FS)";
}

#endif
