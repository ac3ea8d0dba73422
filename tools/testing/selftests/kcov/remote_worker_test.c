// SPDX-License-Identifier: GPL-2.0
/*
 * Sections in the worker threads that the kernel makes for a process, selected by the common
 * handle, which children inherit.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "background.h"
#include "kcov.h"
#include "symbols.h"

#define AREA_WORDS	16384
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e590001)

FIXTURE(worker) {
	uint64_t *area;
	int fd;
	int log;
};

FIXTURE_SETUP(worker)
{
	const char *missing = traces_missing() ?: background_missing();

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_TRUE(symbol_exists(BACKGROUND_FUNCTION));
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(worker)
{
	close(self->fd);
}

static long enable(FIXTURE_DATA(worker) *self, uint32_t mode, uint32_t area_size)
{
	return kcov_remote_enable(self->fd, mode, area_size, HANDLE, 0);
}

/* Returns whether work in the background is recorded now. */
static bool seen(FIXTURE_DATA(worker) *self)
{
	cover_reset(self->area);
	if (background_run())
		return false;
	return covers(self->area, BACKGROUND_FUNCTION);
}

TEST_F(worker, is_collected)
{
	uint64_t i, count;

	ASSERT_EQ(0, background_run());
	EXPECT_EQ(0, cover_count(self->area));
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
	ASSERT_TRUE(seen(self));
	count = cover_count(self->area);
	for (i = 1; i <= count; i++)
		ASSERT_TRUE(in_kernel_text(self->area[i] - 1));
	/* The process's own calls are not recorded. */
	EXPECT_FALSE(covers_syscall(self->area, "ioctl"));
	EXPECT_FALSE(covers_syscall(self->area, "close"));
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_FALSE(seen(self));
	EXPECT_EQ(0, cover_count(self->area));
}

/* The records are as in a local trace: the address after the call. */
TEST_F(worker, records_are_return_addresses)
{
	uint64_t i, count;
	const char *missing = text_missing() ?: call_decoder_missing();

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
	ASSERT_TRUE(seen(self));
	count = cover_count(self->area);
	for (i = 1; i <= count; i++)
		ASSERT_TRUE(hook_called_before(self->area[i], "__sanitizer_cov_trace_pc"));
}

TEST_F(worker, comparisons_are_collected)
{
	uint64_t i, count;
	bool found = false;
	long ret = enable(self, KCOV_TRACE_CMP, AREA_WORDS);

	if (ret == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, background_run());
	count = cover_count(self->area);
	ASSERT_LT(0, count);
	ASSERT_GT(COVER_WORDS / WORDS_PER_CMP, count);
	for (i = 0; i < count; i++) {
		uint64_t *record = &self->area[1 + WORDS_PER_CMP * i];

		ASSERT_GE(7, record[0]);
		ASSERT_TRUE(in_kernel_text(record[3] - 1));
		found |= record[1] == BACKGROUND_OPERAND || record[2] == BACKGROUND_OPERAND;
	}
	EXPECT_TRUE(found);
}

TEST_F(worker, handle_is_inherited)
{
	pid_t child;

	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		pid_t grandchild;
		int status;

		if (!seen(self))
			_exit(1);
		grandchild = fork();
		if (!grandchild)
			_exit(seen(self) ? 0 : 2);
		status = exit_status(grandchild);
		/* The child is not the owner. */
		if (kcov_disable(self->fd) != -EINVAL)
			_exit(3);
		_exit(WEXITSTATUS(status));
	}
	EXPECT_EQ(0, exit_status(child));
	EXPECT_TRUE(seen(self));
	EXPECT_EQ(0, kcov_disable(self->fd));
}

/* Children that existed before inherit nothing. */
TEST_F(worker, handle_is_not_inherited_before)
{
	int pipes[2];
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(pipes[1]);
		if (read(pipes[0], &byte, 1) != 1)
			_exit(1);
		_exit(background_run() ? 2 : 0);
	}
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
	ASSERT_EQ(1, write(pipes[1], "x", 1));
	EXPECT_EQ(0, exit_status(child));
	EXPECT_EQ(0, cover_count(self->area));
	EXPECT_TRUE(seen(self));
}

/*
 * The parent disables, and the child's handle leads to no descriptor. When the parent enables again
 * with the same handle, the child still has it.
 */
TEST_F(worker, inherited_handle_follows_the_parent)
{
	int to[2], from[2], i;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(to));
	ASSERT_EQ(0, pipe(from));
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(to[1]);
		close(from[0]);
		while (read(to[0], &byte, 1) == 1) {
			byte = seen(self) ? 'y' : 'n';
			if (write(from[1], &byte, 1) != 1)
				_exit(1);
		}
		_exit(0);
	}
	for (i = 0; i < 6; i++) {
		if (i & 1) {
			ASSERT_EQ(0, kcov_disable(self->fd));
		} else if (i) {
			ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
		}
		ASSERT_EQ(1, write(to[1], "x", 1));
		ASSERT_EQ(1, read(from[0], &byte, 1));
		EXPECT_EQ(i & 1 ? 'n' : 'y', byte);
	}
	close(to[1]);
	EXPECT_EQ(0, exit_status(child));
}

enum failure { MALFORMED, TAKEN, TAKEN_COMMON };

FIXTURE(failure) {
	uint64_t *area;
	int fd;
};

FIXTURE_VARIANT(failure) {
	enum failure failure;
	long result;
};

