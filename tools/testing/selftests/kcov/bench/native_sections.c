// SPDX-License-Identifier: GPL-2.0
/*
 * Measures at native speed what a remote section costs that nobody collects: a user program
 * around the kernel's own object file, as hooks.c, which threads on several CPUs call at once.
 *
 *   native_sections ROUNDS CPU...
 *
 * prints "ticks FIGURE TICKS" for each figure in each round: ticks of the time stamp counter
 * for one start and stop, of the thread that took longest.
 *
 * Each thread has per-CPU variables of its own, at the address of the program's plus its GS
 * base, and its own task. Two things differ from the kernel, both in favour of an
 * implementation with locks: interrupts stay enabled (native_sections.py takes out the
 * instructions that disable them), and a lock is taken in the simplest way.
 */

#define _GNU_SOURCE
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Few, so that nothing else gets a CPU meanwhile. */
#define CALLS 4000
#define MAX_CPUS 8
#define ATTEMPTS 2000
/* From the per-CPU variables of one CPU to those of the next. */
#define DISTANCE 0x1000000UL

void kcov_remote_start(uint64_t handle);
void kcov_remote_stop(void);

/* The per-CPU variables, a page of them. */
struct percpu {
	void *current_task;
	unsigned long preempt_count;
	unsigned long this_cpu_off;
};
static union {
	struct percpu variables;
	unsigned char page[4096];
} percpu __asm__("percpu") __attribute__((aligned(4096), used));
__asm__(".globl current_task, __preempt_count, this_cpu_off\n"
	".set current_task, percpu\n"
	".set __preempt_count, percpu + 8\n"
	".set this_cpu_off, percpu + 16");
__asm__(".pushsection .text\n.globl __x86_return_thunk\n__x86_return_thunk: ret\n.popsection");

static unsigned char tasks[MAX_CPUS][(TASK_SIZE + 4095) & ~4095] __attribute__((aligned(4096)));
static unsigned long locks_taken;

void _raw_spin_lock(uint32_t *lock);
void _raw_spin_unlock(uint32_t *lock);

void _raw_spin_lock(uint32_t *lock)
{
	uint32_t unlocked = 0;

	while (!__atomic_compare_exchange_n(lock, &unlocked, 1, 0, __ATOMIC_ACQUIRE,
					    __ATOMIC_RELAXED)) {
		while (__atomic_load_n(lock, __ATOMIC_RELAXED))
			__builtin_ia32_pause();
		unlocked = 0;
	}
	/*
	 * Under the lock, so that no count is lost; it is in the cache line of nobody else's
	 * data.
	 */
	locks_taken++;
}

void _raw_spin_unlock(uint32_t *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

struct worker {
	pthread_t thread;
	int cpu;
	uint64_t handle;
	uint64_t start;
	uint64_t end;
	/* The number of times that another program got the CPU. */
	long switches;
} __attribute__((aligned(64)));

static struct worker workers[MAX_CPUS];
static unsigned int ready;
static unsigned int needed;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static long switches(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage))
		fail("getrusage");
	return usage.ru_nivcsw + usage.ru_nvcsw;
}

static void *work(void *data)
{
	struct worker *worker = data;
	unsigned long base = DISTANCE * (worker - workers);
	cpu_set_t cpus;
	unsigned int i;

	CPU_ZERO(&cpus);
	CPU_SET(worker->cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		fail("sched_setaffinity");
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, base))
		fail("arch_prctl");
	/* The first calls warm up; then all begin at the same time. */
	for (i = 0; i < 100; i++) {
		kcov_remote_start(worker->handle);
		kcov_remote_stop();
	}
	worker->switches = switches();
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < needed)
		__builtin_ia32_pause();
	worker->start = ticks();
	for (i = 0; i < CALLS; i++) {
		kcov_remote_start(worker->handle);
		kcov_remote_stop();
	}
	worker->end = ticks();
	worker->switches = switches() - worker->switches;
	return NULL;
}

/*
 * Ticks for one start and stop; 0 if the threads did not run at the same time, and all of the
 * time.
 */
static double run(unsigned int threads, uint64_t handle)
{
	uint64_t longest = 0, first = UINT64_MAX, last = 0;
	int disturbed = 0;
	unsigned int i;

	ready = 0;
	needed = threads;
	for (i = 0; i < threads; i++) {
		workers[i].handle = handle;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			fail("thread");
	}
	for (i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		disturbed |= workers[i].switches != 0;
		first = workers[i].start < first ? workers[i].start : first;
		last = workers[i].start > last ? workers[i].start : last;
		if (workers[i].end - workers[i].start > longest)
			longest = workers[i].end - workers[i].start;
	}
	disturbed |= last - first > longest / 20;
	return disturbed ? 0 : (double)longest / CALLS;
}

/* As run(), as often as it takes. */
static double run_undisturbed(unsigned int threads, uint64_t handle)
{
	unsigned int attempt;
	double result;

	for (attempt = 0; attempt < ATTEMPTS; attempt++) {
		result = run(threads, handle);
		if (result > 0)
			return result;
	}
	fprintf(stderr, "the CPUs are too busy to run %u threads at the same time\n", threads);
	exit(1);
}

static void map_percpu(unsigned int number)
{
	unsigned char *page = percpu.page + DISTANCE * number;

	if (number && mmap(page, sizeof(percpu), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != page)
		fail("mmap");
	((struct percpu *)page)->current_task = tasks[number];
}

int main(int argc, char **argv)
{
	/* Instance 1 of the USB subsystem, which is not registered. */
	static const struct { const char *name; uint64_t handle; } figures[] = {
		{ "zero", 0 },
		{ "unknown", 1ULL << 56 | 1 },
	};
	unsigned int rounds, round, i, threads, cpus = argc - 2;
	size_t byte;

	if (argc < 3 || cpus > MAX_CPUS) {
		fprintf(stderr, "usage: native_sections ROUNDS CPU...\n");
		return 2;
	}
	rounds = atoi(argv[1]);
	for (i = 0; i < cpus; i++) {
		workers[i].cpu = atoi(argv[2 + i]);
		map_percpu(i);
	}
	for (round = 0; round < rounds; round++)
		for (i = 0; i < 2; i++)
			for (threads = 1; threads <= cpus; threads++)
				printf("ticks %s.%u %.4f\n", figures[i].name, threads,
				       run_undisturbed(threads, figures[i].handle));
	/* Nobody collects, so nothing may have been started. */
	for (i = 0; i < cpus; i++)
		for (byte = 0; byte < sizeof(tasks[0]); byte++)
			if (tasks[i][byte]) {
				fprintf(stderr,
					"a section of no descriptor has changed the task\n");
				return 1;
			}
	fprintf(stderr, "locks taken: %lu\n", locks_taken);
	return 0;
}
