// SPDX-License-Identifier: GPL-2.0
/*
 * The thread whose coverage is collected, and the time for which it is: threads, fork, exec, every
 * way to exit, and descriptors that change hands.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"
#include "symbols.h"

/* The mode of this program when one of its own tests executes it. */
#define AFTER_EXEC	"--after-exec"

/* Executing a program takes many page faults, and each is recorded. */
#define WORDS		(8 * COVER_WORDS)

FIXTURE(task) {
	uint64_t *area;
	int fd;
};

FIXTURE_SETUP(task)
{
	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(task)
{
	close(self->fd);
}

static long run_mark_one(void *unused)
{
	mark_one();
	return 0;
}

static long run_mark_two(void *unused)
{
	mark_two();
	return 0;
}

TEST_F(task, collects_until_disabled)
{
	mark_one();
	EXPECT_EQ(0, cover_count(self->area));
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	cover_reset(self->area);
	mark_one();
	EXPECT_EQ(0, cover_count(self->area));
}

TEST_F(task, second_descriptor_is_busy)
{
	uint64_t *area;
	int i, fd = kcov_open_mapped(COVER_WORDS, &area);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	for (i = 0; i < 100; i++)
		ASSERT_EQ(-EBUSY, kcov_enable(fd, KCOV_TRACE_PC));
	ASSERT_EQ(-EINVAL, kcov_disable(fd));
	mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_EQ(0, cover_count(area));
	EXPECT_EQ(NULL, kcov_unusable(fd, area));
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
}

TEST_F(task, other_threads_are_not_collected)
{
	struct worker worker;

	ASSERT_EQ(0, worker_start(&worker));
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	worker_run(&worker, run_mark_one, NULL);
	mark_two();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
	EXPECT_FALSE(covers_syscall(self->area, MARK_ONE));
	/* The same call is recorded when the right thread makes it. */
	cover_reset(self->area);
	ASSERT_EQ(0, worker_ioctl(&worker, self->fd, KCOV_ENABLE, KCOV_TRACE_PC));
	worker_run(&worker, run_mark_one, NULL);
	ASSERT_EQ(0, worker_ioctl(&worker, self->fd, KCOV_DISABLE, 0));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	worker_end(&worker);
}

TEST_F(task, new_threads_are_not_collected)
{
	struct worker worker;

	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	ASSERT_EQ(0, worker_start(&worker));
	worker_run(&worker, run_mark_one, NULL);
	worker_end(&worker);
	EXPECT_FALSE(covers_syscall(self->area, MARK_ONE));
	mark_two();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
}

static pid_t child_by(unsigned long flags)
{
	return flags ? syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0) : fork();
}

FIXTURE(child) {
	uint64_t *area;
	int fd;
};

FIXTURE_VARIANT(child) {
	unsigned long flags;
};

FIXTURE_VARIANT_ADD(child, fork) { .flags = 0 };
FIXTURE_VARIANT_ADD(child, vfork) { .flags = CLONE_VFORK };
FIXTURE_VARIANT_ADD(child, shared_files) { .flags = CLONE_FILES };

