// SPDX-License-Identifier: GPL-2.0
/* The mode that records edges; see edges.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "edges.h"
#include "kcov.h"

const char *edges_missing(void)
{
	switch (kcov_answer(KCOV_EDGE_ENABLE, EDGE_LEAST)) {
	case -ENOTTY:
		return "this implementation has no KCOV_EDGE_ENABLE";
	case -ENOTSUPP:
		return "each edge once is configured out (CONFIG_KCOV_UNIQUE)";
	}
	return NULL;
}

uint64_t edges_count(const uint64_t *area)
{
	uint64_t last = __atomic_load_n(&area[0], __ATOMIC_ACQUIRE);

	return last > 1 ? __atomic_load_n(&area[2], __ATOMIC_ACQUIRE) : last;
}

static struct edges allocate(size_t number)
{
	struct edges edges = { number, calloc(number + 1, sizeof(*edges.edge)) };

	if (!edges.edge)
		abort();
	return edges;
}

struct edges edges_copy(const uint64_t *area, unsigned long table, uint64_t number)
{
	struct edges edges = allocate(number);

	if (number == 1 && area[0] == 1)
		edges.edge[0].pc = area[1];
	else
		memcpy(edges.edge, area + EDGE_HEADER + table, number * sizeof(*edges.edge));
	return edges;
}

struct edges edges_of_plain(const uint64_t *area, uint64_t number)
{
	struct edges edges = allocate(number);
	uint64_t i;

	for (i = 0; i < number; i++)
		edges.edge[i] = (struct edge){ i ? area[i] : 0, area[i + 1] };
	return edges;
}

void edges_free(struct edges *edges)
{
	free(edges->edge);
	*edges = (struct edges){};
}

size_t edges_once(struct edges *edges)
{
	size_t i, j, kept = 0, removed;

	for (i = 0; i < edges->number; i++) {
		for (j = 0; j < kept; j++)
			if (!memcmp(&edges->edge[i], &edges->edge[j], sizeof(struct edge)))
				break;
		if (j == kept)
			edges->edge[kept++] = edges->edge[i];
	}
	removed = edges->number - kept;
	edges->number = kept;
	return removed;
}

bool edges_equal(const struct edges *one, const struct edges *other)
{
	return one->number == other->number &&
		!memcmp(one->edge, other->edge, one->number * sizeof(*one->edge));
}

static int by_value(const void *left, const void *right)
{
	uint64_t one = *(const uint64_t *)left, other = *(const uint64_t *)right;

	return one < other ? -1 : one > other;
}

static uint32_t hash(uint32_t a)
{
	a = (a ^ 61) ^ (a >> 16);
	a = a + (a << 3);
	a = a ^ (a >> 4);
	a = a * 0x27d4eb2d;
	return a ^ (a >> 15);
}

uint64_t *edges_signal(const struct edges *edges)
{
	uint64_t *signal = calloc(edges->number + 1, sizeof(*signal));
	size_t i, number = 0;

	if (!signal)
		abort();
	for (i = 0; i < edges->number; i++)
		signal[i + 1] = edges->edge[i].pc ^
			(hash(edges->edge[i].previous & 0xfff) & 0xfff);
	qsort(signal + 1, edges->number, sizeof(*signal), by_value);
	for (i = 1; i <= edges->number; i++)
		if (!number || signal[i] != signal[number])
			signal[++number] = signal[i];
	signal[0] = number;
	return signal;
}

uint64_t *edges_pcs(const struct edges *edges)
{
	uint64_t *pcs = calloc(edges->number + 1, sizeof(*pcs));
	size_t i;

	if (!pcs)
		abort();
	pcs[0] = edges->number;
	for (i = 0; i < edges->number; i++)
		pcs[i + 1] = edges->edge[i].pc;
	return pcs;
}
