// SPDX-License-Identifier: GPL-2.0
/* All ways in which a thread can end: each leaves its descriptor usable. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

FIXTURE(thread) {
	uint64_t *area;
	int fd;
};

FIXTURE_SETUP(thread)
{
	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(thread)
{
	close(self->fd);
}

TEST_F(thread, exit_disables)
{
	struct worker worker;
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, worker_start(&worker));
		ASSERT_EQ(0, worker_ioctl(&worker, self->fd, KCOV_ENABLE, KCOV_TRACE_PC));
		worker_end(&worker);
		ASSERT_EQ(NULL, kcov_unusable(self->fd, self->area));
	}
}

enum way_out { EXIT, EXIT_GROUP, EXIT_GROUP_ELSEWHERE, KILLED, FAULT, ABORT };

FIXTURE(exit) {
	uint64_t *area;
	int fd;
};

FIXTURE_VARIANT(exit) {
	enum way_out way;
	int signal;
};

FIXTURE_VARIANT_ADD(exit, by_exit) { .way = EXIT };
FIXTURE_VARIANT_ADD(exit, by_exit_group) { .way = EXIT_GROUP };
FIXTURE_VARIANT_ADD(exit, by_exit_group_of_another_thread) { .way = EXIT_GROUP_ELSEWHERE };
FIXTURE_VARIANT_ADD(exit, by_sigkill) { .way = KILLED, .signal = SIGKILL };
FIXTURE_VARIANT_ADD(exit, by_segmentation_fault) { .way = FAULT, .signal = SIGSEGV };
FIXTURE_VARIANT_ADD(exit, by_abort) { .way = ABORT, .signal = SIGABRT };

FIXTURE_SETUP(exit)
{
	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(exit)
{
	close(self->fd);
}

static long exit_group(void *unused)
{
	syscall(SYS_exit_group, 0);
	return 0;
}

static void leave(int fd, enum way_out way)
{
	struct worker worker;
	time_t since = 0;

	be_mortal(LIFETIME);
	if (way == EXIT_GROUP_ELSEWHERE && worker_start(&worker))
		_exit(1);
	if (kcov_enable(fd, KCOV_TRACE_PC))
		_exit(2);
	mark_one();
	switch (way) {
	case EXIT:
		syscall(SYS_exit, 0);
		break;
	case EXIT_GROUP:
		exit_group(NULL);
		break;
	case EXIT_GROUP_ELSEWHERE:
		worker.function = exit_group;
		sem_post(&worker.request);
		/* Exits with status 3 if the other thread does not end it. */
		while (may_wait(&since))
			mark_one();
		break;
	case KILLED:
		kill(getpid(), SIGKILL);
		break;
	case FAULT:
		*(volatile char *)NULL = 0;
		break;
	case ABORT:
		signal(SIGABRT, SIG_DFL);
		kill(getpid(), SIGABRT);
		break;
	}
	_exit(3);
}

/* Returns whether a child has ended in the expected way. */
static bool has_left(pid_t child, int signal)
{
	int status = exit_status(child);

	return signal ? WIFSIGNALED(status) && WTERMSIG(status) == signal : status == 0;
}

TEST_F(exit, disables)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child)
		leave(self->fd, variant->way);
	EXPECT_TRUE(has_left(child, variant->signal));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
}

/* The number of children with a descriptor of their own, and the MiB that they share. */
#define CHILDREN	20
#define THEIR_MIB	(CHILDREN * COVER_WORDS * sizeof(uint64_t) >> 20)

/*
 * Returns whether the number of descriptors is as before, if the kernel counts them, and no more
 * memory is in use. A grace period may delay the freeing after an exit.
 */
static bool all_is_freed(uint64_t descriptors, unsigned long mebibytes)
{
	time_t since = 0;

	while (statistic("descriptors") > descriptors ||
	       memory_vmalloc() >= mebibytes + THEIR_MIB / 2) {
		if (!may_wait(&since))
			return false;
		usleep(10000);
	}
	return true;
}

/* The descriptor, its only mapping and the thread end in one exit. */
TEST_F(exit, releases_a_descriptor_of_its_own)
{
	uint64_t descriptors = statistic("descriptors");
	unsigned long mebibytes = memory_vmalloc();
	int i;

	ASSERT_LT(0, mebibytes);
	for (i = 0; i < CHILDREN; i++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			uint64_t *area;

			leave(kcov_open_mapped(COVER_WORDS, &area), variant->way);
		}
		ASSERT_TRUE(has_left(child, variant->signal));
	}
	EXPECT_TRUE(all_is_freed(descriptors, mebibytes))
		TH_LOG("descriptors: %lu before, %lu now; MiB: %lu before, %lu now",
		       descriptors, statistic("descriptors"), mebibytes, memory_vmalloc());
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
}

/* The thread is killed at any point of enabling, collecting and disabling. */
TEST_F_TIMEOUT(thread, killed_at_any_time, 300)
{
	char line[256];
	time_t since;
	int i, log = kmsg_open(), modes = comparisons_missing() ? 1 : 2;

	ASSERT_LE(0, log);
	for (i = 0; i < 300; i++) {
		volatile uint64_t *area = self->area;
		pid_t child;

		cover_reset(area);
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			be_mortal(LIFETIME);
			for (;;) {
				kcov_enable(self->fd, i % modes);
				mark_one();
				kcov_disable(self->fd);
			}
		}
		since = 0;
		while (!cover_count(area)) {
			ASSERT_TRUE(may_wait(&since)) TH_LOG("turn %d: nothing is collected", i);
			sched_yield();
		}
		kill(child, SIGKILL);
		ASSERT_EQ(SIGKILL, exit_status(child));
	}
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
	EXPECT_FALSE(kmsg_reports_bug(log, line, sizeof(line)))
		TH_LOG("%s", line);
}

TEST_F(thread, exits_with_local_and_remote_descriptor)
{
	const uint64_t handle = KCOV_SUBSYSTEM_USB | 0x7e570010;
	int remote = kcov_open();
	pid_t child;

	ASSERT_EQ(0, kcov_init(remote, COVER_WORDS));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		if (kcov_enable(self->fd, KCOV_TRACE_PC) ||
		    kcov_remote_enable(remote, KCOV_TRACE_PC, 1024, 0, handle))
			_exit(1);
		_exit(0);
	}
	ASSERT_EQ(0, exit_status(child));
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
	EXPECT_EQ(0, kcov_remote_enable(remote, KCOV_TRACE_PC, 1024, 0, handle));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
