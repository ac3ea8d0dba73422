/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Work that the kernel does for a process in the background, with annotations
 * for remote coverage: a worker thread of vhost, which carries the common
 * handle of the process that made it.
 */
#ifndef KCOV_SELFTEST_BACKGROUND_H
#define KCOV_SELFTEST_BACKGROUND_H

/* Only the worker executes it, never the process. */
#define BACKGROUND_FUNCTION	"handle_tx_kick"
/* The worker executes this function some steps later. */
#define BACKGROUND_LATER_FUNCTION "vhost_get_vq_desc_n"
/* The worker reads it from the process's memory and compares it with a limit. */
#define BACKGROUND_OPERAND	0xbeef

/* Returns NULL if this kernel supports it, or the reason why not. */
const char *background_missing(void);

/* Makes a worker of the calling process; returns a negative errno if it fails. */
int background_start(void);
/* Gives the worker a task, and waits until it works on it. */
int background_kick(int worker);
/* Returns after the worker has completed its work and exited. */
void background_stop(int worker);

/* Does all three: when it returns, work has been done in the background. */
int background_run(void);

#endif
