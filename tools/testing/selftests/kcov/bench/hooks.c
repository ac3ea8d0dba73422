// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what a call of a hook costs: a user program around the kernel's own object file.
 *
 *   hooks CPU ROUNDS   "ticks FIGURE TICKS" for each figure in each round: ticks of the time
 *     stamp counter a call
 *   hooks CPU 0        "instructions FIGURE NUMBER": how many instructions the hook itself runs
 *     a call, its return included
 *
 * The hooks read the per-CPU variables current_task and __preempt_count at the GS base plus
 * their address. A process starts with GS base 0, so plain variables of these names are what
 * they see. The offsets of the fields in task_struct come from the kernel's debug information,
 * as macros (see scripts/harness/bench/hooks.py).
 */

#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CALLS 20000
/*
 * Records between two resets of the buffer, so that the figures are those of the hook, and not
 * of the memory.
 */
#define RECORDS 500
#define CMP_WORDS 4
#define BUFFER_WORDS (1 + RECORDS * CMP_WORDS)

#define SERVING_SOFTIRQ 0x100
/* The first implementation compares the mode with a number, the second one looks at a bit. */
#ifdef OFFSET_LAYOUT
#define MODE_PC 1
#define MODE_CMP 2
#else
#define MODE_PC 2
#define MODE_CMP 3
#endif

/* Symbols that the kernel's object file needs. */
static _Alignas(64) unsigned char task[TASK_SIZE];
void *current_task = task;
unsigned long __preempt_count;
/* A kernel with the mitigation for return instructions leaves every function through this. */
__asm__(".pushsection .text\n.globl __x86_return_thunk\n__x86_return_thunk: ret\n.popsection");

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_cmp4(uint32_t arg1, uint32_t arg2);
void __sanitizer_cov_trace_const_cmp8(uint64_t arg1, uint64_t arg2);
void __sanitizer_cov_trace_switch(uint64_t val, void *cases);

/* A hook that does nothing; never inlined, as the compiler does not see it. */
void empty(void);
void empty_with_arguments(uint64_t arg1, uint64_t arg2);
__asm__(".pushsection .text\n.balign 64\n.globl empty, empty_with_arguments\n"
	"empty:\nempty_with_arguments:\n\tret\n.popsection");

static uint64_t buffer[BUFFER_WORDS] __attribute__((aligned(4096)));

/* A layout of kcov/layout.rs, and the range of the kernel's code that it assumes. */
#define SET_WORDS 65536
static uint64_t set[SET_WORDS] __attribute__((aligned(4096)));
static struct {
	uint64_t *set;
	uint64_t direct_words;
	uint64_t set_words;
	uint64_t *pcs;
	uint64_t pcs_capacity;
	uint32_t *filter;
	uint32_t filter_shift;
	uint32_t busy;
	uint64_t *comparisons;
	uint64_t comparisons_capacity;
	uint64_t dropped;
	uint64_t fast[2];
	uint64_t generation;
	uint64_t table_mask;
	uint64_t *edges;
	uint64_t edges_capacity;
	uint64_t *header;
} layout __attribute__((aligned(64)));

/* The memory for edges, see kcov/edges.rs: a header, of which these words are used, and a table. */
#define EDGE_HEADER 4
#define EDGE_LAST 0
#define EDGE_COUNT 2
#define EDGE_TABLE 4096
#define EDGE_SET 4
/* All addresses in the table have the number of a generation in these bits. */
#define GENERATION (1UL << 48)
/* The number that a hook of plain traces finds in place of the capacity. */
#define EDGE_CAPACITY 1
static uint64_t edges[EDGE_HEADER + EDGE_TABLE + BUFFER_WORDS] __attribute__((aligned(4096)));

extern struct {
	unsigned long start;
	unsigned long size;
	unsigned long modules;
} kcov_text __attribute__((weak));
/* Where programs like this one begin. */
#define TEXT_START 0x400000UL
#define TEXT_SIZE (SET_WORDS * 64UL * 4)

