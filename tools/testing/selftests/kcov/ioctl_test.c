// SPDX-License-Identifier: GPL-2.0
/*
 * The state machine of a descriptor: the error of each call in each state, the order of the checks,
 * and that a call which fails changes nothing.
 */
#include <errno.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"

#define WORDS		8192UL
#define AREA_WORDS	1024
#define COMMON_HANDLE	(KCOV_SUBSYSTEM_COMMON | 0x7e570001)
#define USB_HANDLE	(KCOV_SUBSYSTEM_USB | 0x7e570001)

enum state {
	FRESH,			/* opened */
	INITIALISED,		/* has a buffer */
	ENABLED_HERE,		/* KCOV_ENABLE by the thread that calls */
	ENABLED_ELSEWHERE,	/* KCOV_ENABLE by another thread */
	REMOTE_HERE,		/* KCOV_REMOTE_ENABLE by the thread that calls */
	REMOTE_ELSEWHERE,	/* KCOV_REMOTE_ENABLE by another thread */
	RELEASED,		/* enabled by a thread that has exited */
	BUSY,			/* has a buffer; the thread collects into another */
	BUSY_REMOTE,		/* the same, with KCOV_REMOTE_ENABLE */
};

FIXTURE(state) {
	struct worker worker;
	int fd;
	int other;
	int log;
	uint64_t *area;		/* of the collecting descriptor */
};

/* The results of the calls: each cell of the table is one test. */
FIXTURE_VARIANT(state) {
	enum state state;
	unsigned int mode;
	int init, map, enable, enable_bad, disable, remote, remote_bad;
};

#define ROW(name, ...) FIXTURE_VARIANT_ADD(state, name) { __VA_ARGS__ }

ROW(fresh, .state = FRESH,
	.init = 0, .map = -EINVAL,
	.enable = -EINVAL, .enable_bad = -EINVAL, .disable = -EINVAL,
	.remote = -EINVAL, .remote_bad = -EINVAL);
ROW(initialised, .state = INITIALISED,
	.init = -EBUSY, .map = 0,
	.enable = 0, .enable_bad = -EINVAL, .disable = -EINVAL,
	.remote = 0, .remote_bad = -EINVAL);
ROW(enabled_pc_here, .state = ENABLED_HERE, .mode = KCOV_TRACE_PC,
	.init = -EBUSY, .map = 0,
	.enable = -EINVAL, .enable_bad = -EINVAL, .disable = 0,
	.remote = -EINVAL, .remote_bad = -EINVAL);
ROW(enabled_cmp_here, .state = ENABLED_HERE, .mode = KCOV_TRACE_CMP,
	.init = -EBUSY, .map = 0,
	.enable = -EINVAL, .enable_bad = -EINVAL, .disable = 0,
	.remote = -EINVAL, .remote_bad = -EINVAL);
ROW(enabled_elsewhere, .state = ENABLED_ELSEWHERE, .mode = KCOV_TRACE_PC,
	.init = -EBUSY, .map = 0,
	.enable = -EINVAL, .enable_bad = -EINVAL, .disable = -EINVAL,
	.remote = -EINVAL, .remote_bad = -EINVAL);
ROW(remote_here, .state = REMOTE_HERE, .mode = KCOV_TRACE_PC,
	.init = -EBUSY, .map = 0,
	.enable = -EINVAL, .enable_bad = -EINVAL, .disable = 0,
	.remote = -EINVAL, .remote_bad = -EINVAL);
ROW(remote_elsewhere, .state = REMOTE_ELSEWHERE, .mode = KCOV_TRACE_PC,
	.init = -EBUSY, .map = 0,
	.enable = -EINVAL, .enable_bad = -EINVAL, .disable = -EINVAL,
	.remote = -EINVAL, .remote_bad = -EINVAL);
ROW(released, .state = RELEASED, .mode = KCOV_TRACE_PC,
	.init = -EBUSY, .map = 0,
	.enable = 0, .enable_bad = -EINVAL, .disable = -EINVAL,
	.remote = 0, .remote_bad = -EINVAL);
/* The state of the thread is checked before the mode: a bad mode returns -EBUSY too. */
ROW(busy, .state = BUSY, .mode = KCOV_TRACE_PC,
	.init = -EBUSY, .map = 0,
	.enable = -EBUSY, .enable_bad = -EBUSY, .disable = -EINVAL,
	.remote = 0, .remote_bad = -EINVAL);