FIXTURE_VARIANT_ADD(failure, malformed) { .failure = MALFORMED, .result = -EINVAL };
FIXTURE_VARIANT_ADD(failure, taken) { .failure = TAKEN, .result = -EEXIST };
FIXTURE_VARIANT_ADD(failure, taken_common) { .failure = TAKEN_COMMON, .result = -EEXIST };

FIXTURE_SETUP(failure)
{
	const char *missing = traces_missing() ?: background_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(failure)
{
	close(self->fd);
}

/* A call that fails changes nothing, not even the inherited handle. */
TEST_F(failure, keeps_the_inherited_handle)
{
	const uint64_t usb = KCOV_SUBSYSTEM_USB | 0x7e590001;
	pid_t child;

	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, AREA_WORDS, HANDLE, usb));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		long ret = 0;
		int fd = kcov_open();

		if (kcov_init(fd, COVER_WORDS))
			_exit(1);
		if (background_run() || !covers(self->area, BACKGROUND_FUNCTION))
			_exit(2);
		switch (variant->failure) {
		case MALFORMED:
			ret = kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, 0, 1);
			break;
		case TAKEN:
			ret = kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, 0, usb);
			break;
		case TAKEN_COMMON:
			ret = kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, HANDLE, 0);
			break;
		}
		if (ret != variant->result)
			_exit(3);
		cover_reset(self->area);
		if (background_run())
			_exit(4);
		_exit(covers(self->area, BACKGROUND_FUNCTION) ? 0 : 5);
	}
	EXPECT_EQ(0, WEXITSTATUS(exit_status(child)));
}

/* When the owner exits, by itself or killed, collection stops. */
TEST_F(worker, owner_exits)
{
	int kill_it, worker;

	for (kill_it = 0; kill_it < 2; kill_it++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			if (enable(self, KCOV_TRACE_PC, AREA_WORDS) || !seen(self))
				_exit(1);
			if (kill_it)
				raise(SIGKILL);
			_exit(0);
		}
		EXPECT_EQ(kill_it ? SIGKILL : 0, exit_status(child));
		EXPECT_LT(0, cover_count(self->area));
		cover_reset(self->area);
		worker = background_start();
		ASSERT_LE(0, worker);
		ASSERT_EQ(0, background_kick(worker));
		background_stop(worker);
		EXPECT_EQ(0, cover_count(self->area));
		ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
		EXPECT_TRUE(seen(self));
		ASSERT_EQ(0, kcov_disable(self->fd));
	}
}

/*
 * A worker keeps the handle from the time when it was made, even after the descriptor was closed.
 */
TEST_F(worker, close_while_enabled)
{
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(seen(self));
}

/* Each thread collects the work of its own workers into its own descriptor. */
TEST_F(worker, local_and_remote_are_apart)
{
	uint64_t *local;
	int fd = kcov_open_mapped(COVER_WORDS, &local);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
	ASSERT_EQ(0, kcov_enable(fd, KCOV_TRACE_PC));
	cover_reset(local);
	ASSERT_EQ(0, background_run());
	mark_one();
	ASSERT_EQ(0, kcov_disable(fd));
	EXPECT_TRUE(covers(self->area, BACKGROUND_FUNCTION));
	EXPECT_FALSE(covers_syscall(self->area, MARK_ONE));
	EXPECT_FALSE(covers_syscall(self->area, "ioctl"));
	EXPECT_TRUE(covers_syscall(local, MARK_ONE));
	EXPECT_TRUE(covers_syscall(local, "ioctl"));
	EXPECT_FALSE(covers(local, BACKGROUND_FUNCTION));
	EXPECT_TRUE(seen(self));
	close(fd);
}

/* Many processes, each with a handle of its own. */
TEST_F_TIMEOUT(worker, handles_are_apart, 300)
{
	enum { CHILDREN = 16 };
	pid_t children[CHILDREN];
	int i;

	for (i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		ASSERT_LE(0, children[i]);
		if (!children[i]) {
			uint64_t *area;
			int round, fd = kcov_open_mapped(COVER_WORDS, &area);

			if (kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, HANDLE + i, 0))
				_exit(1);
			for (round = 0; round < 5; round++) {
				cover_reset(area);
				if (background_run() || !covers(area, BACKGROUND_FUNCTION))
					_exit(2);
			}
			_exit(0);
		}
	}
	for (i = 0; i < CHILDREN; i++)
		EXPECT_EQ(0, exit_status(children[i]));
}

/* The process is killed at any moment of enabling, work and disabling. */
TEST_F_TIMEOUT(worker, killed_at_any_time, 300)
{
	char line[256];
	time_t since;
	int i, modes = comparisons_missing() ? 1 : 2;

	for (i = 0; i < 60; i++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			be_mortal(LIFETIME);
			for (;;) {
				if (enable(self, i % modes, AREA_WORDS << (i % 3)))
					_exit(1);
				background_run();
				kcov_disable(self->fd);
			}
		}
		cover_reset(self->area);
		since = 0;
		while (!cover_count(self->area) && !usleep(100)) {
			ASSERT_EQ(0, waitpid(child, NULL, WNOHANG));
			ASSERT_TRUE(may_wait(&since)) TH_LOG("turn %d: nothing is collected", i);
		}
		usleep(rand() % 2000);
		kill(child, SIGKILL);
		ASSERT_EQ(SIGKILL, exit_status(child));
	}
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
	EXPECT_TRUE(seen(self));
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
