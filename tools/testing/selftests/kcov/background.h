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
/* It executes this one more than a few steps later. */
#define BACKGROUND_LATER_FUNCTION "vhost_get_vq_desc_n"
/* The worker reads it from the process's memory and compares it with a limit. */
#define BACKGROUND_OPERAND	0xbeef

/* NULL when this kernel can do it, or the reason why not. */
const char *background_missing(void);

/* A worker of the calling process's; a negative errno when it fails. */
int background_start(void);
/* Gives the worker something to do, and waits until it is at it. */
int background_kick(int worker);
/* Returns when the worker has done its work, to the end, and exited. */
void background_stop(int worker);

/* All three: work has been done in the background when it returns. */
int background_run(void);

#endif
