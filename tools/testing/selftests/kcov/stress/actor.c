// SPDX-License-Identifier: GPL-2.0
/*
 * A process of many threads, each at work on the process's descriptors: opening,
 * mapping, enabling, disabling and closing them, its own ones mostly, but those
 * of the other threads too; and forking, exiting and dying at any moment.
 *
 * Descriptors have fixed numbers and buffers have fixed places.  So whatever the
 * threads do to each other, a number is one of KCOV or none at all, and a write
 * to a buffer never faults.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kcov.h"
#include "stress.h"

#define FIRST_FD	256
#define SLOTS		(2 * options.threads)
#define SLOT_PAGES	32
#define SLOT_BYTES	(SLOT_PAGES * 4096UL)
#define STEPS		4000

static const uint64_t forged_counts[] = {
	~0ULL, ~0ULL >> 1, 1ULL << 63, 1ULL << 61, (1ULL << 61) - 1, 1ULL << 59,
	(1ULL << 59) - 1, 1ULL << 58, (1ULL << 58) - 1, 1ULL << 32, 1ULL << 31,
	512, 511, 510, 16384, 16383, 4096, 4095, 128, 127, 1, 0,
};

struct state {
	struct random random;
	unsigned int thread;
	unsigned int depth;	/* of forks */
};

/* Of this process; a child by fork() goes on with copies. */
static unsigned char *buffers;
static unsigned int actor_round;

static volatile uint64_t *buffer(unsigned int slot)
{
	return (volatile uint64_t *)(buffers + slot * SLOT_BYTES);
}

static int slot_fd(unsigned int slot)
{
	return FIRST_FD + slot;
}

/* Mostly one of the thread's own two. */
static unsigned int any_slot(struct state *state)
{
	if (random_below(&state->random, 8))
		return 2 * state->thread + random_below(&state->random, 2);
	return random_below(&state->random, SLOTS);
}

/*
 * Errors that the other threads cause are none of ours. A handle may be taken where
 * @taken says so: where others use it too. A call may be unknown if @missing is not 0.
 */
static void judge(const char *call, long ret, bool taken, int missing)
{
	if (missing && ret == -missing) {
		COUNT(unknown);
		return;
	}
	switch (-ret) {
	case 0:
		return;
	case EBUSY:
		COUNT(busy);
		return;
	case EINVAL:
	case EBADF:
		COUNT(refused);
		return;
	case EEXIST:
		COUNT(handle_taken);
		if (taken)
			return;
		fail("%s: a handle that only this thread uses is taken", call);
	}
	fail("%s: unexpected error: %s", call, strerror(-ret));
}

