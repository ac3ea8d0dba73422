// SPDX-License-Identifier: GPL-2.0
/* Real-time tasks that keep all others from a CPU, the kernel's workers included. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kcov.h"
#include "realtime.h"

/* The time for which real-time tasks may run; the rest is for other tasks. */
#define RT_RUNTIME	"/proc/sys/kernel/sched_rt_runtime_us"
#define FAIR_RUNTIME	"/sys/kernel/debug/sched/fair_server/cpu%d/runtime"

/* Spinners end by themselves after this number of seconds. */
#define LIMIT		200

long read_number(const char *path)
{
	long value = -1;
	FILE *file = fopen(path, "r");

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

int write_number(const char *path, long value)
{
	FILE *file = fopen(path, "w");
	int ret;

	if (!file)
		return -errno;
	ret = fprintf(file, "%ld\n", value) < 0;
	return fclose(file) || ret ? -EIO : 0;
}

static int set_runtimes(long rt, long fair)
{
	int cpu, cpus = sysconf(_SC_NPROCESSORS_CONF), ret = 0;
	char path[sizeof(FAIR_RUNTIME) + 16];

	for (cpu = 0; cpu < cpus; cpu++) {
		snprintf(path, sizeof(path), FAIR_RUNTIME, cpu);
		/* CPUs that are offline refuse the write. */
		if (!access(path, W_OK))
			write_number(path, fair);
	}
	if (!access(RT_RUNTIME, W_OK))
		ret = write_number(RT_RUNTIME, rt);
	return ret;
}

static bool saved;
static long rt_runtime, fair_runtime;

int unlimit_realtime(void)
{
	char path[sizeof(FAIR_RUNTIME) + 16];

	if (!saved) {
		snprintf(path, sizeof(path), FAIR_RUNTIME, 0);
		rt_runtime = read_number(RT_RUNTIME);
		fair_runtime = read_number(path);
		saved = true;
	}
	return set_runtimes(-1, 0);
}

void limit_realtime(void)
{
	if (saved)
		set_runtimes(rt_runtime, fair_runtime);
}

int be_realtime(pid_t task, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	return sched_setscheduler(task, priority ? SCHED_FIFO : SCHED_OTHER, &param) ? -errno : 0;
}

static void spin(int cpu, int priority, int *spinning)
{
	be_mortal(LIMIT);
	if (run_on(cpu) || be_realtime(0, priority))
		_exit(1);
	__atomic_add_fetch(spinning, 1, __ATOMIC_RELAXED);
	for (;;)
		;
}

int start_spinners(int first, int priority, pid_t *spinners, int max)
{
	int cpu, count = 0, cpus = sysconf(_SC_NPROCESSORS_CONF);
	int *spinning = mmap(NULL, sizeof(*spinning), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	time_t since = 0;

	if (spinning == MAP_FAILED)
		return -errno;
	for (cpu = first; cpu < cpus && count < max; cpu++) {
		/* Tries the CPU itself for a moment to find out whether it is online. */
		if (run_on(cpu) || run_on(0))
			continue;
		spinners[count] = fork();
		if (!spinners[count])
			spin(cpu, priority, spinning);
		count += spinners[count] > 0;
	}
	/* A spinner that ended early, or that does not get its CPU, would never be counted. */
	while (__atomic_load_n(spinning, __ATOMIC_RELAXED) < count) {
		if (!may_wait(&since)) {
			end_spinners(spinners, count);
			return -ETIMEDOUT;
		}
		usleep(1000);
	}
	return count;
}

bool end_spinners(const pid_t *spinners, int count)
{
	bool all = true;
	int i;

	for (i = 0; i < count; i++) {
		all &= !waitpid(spinners[i], NULL, WNOHANG);
		kill(spinners[i], SIGKILL);
	}
	for (i = 0; i < count; i++)
		waitpid(spinners[i], NULL, 0);
	return all;
}