ROW(busy_remote, .state = BUSY_REMOTE, .mode = KCOV_TRACE_PC,
	.init = -EBUSY, .map = 0,
	.enable = 0, .enable_bad = -EINVAL, .disable = -EINVAL,
	.remote = -EBUSY, .remote_bad = -EBUSY);

static long remote_enable(void *fd)
{
	return kcov_remote_enable(*(int *)fd, KCOV_TRACE_PC, AREA_WORDS,
				  COMMON_HANDLE, USB_HANDLE);
}

static long mark(void *unused)
{
	mark_one();
	return 0;
}

FIXTURE_SETUP(state)
{
	enum state state = variant->state;
	struct worker *worker = &self->worker;

	if (variant->mode == KCOV_TRACE_CMP && comparisons_missing())
		SKIP(return, "%s", comparisons_missing());
	self->other = -1;
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	ASSERT_EQ(0, worker_start(worker));
	self->fd = kcov_open();
	ASSERT_LE(0, self->fd);
	if (state == FRESH)
		return;
	ASSERT_EQ(0, kcov_init(self->fd, WORDS));
	self->area = kcov_map(self->fd, WORDS);
	ASSERT_NE(NULL, self->area);
	if (state == BUSY || state == BUSY_REMOTE) {
		kcov_unmap(self->area, WORDS);
		self->other = kcov_open_mapped(WORDS, &self->area);
		ASSERT_LE(0, self->other);
	}
	switch (state) {
	case ENABLED_HERE:
		ASSERT_EQ(0, kcov_enable(self->fd, variant->mode));
		break;
	case ENABLED_ELSEWHERE:
		ASSERT_EQ(0, worker_ioctl(worker, self->fd, KCOV_ENABLE, variant->mode));
		break;
	case REMOTE_HERE:
		ASSERT_EQ(0, remote_enable(&self->fd));
		break;
	case REMOTE_ELSEWHERE:
		ASSERT_EQ(0, worker_run(worker, remote_enable, &self->fd));
		break;
	case RELEASED:
		ASSERT_EQ(0, worker_ioctl(worker, self->fd, KCOV_ENABLE, variant->mode));
		worker_end(worker);
		ASSERT_EQ(0, worker_start(worker));
		break;
	case BUSY:
		ASSERT_EQ(0, kcov_enable(self->other, variant->mode));
		break;
	case BUSY_REMOTE:
		ASSERT_EQ(0, remote_enable(&self->other));
		break;
	default:
		break;
	}
}

FIXTURE_TEARDOWN(state)
{
	char line[256];

	worker_end(&self->worker);
	if (self->other >= 0)
		close(self->other);
	close(self->fd);
	/* The kernel must not warn of a user's mistake. */
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	close(self->log);
}

/*
 * Checks the handles: a thread that is not @here finds the handles of the remote descriptor taken.
 */
static const char *handles_are(struct worker *worker, bool here, bool taken)
{
	int fd = kcov_open();
	long ret;

	if (fd < 0 || kcov_init(fd, WORDS))
		return "a descriptor to probe the handles with";
	ret = here ? worker_run(worker, remote_enable, &fd) : remote_enable(&fd);
	if (!ret)
		here ? worker_ioctl(worker, fd, KCOV_DISABLE, 0) : kcov_disable(fd);
	close(fd);
	if (taken)
		return ret == -EEXIST ? NULL : "the handles are no longer taken";
	return ret == 0 ? NULL : "the handles are still taken";
}

static const char *still_collects(FIXTURE_DATA(state) *self, bool here)
{
	cover_reset(self->area);
	if (here)
		mark_one();
	else
		worker_run(&self->worker, mark, NULL);
	return cover_count(self->area) ? NULL : "the thread no longer collects";
}

