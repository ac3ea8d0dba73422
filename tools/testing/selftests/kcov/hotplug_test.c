// SPDX-License-Identifier: GPL-2.0
/*
 * CPUs go offline and come back while buffers come and go, hooks are switched, and sections run:
 * all code is recorded nevertheless.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "background.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define ONLINE		"/sys/devices/system/cpu/cpu1/online"
#define WORDS		(64UL << 10)
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e610001)
/* The number of times that the CPU goes and comes back. */
#define ROUNDS		20

/* A thread of its own takes the CPU offline and online. */
struct hotplug {
	pthread_t thread;
	volatile bool finished;
	volatile int failures;
	volatile int rounds;
};

static bool set_online(bool online)
{
	int fd = open(ONLINE, O_WRONLY | O_CLOEXEC);
	bool written;

	if (fd < 0)
		return false;
	written = write(fd, online ? "1" : "0", 1) == 1;
	close(fd);
	return written;
}

static void *hotplug_main(void *data)
{
	struct hotplug *hotplug = data;

	for (; hotplug->rounds < ROUNDS; hotplug->rounds++) {
		hotplug->failures += !set_online(false);
		usleep(50000);
		hotplug->failures += !set_online(true);
		usleep(50000);
	}
	hotplug->finished = true;
	return NULL;
}

FIXTURE(hotplug) {
	struct hotplug hotplug;
	int log;
};

FIXTURE_SETUP(hotplug)
{
	const char *missing = code_missing() ?: symbols_missing();

	if (access(ONLINE, W_OK))
		SKIP(return, "there is no second CPU that can go offline");
	if (missing)
		SKIP(return, "%s", missing);
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	ASSERT_EQ(0, pthread_create(&self->hotplug.thread, NULL, hotplug_main, &self->hotplug));
}

FIXTURE_TEARDOWN(hotplug)
{
	char line[256];

	pthread_join(self->hotplug.thread, NULL);
	EXPECT_EQ(ROUNDS, self->hotplug.rounds);
	EXPECT_EQ(0, self->hotplug.failures);
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line))) TH_LOG("%s", line);
}

/* Returns whether the CPU is still taken offline and online. The test makes at least one round. */
static bool goes_on(FIXTURE_DATA(hotplug) *self, int rounds)
{
	return !rounds || !self->hotplug.finished;
}

TEST_F_TIMEOUT(hotplug, own_code, 120)
{
	uint64_t *area;
	int fd, rounds;

	for (rounds = 0; goes_on(self, rounds); rounds++) {
		fd = kcov_open_mapped(WORDS, &area);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, kcov_enable(fd, KCOV_TRACE_PC));
		cover_reset(area);
		mark_one();
		ASSERT_EQ(0, kcov_disable(fd));
		EXPECT_TRUE(covers_syscall(area, MARK_ONE)) TH_LOG("round %d", rounds);
		kcov_unmap(area, WORDS);
		close(fd);
		/*
		 * From time to time the hooks are switched off, if the kernel switches them at all.
		 */
		if (rounds % 20 == 19)
			usleep(1500000);
	}
}

TEST_F_TIMEOUT(hotplug, sections, 120)
{
	uint64_t *area, lost = 0;
	int fd, rounds;

	if (background_missing())
		SKIP(return, "%s", background_missing());
	if (!statistics_missing())
		lost = statistic("lost_sections");
	for (rounds = 0; goes_on(self, rounds); rounds++) {
		fd = kcov_open_mapped(WORDS, &area);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, kcov_remote_enable(fd, KCOV_TRACE_PC, WORDS, HANDLE, 0));
		ASSERT_EQ(0, background_run());
		EXPECT_TRUE(covers(area, BACKGROUND_LATER_FUNCTION)) TH_LOG("round %d", rounds);
		ASSERT_EQ(0, kcov_disable(fd));
		kcov_unmap(area, WORDS);
		close(fd);
	}
	if (!statistics_missing())
		EXPECT_EQ(lost, statistic("lost_sections"));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
