// SPDX-License-Identifier: GPL-2.0
/*
 * The records that a reset discards, and the number of dropped records: KCOV_RESET_TRACE in every
 * mode.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "background.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define FRONT	2048UL
/* A set that covers almost no code, so that most PCs are recorded as in plain mode. */
#define SMALL_SET	16UL
#define WORDS	8192UL
#define HANDLE	(KCOV_SUBSYSTEM_COMMON | 0x7e5c0001)
#define DROPPED	"kcov-dropped-records"

FIXTURE(reset) {
	uint64_t *area;
	struct worker worker;
	int fd;
};

FIXTURE_VARIANT(reset) {
	unsigned long cmd;
	/* The mode, if the call takes one; other calls take the size of the front. */
	unsigned long trace_mode;
	const char *mode;
	/* The positions of the counts: at the start of the buffer, and after the front. */
	bool first, second;
};

#define MODE(name, ...) FIXTURE_VARIANT_ADD(reset, name) { __VA_ARGS__ }

MODE(pc, KCOV_ENABLE, KCOV_TRACE_PC, "pc", true, false);
MODE(cmp, KCOV_ENABLE, KCOV_TRACE_CMP, "cmp", true, false);
MODE(unique, KCOV_UNIQUE_ENABLE, 0, "unique", false, true);
MODE(both, KCOV_PC_CMP_ENABLE, 0, "pc+cmp", true, true);
MODE(remote_pc, KCOV_REMOTE_ENABLE, KCOV_TRACE_PC, "pc", true, false);
MODE(remote_cmp, KCOV_REMOTE_ENABLE, KCOV_TRACE_CMP, "cmp", true, false);
MODE(remote_unique, KCOV_REMOTE_ENABLE, KCOV_TRACE_UNIQUE_PC, "unique", false, true);
MODE(remote_both, KCOV_REMOTE_ENABLE, KCOV_TRACE_PC_CMP, "pc+cmp", true, true);

static long enable(FIXTURE_DATA(reset) *self, const FIXTURE_VARIANT(reset) *variant,
		   unsigned long front)
{
	/* Areas that are too small for a section in the background. */
	if (variant->cmd == KCOV_REMOTE_ENABLE)
		return kcov_remote_divided(self->fd, variant->trace_mode, front, 16, HANDLE, 0);
	return kcov_ioctl(self->fd, variant->cmd,
			  variant->cmd == KCOV_ENABLE ? variant->trace_mode : front);
}

FIXTURE_SETUP(reset)
{
	const char *missing = traces_missing() ?: reset_missing();
	long ret;

	if (missing)
		SKIP(return, "%s", missing);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	ret = enable(self, variant, FRONT);
	if (ret == -ENOTSUPP)
		SKIP(return, "this mode is configured out");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, kcov_disable(self->fd));
	memset(self->area, 0, WORDS * sizeof(*self->area));
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(reset)
{
	worker_end(&self->worker);
	close(self->fd);
}

static long reset(int fd, unsigned long argument)
{
	return kcov_ioctl(fd, KCOV_RESET_TRACE, argument);
}

/* A descriptor can be reset while it is enabled. */
TEST_F(reset, errors)
{
	int fresh = kcov_open();

	EXPECT_EQ(-EINVAL, reset(fresh, 0));
	EXPECT_EQ(-EINVAL, reset(self->fd, 0));
	ASSERT_EQ(0, enable(self, variant, FRONT));
	EXPECT_EQ(-EINVAL, reset(self->fd, 1));
	EXPECT_EQ(-EINVAL, reset(self->fd, ~0UL));
	EXPECT_EQ(-EINVAL, reset(self->fd, 1UL << 32));
	EXPECT_EQ(-EINVAL, reset(fresh, 0));
	EXPECT_EQ(-EINVAL, worker_ioctl(&self->worker, self->fd, KCOV_RESET_TRACE, 1));
	EXPECT_EQ(0, worker_ioctl(&self->worker, self->fd, KCOV_RESET_TRACE, 0));
	EXPECT_EQ(0, reset(self->fd, 0));
	/* The descriptor is still enabled. */
	EXPECT_EQ(0, reset(self->fd, 0));
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(-EINVAL, reset(self->fd, 0));
	close(fresh);
}

