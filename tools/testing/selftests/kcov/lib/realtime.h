/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Real-time tasks that keep all others from a CPU, the kernel's workers included.
 */
#ifndef KCOV_SELFTEST_REALTIME_H
#define KCOV_SELFTEST_REALTIME_H

#include <stdbool.h>
#include <sys/types.h>

/* Returns the number in a file of the kernel; -1 if it has none. */
long read_number(const char *path);
/* Returns 0 or a negative errno. */
int write_number(const char *path, long value);

/*
 * Lets real-time tasks run for ever; by default, other tasks get a share of each CPU. Returns 0 or
 * a negative errno.
 */
int unlimit_realtime(void);
/* Undoes unlimit_realtime(). May be called without it. */
void limit_realtime(void);

/* Gives a task, 0 for the caller, a priority of SCHED_FIFO, or none with 0. */
int be_realtime(pid_t task, int priority);

/*
 * Occupies all CPUs from @first on with children of @priority. The caller stays on CPU 0; if that
 * is one of them, it needs a higher priority. Returns their number, or -ETIMEDOUT if one of them
 * does not run.
 */
int start_spinners(int first, int priority, pid_t *spinners, int max);
/* Returns true if all of them have run until now. */
bool end_spinners(const pid_t *spinners, int count);

#endif