static void unmap_slot(unsigned int slot)
{
	if (mmap(buffers + slot * SLOT_BYTES, SLOT_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		fail("cannot unmap a buffer: %s", strerror(errno));
}

/*
 * The mapping has the size of the buffer only if no other thread was faster.  An
 * mmap() that fails may leave a hole where it was to be, for other threads to
 * fall into, so it is done elsewhere, and what it gave is moved.
 */
static void map_slot(unsigned int slot, unsigned int pages)
{
	unsigned char *place = buffers + slot * SLOT_BYTES;
	void *mapping = mmap(NULL, pages * 4096UL, PROT_READ | PROT_WRITE, MAP_SHARED,
			     slot_fd(slot), 0);

	if (mapping == MAP_FAILED) {
		if (errno != EINVAL && errno != EBADF)
			fail("mmap: unexpected error: %s", strerror(errno));
		unmap_slot(slot);
		return;
	}
	if (mremap(mapping, pages * 4096UL, pages * 4096UL, MREMAP_MAYMOVE | MREMAP_FIXED,
		   place) != place)
		fail("mremap: unexpected error: %s", strerror(errno));
	COUNT(mapped);
}

static void open_slot(struct state *state, unsigned int slot)
{
	unsigned int pages = 1 + random_below(&state->random, SLOT_PAGES);
	int fd = kcov_open();
	long ret;

	if (fd < 0)
		fail("open: unexpected error: %s", strerror(-fd));
	/* Closes what had the number before, in whatever state. */
	if (dup3(fd, slot_fd(slot), O_CLOEXEC) < 0)
		fail("dup3: unexpected error: %s", strerror(errno));
	close(fd);
	COUNT(opened);
	ret = kcov_init(slot_fd(slot), pages * 512UL);
	judge("KCOV_INIT_TRACE", ret, false, 0);
	map_slot(slot, pages);
}

static void close_slot(struct state *state, unsigned int slot)
{
	if (random_below(&state->random, 2))
		unmap_slot(slot);
	if (!close(slot_fd(slot)))
		COUNT(closed);
}

/* The part in front of the trace, in the modes that divide the buffer: any size. */
static unsigned long front_words(struct state *state)
{
	static const unsigned long unusual[] = {
		0, 1, 2, 507, 508, 510, 511, 512, 513, SLOT_BYTES / 8, 1UL << 31, 1UL << 32,
		1UL << 61, ~0UL,
	};

	if (random_below(&state->random, 4))
		return 1 + random_below(&state->random, SLOT_BYTES / 8);
	return unusual[random_below(&state->random, ARRAY_SIZE(unusual))];
}

/* Each PC once. */
static bool enable_unique(unsigned int slot, unsigned long front)
{
	long ret = kcov_ioctl(slot_fd(slot), KCOV_UNIQUE_ENABLE, front);

	judge("KCOV_UNIQUE_ENABLE", ret, false, options.no_unique);
	if (!ret)
		COUNT(unique_enabled);
	return !ret;
}

/* PCs, and comparisons behind them. */
static bool enable_both(unsigned int slot, unsigned long front)
{
	long ret = kcov_ioctl(slot_fd(slot), KCOV_PC_CMP_ENABLE, front);

	judge("KCOV_PC_CMP_ENABLE", ret, false, options.no_both);
	if (!ret)
		COUNT(both_enabled);
	return !ret;
}

/* Each edge once. */
static bool enable_edges(unsigned int slot, unsigned long table)
{
	long ret = kcov_ioctl(slot_fd(slot), KCOV_EDGE_ENABLE, table);

	judge("KCOV_EDGE_ENABLE", ret, false, options.no_unique);
	if (!ret)
		COUNT(edges_enabled);
	return !ret;
}

/* The size of the table: mostly one that is possible. */
static unsigned long table_words(struct state *state)
{
	return random_below(&state->random, 4) ? 1UL << random_below(&state->random, 12) :
		front_words(state);
}

static void enable_local(struct state *state, unsigned int slot)
{
	unsigned int kind = random_below(&state->random, 8);
	long ret;

	if (kind == 0) {
		enable_unique(slot, front_words(state));
		return;
	}
	if (kind == 1) {
		enable_both(slot, front_words(state));
		return;
	}
	if (kind == 2) {
		enable_edges(slot, table_words(state));
		return;
	}
	ret = kcov_enable(slot_fd(slot), kind % 2 ? KCOV_TRACE_PC : KCOV_TRACE_CMP);
	judge("KCOV_ENABLE", ret, false, 0);
	if (!ret)
		COUNT(local_enabled);
}

/* Discards the records of the task that has enabled the slot, which may be another one. */
static bool reset(unsigned int slot)
{
	long ret = kcov_ioctl(slot_fd(slot), KCOV_RESET_TRACE, 0);

	judge("KCOV_RESET_TRACE", ret, false, options.no_reset);
	if (!ret)
		COUNT(resets);
	return !ret;
}

/* Another thread enables these slots mostly, and records into them at this moment. */
static void reset_others(struct state *state)
{
	unsigned int slot = random_below(&state->random, SLOTS), i;

	for (i = random_below(&state->random, 8); i; i--)
		if (reset(slot) && slot / 2 != state->thread)
			COUNT(resets_of_others);
}

/* Another thread may be recorded into this slot at this moment. */
static void disable_others(struct state *state)
{
	unsigned int slot = random_below(&state->random, SLOTS);
	long ret = kcov_ioctl(slot_fd(slot), KCOV_DISABLE_ANY, 0);

	judge("KCOV_DISABLE_ANY", ret, false, options.no_reset);
	if (!ret && slot / 2 != state->thread)
		COUNT(disabled_others);
}

/* Handles that no other task has, as long as this one lives. */
static uint64_t own_common_handle(void)
{
	return 0x10000 + syscall(SYS_gettid);
}

static uint64_t own_handle(unsigned int index)
{
	return KCOV_SUBSYSTEM_USB | (0x80000000 + 32 * syscall(SYS_gettid) + index);
}

static uint32_t area_words(struct state *state)
{
	static const uint32_t unusual[] = { 0, 1, 2, 3, 5, 511, 1 << 20, ~0U };

	/* The implementation in C keeps an area of every size for ever. */
	if (options.upstream)
		return 1024 << random_below(&state->random, 3);
	if (random_below(&state->random, 8))
		return 4 + random_below(&state->random, 1 << 15);
	return unusual[random_below(&state->random, ARRAY_SIZE(unusual))];
}

/* Handles that others use, too: those of the sections among them. */
static uint64_t shared_handle(struct state *state)
{
	return random_below(&state->random, 3) ?
		KCOV_SUBSYSTEM_USB | (0x40000000 + (random_next(&state->random) & 0xffff)) :
		sections_handle(&state->random);
}

static uint32_t remote_mode(struct state *state)
{
	static const uint32_t modes[] = {
		KCOV_TRACE_PC, KCOV_TRACE_CMP, KCOV_TRACE_UNIQUE_PC, KCOV_TRACE_PC_CMP,
		KCOV_TRACE_EDGE,
	};

	/* Where these modes are unknown, the call fails with EINVAL. */
	return modes[random_below(&state->random, options.upstream ? 2 : ARRAY_SIZE(modes))];
}

static bool enable_remote(struct state *state, unsigned int slot)
{
	enum { MOST = 32 };
	struct {
		struct kcov_remote_arg arg;
		uint64_t handles[MOST];
	} remote = { 0 };
	unsigned int i, number = random_below(&state->random, 4);
	bool taken = false;
	long ret;

	if (!random_below(&state->random, 8))
		number = random_below(&state->random, MOST);
	for (i = 0; i < number; i++) {
		bool own = random_below(&state->random, 2);

		remote.handles[i] = own ? own_handle(i) : shared_handle(state);
		taken |= !own;
	}
	if (random_below(&state->random, 8)) {
		bool own = random_below(&state->random, 8);

		remote.arg.common_handle = own ? own_common_handle() :
			1 + random_below(&state->random, 16);
		taken |= !own;
	}
	remote.arg.trace_mode = remote_mode(state);
	remote.arg.front_size = remote.arg.trace_mode == KCOV_TRACE_EDGE ?
		table_words(state) : front_words(state);
	remote.arg.area_size = area_words(state);
	remote.arg.num_handles = number;
	ret = kcov_ioctl(slot_fd(slot), KCOV_REMOTE_ENABLE, (unsigned long)&remote);
	judge("KCOV_REMOTE_ENABLE", ret, taken, options.no_unique == ENOTSUPP ? ENOTSUPP : 0);
	if (!ret)
		COUNT(remote_enabled);
	if (!ret && remote.arg.trace_mode > KCOV_TRACE_CMP)
		COUNT(remote_divided);
	return !ret;
}

static void disable(unsigned int slot)
{
	long ret = kcov_disable(slot_fd(slot));

	judge("KCOV_DISABLE", ret, false, 0);
	if (!ret)
		COUNT(disabled);
}

/* Any two words: what the kernel makes of the first must not depend on trust. */
static void forge(struct state *state)
{
	volatile uint64_t *words = buffer(any_slot(state));

	words[0] = forged_counts[random_below(&state->random, ARRAY_SIZE(forged_counts))];
	words[random_below(&state->random, 512)] = random_next(&state->random);
	COUNT(forged);
}

/* Returns whether PCs follow so many words of a buffer. */
static bool holds_pcs(unsigned int slot, unsigned long front)
{
	volatile uint64_t *trace = buffer(slot) + front;

	return trace[0] && trace[1] >> 47 == 0x1ffff;
}

static void system_calls(void)
{
	char text[512];
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		fail("pipe2: %s", strerror(errno));
	if (write(fds[1], text, sizeof(text)) != sizeof(text) ||
	    read(fds[0], text, sizeof(text)) != sizeof(text))
		fail("a pipe does not work: %s", strerror(errno));
	close(fds[0]);
	close(fds[1]);
	sched_yield();
	mark_one();
}

/* A trace of this thread's own calls, all to itself. */
static void trace_locally(struct state *state)
{
	unsigned int slot = 2 * state->thread;

	enable_local(state, slot);
	buffer(slot)[0] = 0;
	buffer(slot)[1] = 0;
	system_calls();
	if (holds_pcs(slot, 0))
		COUNT(local_traces);
	if (!random_below(&state->random, 4))
		reset(slot);
	if (random_below(&state->random, 2))
		disable(slot);
}

/* The same behind a set, or in front of comparisons. Each buffer has room for that. */
static void trace_divided(struct state *state)
{
	unsigned int slot = 2 * state->thread;
	unsigned long front = 2 + random_below(&state->random, 256);
	bool once = random_below(&state->random, 2);

	if (once ? !enable_unique(slot, front) : !enable_both(slot, front))
		return;
	memset((void *)buffer(slot), 0, (front + 2) * sizeof(uint64_t));
	system_calls();
	if (once && holds_pcs(slot, front))
		COUNT(unique_traces);
	/* The first comparison of which the last word is a PC. */
	if (!once && holds_pcs(slot, 0) && buffer(slot)[front] && buffer(slot)[front + 1] < 8 &&
	    buffer(slot)[front + 4] >> 47 == 0x1ffff)
		COUNT(both_traces);
	reset(slot);
	system_calls();
	if (random_below(&state->random, 2))
		disable(slot);
}

/* Sections run while the handles come and go. */
static void trace_remotely(struct state *state)
{
	unsigned int i, slot = 2 * state->thread + 1;
	bool enabled = enable_remote(state, slot);

	buffer(slot)[0] = 0;
	buffer(slot)[1] = 0;
	for (i = random_below(&state->random, enabled ? 8 : 2); i; i--)
		sections_run(&state->random);
	if (holds_pcs(slot, 0))
		COUNT(remote_traces);
	if (!random_below(&state->random, 4))
		reset(slot);
	if (random_below(&state->random, 2))
		disable(slot);
}

static void step(struct state *state);

/* The child has the handle, the descriptors and the buffers, but is not traced. */
static void fork_child(struct state *state)
{
	unsigned int steps;
	pid_t child;

	if (state->depth > 1)
		return;
	child = fork();
	if (child < 0)
		fail("fork: %s", strerror(errno));
	if (child) {
		COUNT(forked);
		/* Who is not waited for is waited for by the first process. */
		if (random_below(&state->random, 2))
			waitpid(child, NULL, 0);
		return;
	}
	state->depth++;
	state->random = random_seed(actor_round, getpid(), state->thread);
	for (steps = random_below(&state->random, 12); steps && !round_over(); steps--)
		step(state);
	if (random_below(&state->random, 2))
		raise(SIGKILL);
	_exit(0);
}

/* Ends with everything enabled. */
static void *short_thread(void *data)
{
	struct state *state = data;
	unsigned int slot = any_slot(state);

	open_slot(state, slot);
	enable_local(state, slot);
	slot = any_slot(state);
	open_slot(state, slot);
	enable_remote(state, slot);
	sections_run(&state->random);
	COUNT(threads_ended_enabled);
	return NULL;
}

static void run_short_thread(struct state *state)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, short_thread, state))
		fail("cannot make a thread");
	pthread_join(thread, NULL);
}

