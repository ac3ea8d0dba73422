/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kernel objects that hold pages of a process: the pages stay after the mapping has gone.
 *
 * All functions return 0 or a negative errno.
 */
#ifndef KCOV_SELFTEST_HOLDER_H
#define KCOV_SELFTEST_HOLDER_H

#include <stddef.h>
#include <stdint.h>

/* The largest number of pages that a holder takes. */
#define HOLDER_PAGES	8

struct holder {
	/* Returns NULL if this kernel has it, or the reason why not. */
	const char *(*missing)(void);
	/* Called once; a child may call hold() for its parent afterwards. */
	int (*start)(void);
	/* Holds the first page of each area. */
	int (*hold)(uint64_t *const *areas, int count);
	/* Copies the pages that are held to @pages, in order. */
	int (*read)(void *pages, int count);
};

/* A pipe, filled by vmsplice(). */
extern const struct holder pipe_holder;
/* Registered buffers of an io_uring. */
extern const struct holder ring_holder;
/*
 * A write() in flight to a file whose server is this process. It ends with the process, so a child
 * cannot hold pages for its parent.
 */
extern const struct holder file_holder;

size_t page_bytes(void);

#endif