/* A call that fails resets nothing; one that succeeds resets all of it. */
TEST_F(reset, counts_and_set)
{
	/* More than the return of the call and a page fault leave, also with mitigations. */
	const uint64_t many = 4000;
	static uint64_t after[FRONT + 1];
	unsigned long i, seen = 0;

	ASSERT_EQ(0, enable(self, variant, FRONT));
	self->area[0] = many;
	self->area[FRONT] = many;
	if (!variant->first)
		memset(self->area, 0xff, FRONT * sizeof(*self->area));
	EXPECT_EQ(-EINVAL, reset(self->fd, 1));
	EXPECT_EQ(-EINVAL, worker_ioctl(&self->worker, self->fd, KCOV_RESET_TRACE, 1));
	EXPECT_LE(many, self->area[variant->first ? 0 : FRONT]);
	EXPECT_EQ(0, reset(self->fd, 0));
	memcpy(after, self->area, (FRONT + 1) * sizeof(*after));
	ASSERT_EQ(0, kcov_disable(self->fd));
	/* The return from the call is recorded, if it is one of this task. */
	if (variant->first)
		EXPECT_GT(many, after[0]);
	if (variant->second)
		EXPECT_GT(many, after[FRONT]);
	if (variant->first)
		return;
	/* The set has only PCs that are also in the trace. */
	for (i = 0; i < FRONT; i++)
		seen += __builtin_popcountl(after[i]);
	EXPECT_LE(seen, after[FRONT]);
}

struct enabling {
	FIXTURE_DATA(reset) *self;
	const FIXTURE_VARIANT(reset) *variant;
	atomic_bool stop;
};

static long enable_for(void *data)
{
	struct enabling *enabling = data;

	return enable(enabling->self, enabling->variant, FRONT);
}

/* Returns the counts of a trace; a part without a count is 0. */
static uint64_t counts(FIXTURE_DATA(reset) *self, const FIXTURE_VARIANT(reset) *variant)
{
	const volatile uint64_t *area = self->area;

	return (variant->first ? area[0] : 0) + (variant->second ? area[FRONT] : 0);
}

/* Waits until the worker sleeps: it is recorded on its way. */
static bool settled(FIXTURE_DATA(reset) *self, const FIXTURE_VARIANT(reset) *variant)
{
	time_t since = 0;
	uint64_t last;

	do {
		last = counts(self, variant);
		usleep(2000);
	} while (last != counts(self, variant) && may_wait(&since));
	return last == counts(self, variant);
}

static bool set_is_empty(FIXTURE_DATA(reset) *self)
{
	return !set_size(self->area, FRONT);
}

static long run_background(void *unused)
{
	return background_run();
}

/* Leaves records of the worker, or of sections for it. */
static long leave_records(FIXTURE_DATA(reset) *self, const FIXTURE_VARIANT(reset) *variant)
{
	if (variant->cmd == KCOV_REMOTE_ENABLE)
		return worker_run(&self->worker, run_background, NULL);
	return worker_ioctl(&self->worker, self->fd, KCOV_INIT_TRACE, 0) == -EINVAL ? 0 : -1;
}

/* Another task, and a child, reset what the worker has enabled and waits with. */
TEST_F(reset, of_another_task)
{
	struct enabling enabling = { self, variant };
	const bool unique = !variant->first;
	int by_child;

	if (variant->cmd == KCOV_REMOTE_ENABLE && background_missing())
		SKIP(return, "%s", background_missing());
	for (by_child = 0; by_child < 2; by_child++) {
		ASSERT_EQ(0, worker_run(&self->worker, enable_for, &enabling));
		ASSERT_EQ(0, leave_records(self, variant));
		ASSERT_TRUE(settled(self, variant));
		ASSERT_LT(0, counts(self, variant));
		if (unique)
			memset(self->area, 0xff, FRONT * sizeof(*self->area));
		if (by_child) {
			pid_t child = fork();

			ASSERT_LE(0, child);
			if (!child)
				_exit(reset(self->fd, 0) ? 1 : 0);
			EXPECT_EQ(0, exit_status(child));
		} else {
			EXPECT_EQ(0, reset(self->fd, 0));
		}
		EXPECT_EQ(0, counts(self, variant));
		EXPECT_EQ(0, fdinfo(self->fd, DROPPED));
		if (unique)
			EXPECT_TRUE(set_is_empty(self));
		/* Recording goes on. */
		ASSERT_EQ(0, leave_records(self, variant));
		EXPECT_LT(0, counts(self, variant));
		/* Only the owner can disable. */
		EXPECT_EQ(-EINVAL, kcov_disable(self->fd));
		ASSERT_EQ(0, worker_ioctl(&self->worker, self->fd, KCOV_DISABLE, 0));
		EXPECT_EQ(-EINVAL, reset(self->fd, 0));
	}
}

