// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a command while handles are registered with KCOV, or measures what descriptors and
 * handles take of memory.
 *
 *   handles COUNT WORDS COMMAND...   registers handles of the USB subsystem, instances 1 to
 *     COUNT, each with room for WORDS words in a section, and runs a command
 *   handles memory                   prints "descriptor BYTES" and "handle BYTES"
 *
 * A descriptor takes 256 handles, and a task can register only one, so every descriptor has a
 * thread of its own. From two handles on there are at least two descriptors with the same
 * number of handles.
 */

#include <fcntl.h>
#include <linux/kcov.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kcov.h"
#include "measure.h"

#define BUFFER_WORDS 16384
#define MAX_THREADS 64
#define MANY 8000

static pthread_barrier_t registered, over;

struct share {
	unsigned int first;
	/* The number of handles in each phase, one phase after the other; 0 ends them. */
	unsigned int counts[3];
	unsigned int words;
};

static void *hold(void *data)
{
	struct share *share = data;
	struct kcov_remote_arg *arg = calloc(1, sizeof(*arg) +
					     KCOV_REMOTE_MAX_HANDLES * sizeof(arg->handles[0]));
	int file = kcov_open();
	unsigned int phase, i;

	if (!arg || file < 0 || kcov_init(file, BUFFER_WORDS))
		measure_fail("KCOV_INIT_TRACE");
	arg->trace_mode = KCOV_TRACE_PC;
	arg->area_size = share->words;
	for (phase = 0; share->counts[phase]; phase++) {
		arg->num_handles = share->counts[phase];
		for (i = 0; i < share->counts[phase]; i++)
			arg->handles[i] = kcov_remote_handle(KCOV_SUBSYSTEM_USB, share->first + i);
		if (kcov_ioctl(file, KCOV_REMOTE_ENABLE, (unsigned long)arg))
			measure_fail("KCOV_REMOTE_ENABLE");
		pthread_barrier_wait(&registered);
		pthread_barrier_wait(&over);
		if (kcov_disable(file))
			measure_fail("KCOV_DISABLE");
	}
	free(arg);
	close(file);
	return NULL;
}

static unsigned int threads;
static pthread_t thread[MAX_THREADS];
static struct share shares[MAX_THREADS];

/* Threads with EACH handles each, and with MORE each in a second phase if that is not 0. */
static void register_handles(unsigned int number, unsigned int each, unsigned int more,
			     unsigned int words)
{
	unsigned int i;

	threads = number;
	if (pthread_barrier_init(&registered, NULL, threads + 1) ||
	    pthread_barrier_init(&over, NULL, threads + 1))
		measure_fail("barrier");
	for (i = 0; i < threads; i++) {
		shares[i] = (struct share){
			1 + i * (more ? more : each), { each, more, 0 }, words,
		};
		if (pthread_create(&thread[i], NULL, hold, &shares[i]))
			measure_fail("thread");
	}
	pthread_barrier_wait(&registered);
}

static void next_phase(void)
{
	pthread_barrier_wait(&over);
	pthread_barrier_wait(&registered);
}

static void unregister_handles(void)
{
	unsigned int i;

	pthread_barrier_wait(&over);
	for (i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
}

/* Bytes of the kernel's own memory: slabs, large allocations, per-CPU memory. */
static long kernel_memory(void)
{
	FILE *file;
	char name[64];
	long kib, sum = 0;

	/* Memory that is freed after a grace period, or by a worker, must be free by now. */
	sleep(1);
	file = fopen("/proc/meminfo", "re");
	if (!file)
		measure_fail("/proc/meminfo");
	while (fscanf(file, "%63s %ld kB ", name, &kib) >= 1) {
		if (!strcmp(name, "Slab:") || !strcmp(name, "VmallocUsed:") ||
		    !strcmp(name, "Percpu:"))
			sum += kib * 1024;
	}
	fclose(file);
	return sum;
}

static double memory_of_open(const char *path)
{
	static int files[MANY];
	long before, after;
	int i;

	before = kernel_memory();
	for (i = 0; i < MANY; i++) {
		files[i] = open(path, O_RDWR | O_CLOEXEC);
		if (files[i] < 0)
			measure_fail(path);
	}
	after = kernel_memory();
	for (i = 0; i < MANY; i++)
		close(files[i]);
	return (double)(after - before) / MANY;
}

static void measure_memory(void)
{
	struct rlimit limit = { MANY + 100, MANY + 100 };
	long few, many;
	double file;

	if (setrlimit(RLIMIT_NOFILE, &limit))
		measure_fail("RLIMIT_NOFILE");
	/* The table of files grows once and stays. */
	memory_of_open("/dev/null");
	file = memory_of_open("/dev/null");
	/* The memory of an open file of any kind is not KCOV's. */
	printf("descriptor %.1f\n", memory_of_open(KCOV_DEVICE) - file);

	register_handles(MAX_THREADS, 1, KCOV_REMOTE_MAX_HANDLES, 4096);
	few = kernel_memory();
	next_phase();
	many = kernel_memory();
	unregister_handles();
	printf("handle %.1f\n",
	       (double)(many - few) / (MAX_THREADS * (KCOV_REMOTE_MAX_HANDLES - 1)));
}

int main(int argc, char **argv)
{
	unsigned int count, descriptors;
	int status;
	pid_t child;

	if (argc == 2 && !strcmp(argv[1], "memory")) {
		measure_memory();
		return 0;
	}
	count = argc > 3 ? atoi(argv[1]) : 0;
	descriptors = (count + KCOV_REMOTE_MAX_HANDLES - 1) / KCOV_REMOTE_MAX_HANDLES;
	if (count > 1 && descriptors < 2)
		descriptors = 2;
	if (!count || descriptors > MAX_THREADS || count % descriptors) {
		fprintf(stderr, "usage: handles COUNT WORDS COMMAND... | handles memory\n");
		return 2;
	}
	register_handles(descriptors, count / descriptors, 0, atoi(argv[2]));
	child = fork();
	if (child < 0)
		measure_fail("fork");
	if (!child) {
		execvp(argv[3], argv + 3);
		measure_fail(argv[3]);
	}
	if (waitpid(child, &status, 0) != child)
		measure_fail("waitpid");
	unregister_handles();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