/* Returns NULL if the descriptor and the thread are in the given state. */
static const char *state_differs(FIXTURE_DATA(state) *self, enum state state)
{
	struct worker *worker = &self->worker;
	const char *problem;

	switch (state) {
	case FRESH:
		if (kcov_map(self->fd, WORDS))
			return "there is a buffer";
		return kcov_init(self->fd, WORDS) ? "KCOV_INIT_TRACE fails" : NULL;
	case INITIALISED:
	case RELEASED:
		if (kcov_enable(self->fd, KCOV_TRACE_PC))
			return "KCOV_ENABLE fails";
		problem = still_collects(self, true);
		return kcov_disable(self->fd) ? "KCOV_DISABLE fails" : problem;
	case ENABLED_HERE:
		problem = still_collects(self, true);
		return kcov_disable(self->fd) ? "KCOV_DISABLE fails" : problem;
	case ENABLED_ELSEWHERE:
		problem = still_collects(self, false);
		return worker_ioctl(worker, self->fd, KCOV_DISABLE, 0) ?
			"KCOV_DISABLE fails" : problem;
	case REMOTE_HERE:
		problem = handles_are(worker, true, true);
		if (problem)
			return problem;
		return kcov_disable(self->fd) ? "KCOV_DISABLE fails" :
			handles_are(worker, true, false);
	case REMOTE_ELSEWHERE:
		problem = handles_are(worker, false, true);
		if (problem)
			return problem;
		return worker_ioctl(worker, self->fd, KCOV_DISABLE, 0) ?
			"KCOV_DISABLE fails" : handles_are(worker, false, false);
	case BUSY:
		problem = still_collects(self, true);
		if (problem)
			return problem;
		if (kcov_disable(self->other))
			return "KCOV_DISABLE of the other descriptor fails";
		return kcov_enable(self->fd, KCOV_TRACE_PC) ?
			"KCOV_ENABLE fails afterwards" : NULL;
	case BUSY_REMOTE:
		problem = handles_are(worker, true, true);
		if (problem)
			return problem;
		if (kcov_disable(self->other))
			return "KCOV_DISABLE of the other descriptor fails";
		return remote_enable(&self->fd) ?
			"KCOV_REMOTE_ENABLE fails afterwards" : NULL;
	}
	return "no such state";
}

#define EXPECT_RESULT(expected, call) do {					\
	long _result = (call);							\
	EXPECT_EQ(expected, _result);						\
	if (_result < 0) {							\
		const char *_problem = state_differs(self, variant->state);	\
		EXPECT_EQ(NULL, _problem)					\
			TH_LOG("after a failed call: %s", _problem);		\
	}									\
} while (0)

TEST_F(state, init)
{
	EXPECT_RESULT(variant->init, kcov_init(self->fd, WORDS));
}

/* The size is checked before the state. */
TEST_F(state, init_with_bad_size)
{
	EXPECT_RESULT(-EINVAL, kcov_init(self->fd, 1));
}

TEST_F(state, map)
{
	uint64_t *area = kcov_map(self->fd, WORDS);

	EXPECT_RESULT(variant->map, area ? 0 : -errno);
}

TEST_F(state, enable_pc)
{
	EXPECT_RESULT(variant->enable, kcov_enable(self->fd, KCOV_TRACE_PC));
}

TEST_F(state, enable_cmp)
{
	long ret = kcov_enable(self->fd, KCOV_TRACE_CMP);

	if (ret == -ENOTSUPP) {
		/* This is expected only without CONFIG_KCOV_ENABLE_COMPARISONS. */
		EXPECT_EQ(0, variant->enable);
		EXPECT_EQ(NULL, state_differs(self, variant->state));
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	}
	EXPECT_RESULT(variant->enable, ret);
}

TEST_F(state, enable_with_bad_mode)
{
	static const unsigned long modes[] = { 2, 3, 4, 0x100000000UL, ~0UL };
	size_t i;

	for (i = 1; i < ARRAY_SIZE(modes); i++)
		EXPECT_EQ(variant->enable_bad, kcov_enable(self->fd, modes[i]));
	EXPECT_RESULT(variant->enable_bad, kcov_enable(self->fd, modes[0]));
}

TEST_F(state, disable)
{
	EXPECT_RESULT(variant->disable, kcov_disable(self->fd));
}

TEST_F(state, disable_with_argument)
{
	EXPECT_EQ(-EINVAL, kcov_ioctl(self->fd, KCOV_DISABLE, ~0UL));
	EXPECT_RESULT(-EINVAL, kcov_ioctl(self->fd, KCOV_DISABLE, 1));
}

TEST_F(state, remote_enable)
{
	/* The handles are not used elsewhere, so only the state can cause an error. */
	EXPECT_RESULT(variant->remote,
		      kcov_remote_enable(self->fd, KCOV_TRACE_PC, AREA_WORDS,
					 COMMON_HANDLE + 1, USB_HANDLE + 1));
}

TEST_F(state, remote_enable_with_bad_mode)
{
	EXPECT_RESULT(variant->remote_bad,
		      kcov_remote_enable(self->fd, 5, AREA_WORDS,
					 COMMON_HANDLE + 1, USB_HANDLE + 1));
}

