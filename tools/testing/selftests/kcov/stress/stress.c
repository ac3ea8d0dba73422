// SPDX-License-Identifier: GPL-2.0
/*
 * Puts KCOV under stress, in rounds.
 *
 *	stress [-s SEED] [-r ROUNDS] [-t MILLISECONDS] [-p PROCESSES] [-n THREADS] [-u]
 *
 * In a round, processes of many threads open, enable, disable and close
 * descriptors, fork, exit and are killed, while the kernel runs annotated
 * sections in tasks and softirqs.  Then it becomes quiet: all descriptors must be
 * gone, and the hooks are switched on and off while they run on every processor.
 *
 * Prints how often what has happened, one a line.  With -u, leaves out what makes
 * the implementation in C warn.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "divided.h"
#include "kcov.h"
#include "stress.h"

/* Tasks that were killed have so many seconds to end; it is slow in emulation. */
#define END_SECONDS	100
#define SETTLE_SECONDS	30
/* The hooks are switched off a second after the last buffer has gone, or never. */
#define SWITCH_OFF_MS	1200
#define SWITCH_LATE_MS	8000
#define QUICK_CLOSES	40
#define BUFFER_WORDS	(8UL << 10)

struct shared *shared;
struct options options = {
	.seed = 1,
	.rounds = 3,
	.round_ms = 8000,
	.processes = 10,
	.threads = 16,
};

static long boot_areas = -1, peak_descriptors;
static unsigned int switches;

void fail(const char *format, ...)
{
	va_list args;
	char text[512];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	dprintf(STDOUT_FILENO, "error: %s\n", text);
	/* Whoever waits for this process may not care about its status. */
	if (shared)
		atomic_store(&shared->failed, true);
	_exit(1);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* One of the implementation's numbers, none of which is negative; -1 if it has none. */
static long number_of(const char *name)
{
	long value;

	if (statistics_missing())
		return -1;
	value = statistic(name);
	if (value < 0)
		fail("%s is %ld: more have gone than came", name, value);
	return value;
}

/* Freed is what no grace period holds back any more, so it takes a while. */
static void settle(const char *name, long wanted)
{
	long until = now_ms() + SETTLE_SECONDS * 1000, value;

	do {
		value = number_of(name);
		if (value < 0 || value == wanted)
			return;
		usleep(50000);
	} while (now_ms() < until);
	fail("%s stays at %ld and does not return to %ld", name, value, wanted);
}

static void settle_all(void)
{
	settle("descriptors", 0);
	settle("handles", 0);
	settle("areas", boot_areas);
}

static pid_t start(void (*function)(unsigned int, unsigned int), unsigned int round,
		   unsigned int number)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork: %s", strerror(errno));
	if (!child) {
		function(round, number);
		_exit(0);
	}
	COUNT(processes);
	return child;
}

static void usb_run(unsigned int round, unsigned int number)
{
	(void)round;
	(void)number;
	sections_usb_run();
}

/* Waits for one process without blocking; what it died of must be known. */
static pid_t reap(void)
{
	int status;
	pid_t child = waitpid(-1, &status, WNOHANG);

	if (child <= 0)
		return child < 0 ? -errno : 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		fail("a process died of signal %d", WTERMSIG(status));
	/* It has said why. */
	if (atomic_load(&shared->failed) || (WIFEXITED(status) && WEXITSTATUS(status)))
		_exit(1);
	if (WIFSIGNALED(status))
		COUNT(processes_killed);
	return child;
}

static void reap_all(void)
{
	long until = now_ms() + END_SECONDS * 1000;
	pid_t child;

	while ((child = reap()) != -ECHILD) {
		if (child > 0)
			continue;
		if (now_ms() > until)
			fail("processes do not end %d seconds after they were told to",
			     END_SECONDS);
		usleep(10000);
	}
}

static void storm(unsigned int round)
{
	struct random random = random_seed(round, ~0U, 0);
	long until = now_ms() + options.round_ms, descriptors;
	pid_t actors[options.processes], child;
	unsigned int i, number = 0;

	atomic_store(&shared->stop, false);
	for (i = 0; i < options.processes; i++)
		actors[i] = start(actor_run, round, number++);
	if (sections_usb_exist())
		start(usb_run, round, 0);

	while (now_ms() < until) {
		child = reap();
		for (i = 0; child > 0 && i < options.processes; i++)
			if (actors[i] == child)
				actors[i] = start(actor_run, round, number++);
		if (child)
			continue;
		if (!random_below(&random, 16))
			kill(actors[random_below(&random, options.processes)], SIGKILL);
		descriptors = number_of("descriptors");
		if (descriptors > peak_descriptors)
			peak_descriptors = descriptors;
		usleep(20000 + random_below(&random, 40000));
	}
	/* Half of the processes end by themselves, in the midst of it. */
	for (i = 0; i < options.processes; i += 2)
		kill(actors[i], SIGKILL);
	atomic_store(&shared->stop, true);
	reap_all();
}

