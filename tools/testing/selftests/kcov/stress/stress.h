/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Declarations that the parts of the stress program share: the counters of what has happened
 * so far, the random numbers, and the end with a reason.
 */
#ifndef KCOV_STRESS_H
#define KCOV_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Events that must have happened at least once for a run to mean anything. */
#define COUNTERS(X)							\
	X(opened)							\
	X(mapped)							\
	X(closed)							\
	X(local_enabled)						\
	X(unique_enabled)						\
	X(both_enabled)							\
	X(edges_enabled)						\
	X(remote_enabled)						\
	X(remote_divided)						\
	X(resets)							\
	X(resets_of_others)						\
	X(disabled_others)						\
	X(unknown)							\
	X(handle_taken)							\
	X(busy)								\
	X(refused)							\
	X(disabled)							\
	X(forged)							\
	X(forked)							\
	X(threads_ended_enabled)					\
	X(processes)							\
	X(processes_killed)						\
	X(worker_sections)						\
	X(work_sections)						\
	X(softirq_sections)						\
	X(nested_sections)						\
	X(vhost_sections)						\
	X(uring_sections)						\
	X(usb_devices)							\
	X(local_traces)							\
	X(unique_traces)						\
	X(both_traces)							\
	X(remote_traces)						\
	X(quiet_traces)

struct counters {
#define X(name) atomic_ulong name;
	COUNTERS(X)
#undef X
};

/* In memory that all processes share. */
struct shared {
	struct counters count;
	atomic_bool stop;	/* the round is over */
	atomic_bool load_stop;	/* so is the quiet after it */
	atomic_bool failed;
};

struct options {
	uint64_t seed;
	unsigned int rounds;
	unsigned int round_ms;
	unsigned int processes;
	unsigned int threads;
	/* Leave out what is known to make the implementation in C warn. */
	bool upstream;
	/* The errors that tell that this kernel has no such call, or 0 if it has. */
	int no_unique, no_both, no_reset;
};

extern struct shared *shared;
extern struct options options;

#define COUNT(name) \
	atomic_fetch_add_explicit(&shared->count.name, 1, memory_order_relaxed)

static inline bool round_over(void)
{
	return atomic_load_explicit(&shared->stop, memory_order_relaxed);
}

/* xorshift64*: the same sequence for the same seed, on every machine. */
struct random {
	uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
	random->state ^= random->state >> 12;
	random->state ^= random->state << 25;
	random->state ^= random->state >> 27;
	return random->state * 0x2545f4914f6cdd1dULL;
}

static inline unsigned int random_below(struct random *random, unsigned int limit)
{
	return (random_next(random) >> 33) % limit;
}

/* A sequence of its own for every thread of every process of every round. */
static inline struct random random_seed(uint64_t a, uint64_t b, uint64_t c)
{
	struct random random = {
		.state = (options.seed + 1) * 0x9e3779b97f4a7c15ULL ^
			 (a + 1) * 0xbf58476d1ce4e5b9ULL ^
			 (b + 1) * 0x94d049bb133111ebULL ^ (c + 1) << 32,
	};

	random.state |= !random.state;
	random_next(&random);
	random_next(&random);
	return random;
}

/* Ends the process, which fails the run. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* actor.c: a process of many threads, each at work on descriptors. */
void actor_run(unsigned int round, unsigned int number);

/* sections.c: what makes the kernel run annotated sections. */
void sections_open(void);
/* Starts a section somewhere and waits for its end, mostly. */
void sections_run(struct random *random);
/* Handles that the sections have. */
uint64_t sections_handle(struct random *random);
/* Devices that come and go on the USB, until the round is over. */
void sections_usb_run(void);
bool sections_usb_exist(void);

/* gate.c: the code at the entry of the hooks. */
void gate_open(void);
/* Returns whether the code has changed since the call before. */
bool gate_changed(void);

#endif
