// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what a fuzzer's executor does around each of its programs: it maps buffers, enables a
 * descriptor, forks a process that has all buffers mapped, and reads a few pages of them.
 *
 *   executor instructions|time ROUNDS
 *
 * prints "NAME NUMBER" for each: the median over the rounds. A buffer exists all the time, so the
 * hooks are on, and only `round` collects.
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kcov.h"
#include "measure.h"

#define WORDS_OF(mebibytes)	((mebibytes) << 17)
#define SMALL_WORDS		(1 << 13)
/* syzkaller's executor has one descriptor for each thread, and one for remote coverage. */
#define THREADS			8
#define THREAD_WORDS		WORDS_OF(4UL)
#define REMOTE_WORDS		WORDS_OF(8UL)
/* What a program leaves in a buffer is a few pages. */
#define PAGES			4
#define PAGE_WORDS		512
/* The number of system calls of a program, and of PCs that it leaves at least. */
#define CALLS			10
#define ENOUGH_PCS		2000

struct buffer {
	int file;
	unsigned long words;
	uint64_t *area;
};

static struct buffer threads[THREADS], remote, small;
static unsigned int rounds;

static void open_buffer(struct buffer *buffer, unsigned long words)
{
	buffer->words = words;
	buffer->file = kcov_open();
	if (buffer->file < 0 || kcov_init(buffer->file, words))
		measure_fail("KCOV_INIT_TRACE");
}

static void map_buffer(struct buffer *buffer)
{
	buffer->area = kcov_map(buffer->file, buffer->words);
	if (!buffer->area)
		measure_fail("mmap");
}

static void read_pages(const struct buffer *buffer)
{
	const volatile uint64_t *area = buffer->area;
	unsigned int page;

	for (page = 0; area && page < PAGES; page++)
		(void)area[page * PAGE_WORDS];
}

static void read_all_buffers(void)
{
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		read_pages(&threads[i]);
	read_pages(&remote);
}

struct step {
	void (*call)(void);
	unsigned int repeat;
};

static double measure_round(const void *data)
{
	const struct step *step = data;

	return measure_calls(step->call, step->repeat);
}

/* Prints the median of what @call took, which is called @repeat times in each round. */
static void measure(const char *name, void (*call)(void), unsigned int repeat)
{
	struct step step = { call, repeat };

	printf("%s %.2f\n", name, measure_rounds(rounds, measure_round, &step));
	fflush(stdout);
}

static void map_and_unmap(void)
{
	map_buffer(&threads[0]);
	kcov_unmap(threads[0].area, threads[0].words);
	threads[0].area = NULL;
}

static void enable_and_disable(struct buffer *buffer)
{
	if (kcov_enable(buffer->file, KCOV_TRACE_PC) || kcov_disable(buffer->file))
		measure_fail("KCOV_ENABLE");
}

static void enable_thread(void)
{
	enable_and_disable(&threads[0]);
}

static void enable_small(void)
{
	enable_and_disable(&small);
}

static void fork_only(void)
{
	measure_fork(NULL);
}

static void fork_and_read(void)
{
	measure_fork(read_all_buffers);
}

/* Does what the executor does in a new process for a program that has one thread. */
static void run_program(void)
{
	struct buffer *buffer = &threads[0];
	uint64_t count, sum = 0, i;

	if (kcov_enable(buffer->file, KCOV_TRACE_PC))
		_exit(1);
	cover_reset(buffer->area);
	for (i = 0; i < CALLS; i++)
		access("/proc/self/status", F_OK);
	count = cover_count(buffer->area);
	if (kcov_disable(buffer->file) || count < ENOUGH_PCS || count >= buffer->words)
		_exit(1);
	for (i = 1; i <= ENOUGH_PCS; i++)
		sum += buffer->area[i];
	_exit(!sum);
}

static void run_round(void)
{
	measure_fork(run_program);
}

/* Measures forks of a process that has @number buffers of threads mapped, and the remote one. */
static void measure_forks(unsigned int number)
{
	char name[32];
	unsigned int i;

	for (i = 0; i < number; i++)
		if (!threads[i].area)
			map_buffer(&threads[i]);
	/* The parent does not read, so the child finds only what mmap() has put there. */
	snprintf(name, sizeof(name), "fork_%u.child", number);
	measure(name, fork_and_read, 1);
	read_all_buffers();
	snprintf(name, sizeof(name), "fork_%u.parent", number);
	measure(name, fork_only, 1);
}

int main(int argc, char **argv)
{
	unsigned int i;

	rounds = argc == 3 ? atoi(argv[2]) : 0;
	if (!rounds || rounds > MEASURE_ROUNDS) {
		fprintf(stderr, "usage: executor instructions|time ROUNDS\n");
		return 2;
	}
	measure_with(argv[1]);
	for (i = 0; i < THREADS; i++)
		open_buffer(&threads[i], THREAD_WORDS);
	open_buffer(&remote, REMOTE_WORDS);
	open_buffer(&small, SMALL_WORDS);
	measure("enable_4m", enable_thread, 10);
	measure("enable_64k", enable_small, 10);
	measure("map_4m", map_and_unmap, 10);
	measure("fork_none", fork_only, 1);
	map_buffer(&remote);
	measure_forks(3);
	measure("round", run_round, 1);
	measure_forks(6);
	measure_forks(8);
	return 0;
}