/* Runs the hooks on one processor, and sections that nobody collects. */
static void load(unsigned int round, unsigned int processor)
{
	struct random random = random_seed(round, ~1U, processor);

	run_on(processor);
	while (!atomic_load(&shared->load_stop)) {
		int i;

		for (i = 0; i < 200; i++)
			mark_one();
		sections_run(&random);
	}
}

/* The place of the count; the buffer goes when it is unmapped and closed. */
static volatile uint64_t *make_buffer(int *fd)
{
	uint64_t *buffer;

	*fd = kcov_open_mapped(BUFFER_WORDS, &buffer);
	if (*fd < 0)
		fail("no buffer can be had: %s", strerror(-*fd));
	return buffer;
}

static void drop_buffer(volatile uint64_t *buffer, int fd)
{
	close(fd);
	kcov_unmap((uint64_t *)buffer, BUFFER_WORDS);
}

/* Only the implementation in Rust has numbers, and switches. */
static void wait_for_switch(void)
{
	long until = now_ms() + SWITCH_LATE_MS;
	bool changed;

	usleep(SWITCH_OFF_MS * 1000);
	do {
		changed = gate_changed();
		switches += changed;
	} while (!changed && boot_areas >= 0 && now_ms() < until && !usleep(50000));
}

static void quiet(unsigned int round)
{
	long i, processors = sysconf(_SC_NPROCESSORS_ONLN);
	volatile uint64_t *count;
	int fd;

	settle_all();
	atomic_store(&shared->load_stop, false);
	for (i = 0; i < processors; i++)
		start(load, round, i);
	/* They are on now, whatever they were. */
	count = make_buffer(&fd);
	gate_changed();
	drop_buffer(count, fd);
	for (i = 0; i < 2; i++) {
		wait_for_switch();
		count = make_buffer(&fd);
		switches += gate_changed();
		if (kcov_enable(fd, KCOV_TRACE_PC))
			fail("KCOV_ENABLE fails when all is quiet");
		*count = 0;
		mark_one();
		if (!*count)
			fail("nothing is recorded after the hooks were switched on");
		COUNT(quiet_traces);
		kcov_disable(fd);
		drop_buffer(count, fd);
	}
	/* Before they can be switched off. */
	for (i = 0; i < QUICK_CLOSES; i++) {
		count = make_buffer(&fd);
		drop_buffer(count, fd);
	}
	atomic_store(&shared->load_stop, true);
	reap_all();
	settle_all();
}

/* The error of a call that this kernel does not have, or 0. */
static int missing(unsigned long command, unsigned long argument)
{
	long ret = kcov_answer(command, argument);

	return ret == -ENOTTY || ret == -ENOTSUPP ? -ret : 0;
}

/* The implementation in C has none of these. That in Rust has them all, if configured. */
static void find_calls(void)
{
	options.no_unique = missing(KCOV_UNIQUE_ENABLE, 16);
	options.no_both = missing(KCOV_PC_CMP_ENABLE, 16);
	options.no_reset = missing(KCOV_RESET_TRACE, 0);
	if (options.upstream != (options.no_unique == ENOTTY) ||
	    options.upstream != (options.no_both == ENOTTY) ||
	    options.upstream != (options.no_reset == ENOTTY))
		fail("the implementation is %s, but its calls say otherwise",
		     options.upstream ? "that in C" : "not that in C");
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	if (*end || !*text || (!value && end[-1] != '0'))
		fail("'%s' is no number", text);
	return value;
}

static void read_options(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "s:r:t:p:n:u")) != -1) {
		switch (option) {
		case 's':
			options.seed = number(optarg);
			break;
		case 'r':
			options.rounds = number(optarg);
			break;
		case 't':
			options.round_ms = number(optarg);
			break;
		case 'p':
			options.processes = number(optarg);
			break;
		case 'n':
			options.threads = number(optarg);
			break;
		case 'u':
			options.upstream = true;
			break;
		default:
			fail("the head of the source says what the options are");
		}
	}
	if (!options.processes || !options.threads || options.threads > 64)
		fail("there must be a process, and a thread up to 64 in it");
}

int main(int argc, char **argv)
{
	unsigned int round;

	read_options(argc, argv);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		fail("out of memory");
	/* Children of those who died become this process's. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		fail("prctl: %s", strerror(errno));
	find_calls();
	sections_open();
	gate_open();
	boot_areas = number_of("areas");

	for (round = 0; round < options.rounds; round++) {
		dprintf(STDOUT_FILENO, "# round %u of %u\n", round + 1, options.rounds);
		storm(round);
		quiet(round);
	}

#define X(name) printf(#name " %lu\n", atomic_load(&shared->count.name));
	COUNTERS(X)
#undef X
	if (number_of("unbalanced") > 0)
		fail("%ld sections were not stopped where they were started",
		     number_of("unbalanced"));
	printf("switches %u\n", switches);
	printf("peak_descriptors %ld\n", peak_descriptors);
	printf("lost_sections %ld\n", number_of("lost_sections"));
	printf("areas %ld\n", number_of("areas"));
	printf("area_bytes %ld\n", number_of("area_bytes"));
	return 0;
}