static uint64_t cases4[2 + 4] = { 4, 32, 1, 2, 3, 4 };
static uint64_t cases16[2 + 16] = { 16, 32, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

/* Several calls a turn, as the turn itself costs as much as a call. */
#define UNROLLED 10
#define LOOP(name, call)							\
	static __attribute__((noinline)) void name(unsigned long calls)	\
	{									\
		for (; calls; calls -= UNROLLED) {				\
			call; call; call; call; call;				\
			call; call; call; call; call;				\
		}								\
	}

LOOP(loop_empty, empty())
LOOP(loop_empty_with_arguments, empty_with_arguments(1, 2))
LOOP(loop_pc, __sanitizer_cov_trace_pc())
LOOP(loop_cmp4, __sanitizer_cov_trace_cmp4(1, 2))
LOOP(loop_const_cmp8, __sanitizer_cov_trace_const_cmp8(1, 2))
LOOP(loop_switch4, __sanitizer_cov_trace_switch(7, cases4))
LOOP(loop_switch16, __sanitizer_cov_trace_switch(7, cases16))

enum state {
	IDLE,		/* no buffer exists */
	OFF,		/* somebody does, but not this task */
	COLLECTING,
	FULL,		/* collecting, but there is no room left */
	SOFTIRQ,	/* collecting, in a softirq with a section of its own */
	INTERRUPT,	/* in a softirq without one, on top of a task that collects */
	REPEATED,	/* collecting each PC once, and it is not the first time */
	NEW,		/* the same, and it is */
	EDGE_REPEATED,	/* collecting each edge once, and it is not the first time */
	EDGE_NEW,	/* the same, and it is */
};

static const struct figure {
	const char *name;
	void (*loop)(unsigned long calls);
	enum state state;
	unsigned int mode;
	/* The number of records that a call makes if there is space. */
	unsigned int records;
	/* The cost of the loop without a hook. */
	void (*reference)(unsigned long calls);
} figures[] = {
	{ "empty", loop_empty, OFF, 0, 0, NULL },
	{ "empty_with_arguments", loop_empty_with_arguments, OFF, 0, 0, NULL },
	{ "trace_pc.idle", loop_pc, IDLE, 0, 0, loop_empty },
	{ "trace_pc.off", loop_pc, OFF, 0, 0, loop_empty },
	{ "trace_pc.collecting", loop_pc, COLLECTING, MODE_PC, 1, loop_empty },
	{ "trace_pc.full", loop_pc, FULL, MODE_PC, 0, loop_empty },
	{ "trace_pc.softirq", loop_pc, SOFTIRQ, MODE_PC, 1, loop_empty },
	{ "trace_pc.interrupt", loop_pc, INTERRUPT, MODE_PC, 0, loop_empty },
	/* An implementation that does not know this mode records everything. */
	{ "trace_pc.unique_repeated", loop_pc, REPEATED, MODE_PC, 1, loop_empty },
	{ "trace_pc.unique_new", loop_pc, NEW, MODE_PC, 1, loop_empty },
	{ "trace_pc.edge_repeated", loop_pc, EDGE_REPEATED, MODE_PC, 1, loop_empty },
	{ "trace_pc.edge_new", loop_pc, EDGE_NEW, MODE_PC, 1, loop_empty },
	{ "trace_cmp4.idle", loop_cmp4, IDLE, 0, 0, loop_empty_with_arguments },
	{ "trace_cmp4.off", loop_cmp4, OFF, 0, 0, loop_empty_with_arguments },
	{ "trace_cmp4.collecting", loop_cmp4, COLLECTING, MODE_CMP, 1, loop_empty_with_arguments },
	{ "const_cmp8.idle", loop_const_cmp8, IDLE, 0, 0, loop_empty_with_arguments },
	{ "const_cmp8.off", loop_const_cmp8, OFF, 0, 0, loop_empty_with_arguments },
	{ "const_cmp8.collecting", loop_const_cmp8, COLLECTING, MODE_CMP, 1,
	  loop_empty_with_arguments },
	{ "switch4.idle", loop_switch4, IDLE, 0, 0, loop_empty_with_arguments },
	{ "switch4.off", loop_switch4, OFF, 0, 0, loop_empty_with_arguments },
	{ "switch4.collecting", loop_switch4, COLLECTING, MODE_CMP, 4, loop_empty_with_arguments },
	{ "switch16.idle", loop_switch16, IDLE, 0, 0, loop_empty_with_arguments },
	{ "switch16.off", loop_switch16, OFF, 0, 0, loop_empty_with_arguments },
	{ "switch16.collecting", loop_switch16, COLLECTING, MODE_CMP, 16,
	  loop_empty_with_arguments },
};

#define FIGURES (sizeof(figures) / sizeof(figures[0]))

static void fail(const char *figure, const char *reason)
{
	fprintf(stderr, "%s: %s\n", figure, reason);
	exit(1);
}

static void set_field(size_t offset, uint32_t value)
{
	memcpy(task + offset, &value, sizeof(value));
}

/*
 * The first instruction of a hook, where the kernel replaces it by a return while no buffer
 * exists. This does the same. An implementation that does nothing of the kind begins otherwise.
 */
static unsigned char *const entries[] = {
	(unsigned char *)__sanitizer_cov_trace_pc,
	(unsigned char *)__sanitizer_cov_trace_cmp4,
	(unsigned char *)__sanitizer_cov_trace_const_cmp8,
	(unsigned char *)__sanitizer_cov_trace_switch,
};

static const unsigned char open_entry[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
static const unsigned char closed_entry[] = { 0xc3, 0xcc, 0xcc, 0xcc, 0xcc };

static void write_code(unsigned char *code, const unsigned char *bytes, size_t length)
{
	uintptr_t page = (uintptr_t)code & ~4095UL;

	if (mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC))
		fail("gate", "the code can not be made writable");
	memcpy(code, bytes, length);
	if (mprotect((void *)page, 8192, PROT_READ | PROT_EXEC))
		fail("gate", "the code can not be made executable again");
}

static int has_gate(const unsigned char *entry)
{
	/* The compiler's instruction may differ in its last byte. */
	return !memcmp(entry, open_entry, sizeof(open_entry) - 1) ||
	       !memcmp(entry, closed_entry, sizeof(closed_entry));
}

static void set_gate(int open)
{
	size_t i;

	for (i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		if (has_gate(entries[i]))
			write_code(entries[i], open ? open_entry : closed_entry,
				   sizeof(open_entry));
	}
}

static uint64_t capacity(unsigned int mode)
{
	return mode == MODE_CMP ? (BUFFER_WORDS - 1) / CMP_WORDS : BUFFER_WORDS - 1;
}

static enum state state_of(const struct figure *figure)
{
#ifndef OFFSET_LAYOUT
	if (figure->state >= REPEATED)
		return COLLECTING;
#endif
	return figure->state;
}

/* Returns the number of records that a call makes. */
static unsigned int records_of(const struct figure *figure)
{
	enum state state = state_of(figure);

	return state == REPEATED || state == EDGE_REPEATED ? 0 : figure->records;
}

static int has_edges(const struct figure *figure)
{
	return state_of(figure) >= EDGE_REPEATED;
}

/* Returns the word with the number of records. */
static volatile uint64_t *counter(const struct figure *figure)
{
	return has_edges(figure) ? &edges[EDGE_COUNT] : buffer;
}

/* Starts a generation, in which all edges are new. */
static void forget_edges(void)
{
	layout.generation += GENERATION;
	*(volatile uint64_t *)&edges[EDGE_LAST] = layout.generation;
}

static void prepare_edges(void)
{
	void *area = edges;

	memset(edges, 0, sizeof(edges));
	layout.generation = 0;
	layout.table_mask = (EDGE_TABLE - EDGE_SET) * sizeof(uint64_t);
	layout.edges = edges + EDGE_HEADER + EDGE_TABLE;
	layout.edges_capacity = BUFFER_WORDS / 2;
	layout.header = edges;
	memcpy(task + OFFSET_AREA, &area, sizeof(area));
	set_field(OFFSET_CAPACITY, EDGE_CAPACITY);
	forget_edges();
}

static void prepare_layout(const struct figure *figure)
{
#ifdef OFFSET_LAYOUT
	void *address = &layout;
	enum state state = state_of(figure);

	kcov_text.start = TEXT_START;
	kcov_text.size = TEXT_SIZE;
	layout.set = set;
	layout.set_words = layout.direct_words = state == REPEATED || state == NEW ? SET_WORDS : 0;
	layout.pcs = layout.comparisons = buffer;
	layout.pcs_capacity = capacity(MODE_PC);
	layout.comparisons_capacity = capacity(MODE_CMP);
	memcpy(task + OFFSET_LAYOUT, &address, sizeof(address));
	if (layout.set_words)
		set_field(OFFSET_CAPACITY, 0);
	if (has_edges(figure))
		prepare_edges();
	if (state == REPEATED || state == EDGE_REPEATED) {
		/* The second turn has the edge from its end to its start. */
		figure->loop(2 * UNROLLED);
		*counter(figure) = 0;
	}
#else
	(void)figure;
#endif
}

/* Makes all PCs of a loop new again: the bits of its code in the set are in these words. */
static void forget(void (*loop)(unsigned long calls))
{
	uint64_t *word = &set[((uintptr_t)loop - TEXT_START) / 4 / 64];

	*(volatile uint64_t *)word = 0;
	*(volatile uint64_t *)(word + 1) = 0;
}

static void forget_all(const struct figure *figure)
{
	if (has_edges(figure))
		forget_edges();
	else
		forget(figure->loop);
}

static void prepare(const struct figure *figure)
{
	void *area = buffer;

	memset(task, 0, sizeof(task));
	set_gate(figure->state != IDLE);
	memcpy(task + OFFSET_AREA, &area, sizeof(area));
#ifdef CAPACITY_IN_RECORDS
	set_field(OFFSET_CAPACITY, capacity(figure->mode));
#else
	set_field(OFFSET_CAPACITY, BUFFER_WORDS);
#endif
	set_field(OFFSET_SOFTIRQ, figure->state == SOFTIRQ);
	set_field(OFFSET_MODE, figure->mode);
	__preempt_count = figure->state == SOFTIRQ || figure->state == INTERRUPT ?
			  SERVING_SOFTIRQ : 0;
	buffer[0] = figure->state == FULL ? capacity(figure->mode) : 0;
	forget(figure->loop);
	prepare_layout(figure);
}

/* Returns whether the last CALLS calls had the effect that they must have. */
static void check(const struct figure *figure, unsigned long calls)
{
	uint64_t expected = figure->state == FULL ? capacity(figure->mode) :
			    calls * records_of(figure);

	if (*counter(figure) != expected) {
		fprintf(stderr, "%llu records instead of %llu; ",
			(unsigned long long)*counter(figure), (unsigned long long)expected);
		fail(figure->name, "the hook did not record what it should");
	}
	__preempt_count = 0;
}

static uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static void measure(const struct figure *figure, int print)
{
	int is_new = state_of(figure) == NEW || state_of(figure) == EDGE_NEW;
	unsigned long turns = is_new ? 1 :
			      RECORDS / UNROLLED / (figure->records ? figure->records : 1);
	unsigned long batch = turns * UNROLLED;
	unsigned long batches = CALLS / batch, i;
	uint64_t start, end;

	prepare(figure);
	/* The first batch warms the caches up. */
	figure->loop(batch);
	check(figure, batch);
	prepare(figure);
	start = ticks();
	for (i = 0; i < batches; i++) {
		if (figure->records)
			*counter(figure) = 0;
		if (is_new)
			forget_all(figure);
		figure->loop(batch);
	}
	end = ticks();
	check(figure, figure->records ? batch : batch * batches);
	if (print)
		printf("ticks %s %.4f\n", figure->name, (double)(end - start) / (batch * batches));
}

static volatile unsigned long steps;

static void on_step(int signal)
{
	(void)signal;
	steps++;
}

static unsigned long steps_of(void (*loop)(unsigned long calls), unsigned long calls)
{
	steps = 0;
	/* The processor's trap flag: a signal after every instruction. */
	__asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	loop(calls);
	__asm__ volatile("pushfq\n\tandl $~0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	return steps;
}

static unsigned long steps_per_turn(void (*loop)(unsigned long calls))
{
	return steps_of(loop, 2 * UNROLLED) - steps_of(loop, UNROLLED);
}

static void count(const struct figure *figure)
{
	unsigned long own = UNROLLED;

	prepare(figure);
	/* The reference has the same calls and the return of each. */
	if (figure->reference && (state_of(figure) == NEW || state_of(figure) == EDGE_NEW)) {
		own += steps_of(figure->loop, UNROLLED) - steps_of(figure->reference, UNROLLED);
		check(figure, UNROLLED);
	} else if (figure->reference) {
		own += steps_per_turn(figure->loop) - steps_per_turn(figure->reference);
		check(figure, 3 * UNROLLED);
	} else {
		check(figure, 0);
	}
	printf("instructions %s %.2f\n", figure->name, (double)own / UNROLLED);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_step };
	unsigned long round, rounds, i;
	cpu_set_t cpus;

	if (argc != 3) {
		fprintf(stderr, "usage: hooks CPU ROUNDS\n");
		return 2;
	}
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[1]), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus)) {
		perror("sched_setaffinity");
		return 1;
	}
	rounds = strtoul(argv[2], NULL, 0);
	if (!rounds) {
		sigaction(SIGTRAP, &action, NULL);
		for (i = 0; i < FIGURES; i++)
			count(&figures[i]);
		return 0;
	}
	for (round = 0; round <= rounds; round++) {
		for (i = 0; i < FIGURES; i++)
			measure(&figures[i], round > 0);
	}
	return 0;
}