FIXTURE_SETUP(child)
{
	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(child)
{
	close(self->fd);
}

TEST_F(child, does_not_inherit_coverage)
{
	pid_t child;

	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	child = child_by(variant->flags);
	ASSERT_LE(0, child);
	if (!child) {
		mark_one();
		/* The child must not disable. */
		_exit(kcov_disable(self->fd) == -EINVAL ? 0 : 1);
	}
	EXPECT_EQ(0, exit_status(child));
	EXPECT_FALSE(covers_syscall(self->area, MARK_ONE));
	/* The parent is recorded the whole time. */
	mark_two();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
	EXPECT_TRUE(covers(self->area, "copy_process"));
}

TEST_F(child, can_enable)
{
	pid_t child = child_by(variant->flags);

	ASSERT_LE(0, child);
	if (!child) {
		if (kcov_enable(self->fd, KCOV_TRACE_PC))
			_exit(1);
		mark_one();
		if (kcov_disable(self->fd))
			_exit(2);
		if (kcov_enable(self->fd, KCOV_TRACE_PC))
			_exit(3);
		_exit(0);
	}
	EXPECT_EQ(0, exit_status(child));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	/* The exit of the thread has disabled the descriptor. */
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
}

TEST_F(child, is_refused_what_the_parent_has)
{
	pid_t child;

	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	child = child_by(variant->flags);
	ASSERT_LE(0, child);
	if (!child)
		_exit(kcov_enable(self->fd, KCOV_TRACE_PC) == -EINVAL ? 0 : 1);
	EXPECT_EQ(0, exit_status(child));
	EXPECT_EQ(0, kcov_disable(self->fd));
}

TEST_F(task, enable_and_disable_from_different_threads)
{
	struct worker worker;

	ASSERT_EQ(0, worker_start(&worker));
	ASSERT_EQ(0, worker_ioctl(&worker, self->fd, KCOV_ENABLE, KCOV_TRACE_PC));
	EXPECT_EQ(-EINVAL, kcov_enable(self->fd, KCOV_TRACE_PC));
	EXPECT_EQ(-EINVAL, kcov_disable(self->fd));
	worker_run(&worker, run_mark_one, NULL);
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_EQ(0, worker_ioctl(&worker, self->fd, KCOV_DISABLE, 0));
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
	worker_end(&worker);
}

TEST_F(task, threads_collect_apart)
{
	uint64_t *area;
	struct worker worker;
	int i, fd = kcov_open_mapped(COVER_WORDS, &area);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, worker_start(&worker));
	ASSERT_EQ(0, worker_ioctl(&worker, fd, KCOV_ENABLE, KCOV_TRACE_PC));
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	for (i = 0; i < 5; i++) {
		worker_run(&worker, run_mark_one, NULL);
		mark_two();
	}
	ASSERT_EQ(0, kcov_disable(self->fd));
	ASSERT_EQ(0, worker_ioctl(&worker, fd, KCOV_DISABLE, 0));
	EXPECT_TRUE(covers_syscall(area, MARK_ONE));
	EXPECT_FALSE(covers_syscall(area, MARK_TWO));
	EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
	EXPECT_FALSE(covers_syscall(self->area, MARK_ONE));
	worker_end(&worker);
}

static void on_signal(int signal)
{
	mark_one();
}

/* A handler runs on the thread, and so belongs to it. */
TEST_F(task, signal_handlers_are_collected)
{
	signal(SIGUSR1, on_signal);
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	raise(SIGUSR1);
	mark_two();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
}

/*
 * A tool enables and then executes the program that it traces. The descriptor may be closed before
 * that.
 */
static int execute_self(void)
{
	char * const argv[] = { "task_test", AFTER_EXEC, NULL };
	char * const envp[] = { NULL };

	execve("/proc/self/exe", argv, envp);
	return 127;
}

static int after_exec(void)
{
	mark_one();
	return 0;
}

TEST_F(task, collection_survives_exec)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		if (kcov_enable(self->fd, KCOV_TRACE_PC))
			_exit(1);
		_exit(execute_self());
	}
	EXPECT_EQ(0, exit_status(child));
	EXPECT_GT(WORDS - 1, cover_count(self->area));
	EXPECT_TRUE(covers_syscall(self->area, "execve"));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
}

static int exec_fd;

static long enable_and_exec(void *unused)
{
	if (kcov_enable(exec_fd, KCOV_TRACE_PC))
		_exit(1);
	_exit(execute_self());
}

/* The thread that executes becomes the first of its process, but it stays the same task. */
TEST_F(task, collection_survives_exec_by_a_thread)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		struct worker worker;

		exec_fd = self->fd;
		worker_start(&worker);
		worker_run(&worker, enable_and_exec, NULL);
		_exit(2);
	}
	EXPECT_EQ(0, exit_status(child));
	EXPECT_GT(WORDS - 1, cover_count(self->area));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
}

/* The thread that does not execute is killed, and its coverage ends. */
TEST_F(task, exec_by_another_thread_disables)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		struct worker worker;

		worker_start(&worker);
		if (worker_ioctl(&worker, self->fd, KCOV_ENABLE, KCOV_TRACE_PC))
			_exit(1);
		worker_run(&worker, run_mark_two, NULL);
		_exit(execute_self());
	}
	EXPECT_EQ(0, exit_status(child));
	EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
	EXPECT_FALSE(covers_syscall(self->area, MARK_ONE));
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
}

static struct {
	int fd;
	uint64_t *area;
} closing;

static long enable_and_close(void *unused)
{
	if (kcov_enable(closing.fd, KCOV_TRACE_PC) || close(closing.fd))
		return -1;
	mark_one();
	return 0;
}