static long run_mark(void *unused)
{
	mark_one();
	return 0;
}

static long run_until_stopped(void *data)
{
	struct enabling *enabling = data;
	long ret = enable_for(data);

	while (!ret && !enabling->stop) {
		if (enabling->variant->cmd == KCOV_REMOTE_ENABLE)
			ret = background_run();
		else
			mark_one();
	}
	return ret;
}

/*
 * The worker, or sections for it, run in the kernel during most of the calls. Whatever the moment,
 * the buffer stays valid. A reset while the worker waits is complete: no PC counts as seen then.
 */
TEST_F_TIMEOUT(reset, of_a_running_task, 300)
{
	enum { RESETS = 1000 };
	struct enabling enabling = { self, variant };
	const bool remote = variant->cmd == KCOV_REMOTE_ENABLE;
	const uint64_t capacity = WORDS - 1;
	uint64_t before, after, smaller = 0, failed = 0;
	int i;

	if (remote && background_missing())
		SKIP(return, "%s", background_missing());
	self->worker.function = run_until_stopped;
	self->worker.argument = &enabling;
	sem_post(&self->worker.request);
	for (i = 0; i < RESETS; i++) {
		before = counts(self, variant);
		/* Until the worker has enabled. */
		failed += reset(self->fd, 0) != 0;
		after = counts(self, variant);
		EXPECT_GE(capacity, before);
		EXPECT_GE(capacity, after);
		smaller += after < before;
		if (i % 64 == 0)
			usleep(500);
	}
	enabling.stop = true;
	sem_wait(&self->worker.done);
	EXPECT_EQ(0, self->worker.result);
	ASSERT_TRUE(settled(self, variant));
	EXPECT_GT(RESETS, failed);
	EXPECT_LT(0, smaller);
	EXPECT_EQ(0, reset(self->fd, 0));
	EXPECT_EQ(0, counts(self, variant));
	if (!variant->first)
		EXPECT_TRUE(set_is_empty(self));
	/* Code that the worker has run many times is recorded again. */
	ASSERT_EQ(0, worker_run(&self->worker, remote ? run_background : run_mark, NULL));
	ASSERT_TRUE(settled(self, variant));
	EXPECT_LT(0, counts(self, variant));
	if (!remote && (variant->cmd != KCOV_ENABLE || variant->trace_mode != KCOV_TRACE_CMP))
		EXPECT_TRUE(covers_syscall(&self->area[variant->first ? 0 : FRONT], MARK_ONE));
	EXPECT_EQ(0, worker_ioctl(&self->worker, self->fd, KCOV_DISABLE, 0));
}

/* Runs more code than fits, in this task or in sections for it. */
static long overflow(const FIXTURE_VARIANT(reset) *variant)
{
	int i;

	if (variant->cmd == KCOV_REMOTE_ENABLE)
		return background_run();
	for (i = 0; i < 3000; i++)
		mark_one();
	return 0;
}

static long dropped_in_total(void *unused)
{
	return statistic("dropped_records");
}

/*
 * Another thread reads the mode and the number, because reading is a call that would be recorded.
 */
