/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The mode that records edges: pairs of consecutive PCs, each once. The buffer has a header of four
 * words, a table, and records of two words.
 */
#ifndef KCOV_SELFTEST_EDGES_H
#define KCOV_SELFTEST_EDGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EDGE_HEADER	4
/* The smallest table, and the largest. */
#define EDGE_LEAST	4UL
#define EDGE_MOST	(128UL << 10)

struct edge {
	uint64_t previous;
	uint64_t pc;
};

/* Edges in the order in which they were recorded. */
struct edges {
	size_t number;
	struct edge *edge;
};

/* Returns NULL if this kernel has the mode, or the reason why not. */
const char *edges_missing(void);

/* Returns the number of edges in a buffer. */
uint64_t edges_count(const uint64_t *area);
/* Copies the first @number edges of a buffer with a table of @table words. */
struct edges edges_copy(const uint64_t *area, unsigned long table, uint64_t number);
/* Makes edges of the PCs of a plain trace with @number PCs. */
struct edges edges_of_plain(const uint64_t *area, uint64_t number);
void edges_free(struct edges *edges);

/* Removes all but the first of equal edges; returns how many it has removed. */
size_t edges_once(struct edges *edges);
/* Returns whether both have the same edges in the same order. */
bool edges_equal(const struct edges *one, const struct edges *other);
/*
 * Returns the numbers that syzkaller computes from edges, sorted, each once, after a word with
 * their number.
 */
uint64_t *edges_signal(const struct edges *edges);
/* Returns the PCs in a form that covers() and covers_syscall() take. */
uint64_t *edges_pcs(const struct edges *edges);

#endif