TEST_F(task, close_while_enabled_keeps_collecting)
{
	struct worker worker;
	uint64_t count, i;
	int other;

	closing.fd = self->fd;
	closing.area = self->area;
	self->fd = -1;
	ASSERT_EQ(0, worker_start(&worker));
	ASSERT_EQ(0, worker_run(&worker, enable_and_close, NULL));
	EXPECT_TRUE(covers_syscall(closing.area, MARK_ONE));
	EXPECT_FALSE(covers_syscall(closing.area, MARK_TWO));
	worker_run(&worker, run_mark_two, NULL);
	EXPECT_TRUE(covers_syscall(closing.area, MARK_TWO));
	/* No task can disable it, and nothing else can be enabled. */
	other = kcov_open();
	ASSERT_EQ(0, kcov_init(other, COVER_WORDS));
	EXPECT_EQ(-EBUSY, worker_ioctl(&worker, other, KCOV_ENABLE, KCOV_TRACE_PC));
	EXPECT_EQ(-EINVAL, worker_ioctl(&worker, other, KCOV_DISABLE, 0));
	worker_end(&worker);
	/* Only the mapping is left as a reference; the records stay. */
	count = cover_count(closing.area);
	ASSERT_LT(0, count);
	ASSERT_GT(WORDS, count);
	for (i = 1; i <= count; i++)
		ASSERT_TRUE(in_kernel_text(closing.area[i]));
	EXPECT_TRUE(covers_syscall(closing.area, MARK_TWO));
}

TEST_F(task, descriptor_passed_over_a_socket)
{
	int pair[2];
	pid_t child;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd;

		close(self->fd);
		fd = receive_fd(pair[1]);
		if (fd < 0 || kcov_enable(fd, KCOV_TRACE_PC))
			_exit(1);
		mark_one();
		/* The child is recorded until it exits, and the socket is the last holder. */
		if (send_fd(pair[1], fd) || close(fd))
			_exit(2);
		_exit(0);
	}
	ASSERT_EQ(0, send_fd(pair[0], self->fd));
	close(self->fd);
	EXPECT_EQ(0, exit_status(child));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	self->fd = receive_fd(pair[0]);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
}

TEST_F(task, duplicate_is_the_same_descriptor)
{
	int copy = dup(self->fd);

	ASSERT_LE(0, copy);
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	EXPECT_EQ(-EINVAL, kcov_enable(copy, KCOV_TRACE_PC));
	close(self->fd);
	self->fd = copy;
	mark_one();
	EXPECT_EQ(0, kcov_disable(copy));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
}

/* One thread may collect its own coverage and remote coverage at once. */
TEST_F(task, local_and_remote_descriptor)
{
	int remote = kcov_open(), spare = kcov_open(), order;

	ASSERT_EQ(0, kcov_init(remote, COVER_WORDS));
	ASSERT_EQ(0, kcov_init(spare, COVER_WORDS));
	for (order = 0; order < 4; order++) {
		const uint64_t handle = KCOV_SUBSYSTEM_USB | 0x7e570010;

		cover_reset(self->area);
		if (order & 1) {
			ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
		}
		ASSERT_EQ(0, kcov_remote_enable(remote, KCOV_TRACE_PC, 1024, 0, handle));
		if (!(order & 1)) {
			ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
		}
		EXPECT_EQ(-EINVAL,
			  kcov_remote_enable(self->fd, KCOV_TRACE_PC, 1024, 0, handle + 1));
		EXPECT_EQ(-EINVAL, kcov_enable(remote, KCOV_TRACE_PC));
		EXPECT_EQ(-EBUSY, kcov_enable(spare, KCOV_TRACE_PC));
		EXPECT_EQ(-EBUSY, kcov_remote_enable(spare, KCOV_TRACE_PC, 1024, 0, handle + 1));
		mark_one();
		EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
		if (order & 2) {
			ASSERT_EQ(0, kcov_disable(remote));
		}
		cover_reset(self->area);
		mark_two();
		EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
		ASSERT_EQ(0, kcov_disable(self->fd));
		if (!(order & 2)) {
			ASSERT_EQ(0, kcov_disable(remote));
		}
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], AFTER_EXEC))
		return after_exec();
	symbols_load();
	return test_harness_run(argc, argv);
}