static void step(struct state *state)
{
	unsigned int kind = random_below(&state->random, 100);

	if (kind < 15)
		open_slot(state, any_slot(state));
	else if (kind < 20)
		close_slot(state, any_slot(state));
	else if (kind < 30)
		enable_local(state, any_slot(state));
	else if (kind < 40)
		enable_remote(state, any_slot(state));
	else if (kind < 48)
		disable(any_slot(state));
	else if (kind < 57)
		trace_locally(state);
	else if (kind < 63)
		trace_divided(state);
	else if (kind < 78)
		trace_remotely(state);
	else if (kind < 83)
		sections_run(&state->random);
	else if (kind < 84)
		reset(any_slot(state));
	else if (kind < 86)
		reset_others(state);
	else if (kind < 88)
		disable_others(state);
	else if (kind < 94)
		forge(state);
	else if (kind < 96)
		unmap_slot(any_slot(state));
	else if (kind < 98)
		run_short_thread(state);
	else if (random_below(&state->random, 16))
		fork_child(state);
	else if (state->depth || !random_below(&state->random, 8))
		raise(SIGKILL);
}

static void *thread_main(void *data)
{
	struct state *state = data;
	unsigned int steps;

	open_slot(state, 2 * state->thread);
	open_slot(state, 2 * state->thread + 1);
	for (steps = 0; steps < STEPS && !round_over(); steps++)
		step(state);
	/* Half of the threads end with whatever they have enabled. */
	if (random_below(&state->random, 2)) {
		disable(2 * state->thread);
		disable(2 * state->thread + 1);
	} else {
		COUNT(threads_ended_enabled);
	}
	return NULL;
}

/* Writes counts all the time, to buffers that are being written to. */
static void *forger_main(void *data)
{
	struct state *state = data;

	while (!round_over()) {
		unsigned int i;

		for (i = 0; i < 64; i++)
			forge(state);
		usleep(500);
	}
	return NULL;
}

void actor_run(unsigned int round, unsigned int number)
{
	pthread_t threads[options.threads + 1];
	struct state *states = calloc(options.threads + 1, sizeof(*states));
	unsigned int i;

	actor_round = round;
	buffers = mmap(NULL, SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!states || buffers == MAP_FAILED)
		fail("out of memory");
	for (i = 0; i <= options.threads; i++) {
		states[i].random = random_seed(round, number, i);
		states[i].thread = i % options.threads;
		if (pthread_create(&threads[i], NULL,
				   i < options.threads ? thread_main : forger_main, &states[i]))
			fail("cannot make a thread");
	}
	/* Some end with their threads, some take their threads down. */
	if (number % 3 == 0)
		usleep(1000 * (50 + 37 * number % 2000));
	else
		for (i = 0; i < options.threads; i++)
			pthread_join(threads[i], NULL);
	_exit(0);
}