TEST_F(state, remote_enable_with_bad_handle)
{
	EXPECT_RESULT(variant->remote_bad,
		      kcov_remote_enable(self->fd, KCOV_TRACE_PC, AREA_WORDS,
					 COMMON_HANDLE + 1, 0x7e570001));
}

/* The argument is read from memory before the state is checked. */
TEST_F(state, remote_enable_with_bad_pointer)
{
	EXPECT_EQ(-EFAULT, kcov_ioctl(self->fd, KCOV_REMOTE_ENABLE, ~0UL << 12));
	EXPECT_RESULT(-EFAULT, kcov_ioctl(self->fd, KCOV_REMOTE_ENABLE, 0));
}

TEST_F(state, remote_enable_with_too_many_handles)
{
	struct kcov_remote_arg arg = {
		.area_size = AREA_WORDS,
		.num_handles = KCOV_REMOTE_MAX_HANDLES + 1,
	};

	EXPECT_RESULT(-EINVAL,
		      kcov_ioctl(self->fd, KCOV_REMOTE_ENABLE, (unsigned long)&arg));
}

TEST_F(state, unknown_command)
{
	static const unsigned int commands[] = {
		0, ~0U, 0x6366,
		0x80046301,	/* KCOV_INIT_TRACE of a 32-bit kernel */
		0x40106366,	/* KCOV_REMOTE_ENABLE, another size */
		0x40206366, 0x80186366,
		0x6367, 0x40086301, 0xc0086301, 0x80086401,
	};
	size_t i;

	for (i = 1; i < ARRAY_SIZE(commands); i++)
		EXPECT_EQ(-ENOTTY, kcov_ioctl(self->fd, commands[i], 0));
	EXPECT_RESULT(-ENOTTY, kcov_ioctl(self->fd, commands[0], 0));
}

TEST(enable_and_disable_repeat)
{
	uint64_t *area;
	int i, fd = kcov_open_mapped(WORDS, &area), modes = comparisons_missing() ? 1 : 2;

	ASSERT_LE(0, fd);
	for (i = 0; i < 100; i++) {
		cover_reset(area);
		ASSERT_EQ(0, kcov_enable(fd, i % modes));
		mark_one();
		ASSERT_EQ(0, kcov_disable(fd));
		ASSERT_EQ(-EINVAL, kcov_disable(fd));
		ASSERT_LT(0, cover_count(area));
	}
}

/* KCOV_ENABLE needs only the buffer. */
TEST(enable_without_mapping)
{
	uint64_t *area;
	int fd = kcov_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kcov_init(fd, WORDS));
	ASSERT_EQ(0, kcov_enable(fd, KCOV_TRACE_PC));
	mark_one();
	ASSERT_EQ(0, kcov_disable(fd));
	area = kcov_map(fd, WORDS);
	ASSERT_NE(NULL, area);
	EXPECT_LT(0, cover_count(area));
}

/* The count belongs to the user: enabling does not change it. */
TEST(enable_keeps_what_was_collected)
{
	uint64_t before, *area;
	int fd = kcov_open_mapped(WORDS, &area);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kcov_enable(fd, KCOV_TRACE_PC));
	mark_one();
	ASSERT_EQ(0, kcov_disable(fd));
	before = cover_count(area);
	ASSERT_LT(0, before);
	ASSERT_EQ(0, kcov_enable(fd, KCOV_TRACE_PC));
	mark_one();
	ASSERT_EQ(0, kcov_disable(fd));
	EXPECT_LT(before, cover_count(area));
}

/*
 * A command that resets the count is an extension, which a kernel may have. If it has it, it works
 * as the extension specifies.
 */
TEST(reset_command_is_absent_or_works)
{
	const unsigned long reset = _IO('c', 104);
	uint64_t *area, before;
	int fd = kcov_open_mapped(WORDS, &area);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kcov_enable(fd, KCOV_TRACE_PC));
	ASSERT_TRUE(cover_fill(area, WORDS)) TH_LOG("the buffer does not become full");
	before = cover_count(area);
	if (kcov_ioctl(fd, reset, 0) == -ENOTTY) {
		EXPECT_EQ(before, cover_count(area));
		return;
	}
	EXPECT_LT(cover_count(area), before);
	EXPECT_EQ(-EINVAL, kcov_ioctl(fd, reset, 1));
	EXPECT_EQ(0, kcov_disable(fd));
	EXPECT_EQ(-EINVAL, kcov_ioctl(fd, reset, 0));
}

TEST_HARNESS_MAIN