TEST_F(reset, dropped_records)
{
	const unsigned long front = variant->first ? FRONT : SMALL_SET;
	char path[64], line[128], expected[64];
	bool named = false;
	FILE *file;
	long total;

	if (variant->cmd == KCOV_REMOTE_ENABLE && background_missing())
		SKIP(return, "%s", background_missing());
	EXPECT_EQ(0, fdinfo(self->fd, DROPPED));
	ASSERT_EQ(0, enable(self, variant, front));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->fd);
	snprintf(expected, sizeof(expected), "kcov-mode:\t%s\n", variant->mode);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		named |= !strcmp(line, expected);
	fclose(file);
	EXPECT_TRUE(named);
	EXPECT_EQ(0, reset(self->fd, 0));
	EXPECT_EQ(0, fdinfo_by(&self->worker, self->fd, DROPPED));
	ASSERT_EQ(0, overflow(variant));
	EXPECT_LT(0, fdinfo_by(&self->worker, self->fd, DROPPED));
	total = worker_run(&self->worker, dropped_in_total, NULL);
	EXPECT_EQ(0, reset(self->fd, 0));
	/* And when it is reset. */
	EXPECT_LT(total, worker_run(&self->worker, dropped_in_total, NULL));
	EXPECT_EQ(0, fdinfo_by(&self->worker, self->fd, DROPPED));
	ASSERT_EQ(0, overflow(variant));
	ASSERT_EQ(0, kcov_disable(self->fd));
	/* The last number stays until there is something new to count. */
	EXPECT_LT(0, fdinfo(self->fd, DROPPED));
	memset(self->area, 0, WORDS * sizeof(*self->area));
	ASSERT_EQ(0, enable(self, variant, front));
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, fdinfo(self->fd, DROPPED));
	/* The number for the whole system grows when a recording ends. */
	total = statistic("dropped_records");
	ASSERT_EQ(0, enable(self, variant, front));
	ASSERT_EQ(0, overflow(variant));
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_LT(0, fdinfo(self->fd, DROPPED));
	EXPECT_EQ(total + fdinfo(self->fd, DROPPED), statistic("dropped_records"));
}

/* Records one call into the buffer of @area, of which @start records are taken. */
static long collect_one(int fd, uint64_t *area, int mode, uint64_t start)
{
	long ret;

	area[0] = start;
	ret = kcov_enable(fd, mode);
	if (ret)
		return ret;
	mark_one();
	return kcov_disable(fd);
}

/*
 * Recorded and dropped records together are those of a larger buffer. An interrupt adds records of
 * its own, so the test makes a few short attempts.
 */
TEST(every_dropped_record_is_counted)
{
	enum { SMALL = 512, LARGE = 65536, ROOM = 3, CALLS = 400 };
	const char *missing = reset_missing();
	uint64_t *small, *large;
	int mode, attempt, i, few, many;

	if (missing)
		SKIP(return, "%s", missing);
	few = kcov_open_mapped(SMALL, &small);
	many = kcov_open_mapped(LARGE, &large);
	ASSERT_LE(0, few);
	ASSERT_LE(0, many);
	for (mode = KCOV_TRACE_PC; mode <= KCOV_TRACE_CMP; mode++) {
		const uint64_t capacity =
			(SMALL - 1) / (mode == KCOV_TRACE_PC ? 1 : WORDS_PER_CMP);
		bool equal = false;

		for (attempt = 0; attempt < 30 && !equal; attempt++) {
			long ret = collect_one(few, small, mode, capacity - ROOM);

			if (ret == -ENOTSUPP)
				break;
			ASSERT_EQ(0, ret);
			ASSERT_EQ(0, collect_one(many, large, mode, capacity - ROOM));
			EXPECT_EQ(capacity, small[0]);
			EXPECT_EQ(0, fdinfo(many, DROPPED));
			ASSERT_LT(capacity, large[0]);
			equal = small[0] + fdinfo(few, DROPPED) == large[0];
		}
		if (!attempt)
			continue;
		EXPECT_TRUE(equal)
			TH_LOG("mode %d", mode);
		/* Several dropped records are counted like one: each call has at least a record. */
		small[0] = capacity;
		ASSERT_EQ(0, kcov_enable(few, mode));
		for (i = 0; i < CALLS; i++)
			mark_one();
		ASSERT_EQ(0, kcov_disable(few));
		EXPECT_EQ(capacity, small[0]);
		EXPECT_LT(CALLS, fdinfo(few, DROPPED));
	}
	close(few);
	close(many);
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
