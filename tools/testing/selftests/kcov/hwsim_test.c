// SPDX-License-Identifier: GPL-2.0
/*
 * Taking a wireless interface down runs the annotated receive code in the task that takes it down,
 * with softirqs disabled, for the frames that are still queued. That task may record itself.
 *
 * Another thread sends frames all the time. An interface is taken down again and again until frames
 * were still queued often enough.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"
#include "wireless.h"

#define WORDS		(32 * COVER_WORDS)
#define AREA_WORDS	(4 * COVER_WORDS)
#define HANDLE(number)	(KCOV_SUBSYSTEM_COMMON | (0x7e910000ULL + (number)))

/* Runs in the task that takes the last interface of a radio down. */
#define DOWN_FUNCTION	"ieee80211_stop_device"
/* Contains the annotations, and is entered before the section starts. */
#define AROUND_FUNCTION	"ieee80211_rx_list"
/*
 * mac80211 warns here, in front of the section, if a simulated radio hands over a frame after it
 * was stopped. KCOV is not involved.
 */
#define OWN_WARNING	"WARNING: at ieee80211_rx_list+"
/* Run in the section. Compilers inline some of them. */
static const char * const section_functions[] = {
	"ieee80211_rx_monitor",
	"ieee80211_clean_skb",
	"ieee80211_make_monitor_skb",
};

/*
 * The number of times that frames must be queued when the interface goes down, and the number of
 * attempts.
 */
#define ENOUGH		5
#define ATTEMPTS	2000

struct sender {
	pthread_t thread;
	/* The descriptor that the thread enables for a common handle, or -1. */
	int fd;
	volatile int result;
	volatile bool ready;
	volatile bool finished;
	volatile unsigned long frames;
};

static bool section_function_exists(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(section_functions); i++)
		if (symbol_exists(section_functions[i]))
			return true;
	return false;
}

static bool covers_section(const uint64_t *area)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(section_functions); i++)
		if (covers(area, section_functions[i]))
			return true;
	return false;
}

static void *sender_main(void *data)
{
	struct sender *sender = data;

	run_on(0);
	if (sender->fd >= 0)
		sender->result = kcov_remote_enable(sender->fd, KCOV_TRACE_PC, AREA_WORDS,
						    HANDLE(1), 0);
	sender->ready = true;
	while (!sender->finished && !sender->result) {
		sender->result = wireless_send();
		/* The queue of the radio is full for the moment. */
		if (sender->result == -ENOBUFS)
			sender->result = 0;
		else
			sender->frames++;
	}
	if (sender->fd >= 0)
		kcov_disable(sender->fd);
	return NULL;
}

FIXTURE(hwsim) {
	struct sender sender;
	uint64_t *area, *remote;
	int fd, remote_fd, log;
};

FIXTURE_SETUP(hwsim)
{
	const char *missing = traces_missing() ?: wireless_missing();

	if (!missing && sysconf(_SC_NPROCESSORS_ONLN) < 2)
		missing = "one CPU: no frame is queued while a task runs";
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_TRUE(symbol_exists(DOWN_FUNCTION));
	ASSERT_TRUE(symbol_exists(AROUND_FUNCTION));
	ASSERT_TRUE(section_function_exists());
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	self->remote_fd = kcov_open_mapped(WORDS, &self->remote);
	ASSERT_LE(0, self->remote_fd);
	ASSERT_EQ(0, wireless_start());
	self->sender.fd = -1;
	run_on(1);
}

FIXTURE_TEARDOWN(hwsim)
{
	bool reported;
	char line[256];

	do
		reported = kmsg_reports_bug(self->log, line, sizeof(line));
	while (reported && strstr(line, OWN_WARNING));
	EXPECT_FALSE(reported) TH_LOG("%s", line);
	EXPECT_EQ(0, wireless_end());
	close(self->fd);
	close(self->remote_fd);
	close(self->log);
}

static int sender_start(FIXTURE_DATA(hwsim) *self, int fd)
{
	self->sender.fd = fd;
	if (pthread_create(&self->sender.thread, NULL, sender_main, &self->sender))
		return -EAGAIN;
	while (!self->sender.ready)
		usleep(1000);
	return self->sender.result;
}

static int sender_end(FIXTURE_DATA(hwsim) *self)
{
	self->sender.finished = true;
	pthread_join(self->sender.thread, NULL);
	return self->sender.result;
}

/* Lets frames arrive, takes the interface down and up again; returns 0 or a negative errno. */
static int down_and_up(FIXTURE_DATA(hwsim) *self)
{
	unsigned long before = self->sender.frames;
	int result;

	while (self->sender.frames < before + 2 && !self->sender.result)
		sched_yield();
	cover_reset(self->area);
	result = wireless_receiver_set(false);
	mark_one();
	return result ?: wireless_receiver_set(true);
}

/* Frames that belong to no descriptor: the receive code is recorded for the task itself. */
TEST_F_TIMEOUT(hwsim, frames_of_others, 600)
{
	int attempts, times = 0;

	if (statistics_missing())
		SKIP(return, "this implementation warns about the section");
	ASSERT_EQ(0, sender_start(self, -1));
	for (attempts = 0; attempts < ATTEMPTS && times < ENOUGH; attempts++) {
		ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
		ASSERT_EQ(0, down_and_up(self));
		ASSERT_EQ(0, kcov_disable(self->fd));
		ASSERT_TRUE(covers(self->area, DOWN_FUNCTION));
		ASSERT_TRUE(covers_syscall(self->area, MARK_ONE));
		times += covers_section(self->area);
	}
	EXPECT_EQ(0, sender_end(self));
	EXPECT_EQ(ENOUGH, times) TH_LOG("in %d attempts", attempts);
}

/* Frames that belong to another descriptor: its section suspends the task's own recording. */
TEST_F_TIMEOUT(hwsim, frames_of_a_descriptor, 600)
{
	int attempts, times = 0;

	if (statistics_missing())
		SKIP(return, "this implementation warns about the section");
	ASSERT_EQ(0, sender_start(self, self->remote_fd));
	for (attempts = 0; attempts < ATTEMPTS && times < ENOUGH; attempts++) {
		cover_reset(self->remote);
		ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
		ASSERT_EQ(0, down_and_up(self));
		ASSERT_EQ(0, kcov_disable(self->fd));
		ASSERT_TRUE(covers(self->area, DOWN_FUNCTION));
		ASSERT_TRUE(covers_syscall(self->area, MARK_ONE));
		ASSERT_FALSE(covers_section(self->area));
		times += covers(self->area, AROUND_FUNCTION);
	}
	EXPECT_EQ(0, sender_end(self));
	EXPECT_TRUE(covers_section(self->remote));
	EXPECT_EQ(ENOUGH, times) TH_LOG("in %d attempts", attempts);
}

/* The task that takes the interface down records other sections, not itself. */
TEST_F_TIMEOUT(hwsim, frames_of_a_descriptor_for_a_remote_task, 600)
{
	int attempts;

	if (statistics_missing())
		SKIP(return, "this implementation calls vmalloc() with softirqs disabled");
	ASSERT_EQ(0, sender_start(self, self->remote_fd));
	for (attempts = 0; attempts < ATTEMPTS / 20; attempts++) {
		ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, AREA_WORDS, HANDLE(2), 0));
		cover_reset(self->remote);
		ASSERT_EQ(0, down_and_up(self));
		ASSERT_EQ(0, kcov_disable(self->fd));
		ASSERT_EQ(0, cover_count(self->area));
		ASSERT_TRUE(covers_section(self->remote));
	}
	EXPECT_EQ(0, sender_end(self));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
