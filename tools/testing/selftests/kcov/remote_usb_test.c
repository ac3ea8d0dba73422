// SPDX-License-Identifier: GPL-2.0
/*
 * Sections of USB: the hub's worker, a task that many requests share, and the completion of
 * transfers, a softirq. The number of the bus selects both.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"
#include "symbols.h"
#include "usb_gadget.h"

#define WORDS		(32 * COVER_WORDS)
#define AREA_WORDS	(4 * COVER_WORDS)

/* Runs in the worker when a device appears. */
#define HUB_FUNCTION	"hub_port_init"
/* Runs in the softirq when a transfer is complete. */
#define SOFTIRQ_FUNCTION "usb_api_blocking_completion"

FIXTURE(usb) {
	struct usb_gadget gadget;
	uint64_t *area;
	uint64_t handle;
	int fd;
	int log;
};

FIXTURE_SETUP(usb)
{
	const char *missing = traces_missing() ?: usb_gadget_missing();

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_TRUE(symbol_exists(HUB_FUNCTION));
	ASSERT_TRUE(symbol_exists(SOFTIRQ_FUNCTION));
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->handle = KCOV_SUBSYSTEM_USB | usb_gadget_bus();
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(usb)
{
	close(self->fd);
}

static long enable(FIXTURE_DATA(usb) *self, uint32_t mode)
{
	return kcov_remote_enable(self->fd, mode, AREA_WORDS, 0, self->handle);
}

static bool appears(const uint64_t *area, const char *function)
{
	int i;

	for (i = 0; i < 60; i++) {
		if (covers(area, function))
			return true;
		usleep(50000);
	}
	return false;
}

/*
 * Unplugs the device; returns whether the section for that was recorded to its end. The hub's
 * worker waits until the port is quiet, and looks at it again. If another device is plugged in by
 * then, it belongs to the section that began at the end of the last one, and thus to the descriptor
 * that was enabled then.
 */
static bool unplug(FIXTURE_DATA(usb) *self)
{
	cover_reset(self->area);
	return usb_gadget_unplug(&self->gadget) && appears(self->area, "usb_disconnect");
}

/*
 * Returns whether a device that is plugged in now is recorded. If a section of the hub's worker
 * that began earlier handles the first device, the next one is recorded.
 */
static bool seen(FIXTURE_DATA(usb) *self)
{
	int i;

	for (i = 0; i < 4; i++) {
		bool found = !usb_gadget_plug_in(&self->gadget) &&
			     usb_gadget_wait(&self->gadget.configured) &&
			     appears(self->area, HUB_FUNCTION);

		if (!unplug(self))
			return false;
		if (found)
			return true;
	}
	return false;
}

TEST_F_TIMEOUT(usb, hub_and_completions_are_collected, 300)
{
	uint64_t i, count;
	char line[256];

	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	ASSERT_EQ(0, usb_gadget_plug_in(&self->gadget));
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.configured));
	EXPECT_TRUE(appears(self->area, HUB_FUNCTION));
	EXPECT_TRUE(appears(self->area, SOFTIRQ_FUNCTION));
	ASSERT_TRUE(usb_gadget_unplug(&self->gadget));
	EXPECT_TRUE(appears(self->area, "usb_disconnect"));
	ASSERT_EQ(0, kcov_disable(self->fd));
	count = cover_count(self->area);
	ASSERT_GT(WORDS - 1, count);
	for (i = 1; i <= count; i++)
		ASSERT_TRUE(in_kernel_text(self->area[i] - 1));
	/* Neither calls of this thread nor interrupts are recorded. */
	EXPECT_FALSE(covers_syscall(self->area, "ioctl"));
	EXPECT_FALSE(covers(self->area, "hrtimer_interrupt"));
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

TEST_F_TIMEOUT(usb, another_bus_is_not_collected, 300)
{
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, AREA_WORDS, 0,
					self->handle + 0x100));
	ASSERT_EQ(0, usb_gadget_plug_in(&self->gadget));
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.configured));
	ASSERT_TRUE(usb_gadget_unplug(&self->gadget));
	EXPECT_EQ(0, cover_count(self->area));
	/* The device is recorded on its own bus. */
	ASSERT_EQ(0, kcov_disable(self->fd));
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	EXPECT_TRUE(seen(self));
}

/*
 * The worker is in the middle of a section: it waits for the device's answer. Its descriptor is
 * disabled, and the records of the section are dropped.
 */
TEST_F_TIMEOUT(usb, disabled_during_a_section, 300)
{
	self->gadget.hold = true;
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	ASSERT_EQ(0, usb_gadget_plug_in(&self->gadget));
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.asked));
	ASSERT_EQ(0, kcov_disable(self->fd));
	cover_reset(self->area);
	self->gadget.hold = false;
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.configured));
	ASSERT_TRUE(usb_gadget_unplug(&self->gadget));
	usleep(200000);
	EXPECT_EQ(0, cover_count(self->area));
	/* It is recorded if the descriptor is not disabled. */
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	EXPECT_TRUE(seen(self));
}

/*
 * The same, but the descriptor is enabled again before the section ends: the section belongs to the
 * earlier use.
 */
TEST_F_TIMEOUT(usb, enabled_again_during_a_section, 300)
{
	char line[256];

	self->gadget.hold = true;
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	ASSERT_EQ(0, usb_gadget_plug_in(&self->gadget));
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.asked));
	ASSERT_EQ(0, kcov_disable(self->fd));
	cover_reset(self->area);
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	self->gadget.hold = false;
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.configured));
	/* Completions are sections that began afterwards. */
	EXPECT_TRUE(appears(self->area, SOFTIRQ_FUNCTION));
	usleep(200000);
	EXPECT_FALSE(covers(self->area, HUB_FUNCTION));
	EXPECT_TRUE(unplug(self));
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

/* Enabled for the thread's own calls instead: the section is not merged into its trace. */
TEST_F_TIMEOUT(usb, local_use_during_a_section, 300)
{
	self->gadget.hold = true;
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	ASSERT_EQ(0, usb_gadget_plug_in(&self->gadget));
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.asked));
	ASSERT_EQ(0, kcov_disable(self->fd));
	cover_reset(self->area);
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	self->gadget.hold = false;
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.configured));
	mark_one();
	usleep(100000);
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_FALSE(covers(self->area, HUB_FUNCTION));
	EXPECT_FALSE(covers(self->area, SOFTIRQ_FUNCTION));
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	EXPECT_TRUE(unplug(self));
}

/* The owner is killed and its descriptor freed while the section goes on. */
TEST_F_TIMEOUT(usb, owner_killed_during_a_section, 300)
{
	char line[256];
	int status;
	pid_t child;

	close(self->fd);
	kcov_unmap(self->area, WORDS);
	self->gadget.hold = true;
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		be_mortal(LIFETIME);
		self->fd = kcov_open_mapped(WORDS, &self->area);
		if (self->fd < 0 || enable(self, KCOV_TRACE_PC))
			_exit(1);
		raise(SIGSTOP);
		_exit(2);
	}
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, usb_gadget_plug_in(&self->gadget));
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.asked));
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	self->gadget.hold = false;
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.configured));
	ASSERT_TRUE(usb_gadget_unplug(&self->gadget));
	/* Its handle is free, and sections still work. */
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	EXPECT_TRUE(seen(self));
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

/* The largest number of CPUs that this program can keep busy. */
#define MOST_PROCESSORS	64

static struct {
	int fd[MOST_PROCESSORS];
	uint64_t *area[MOST_PROCESSORS];
	volatile bool finished;
} busy;

/* A thread that is always in the kernel, and records that. */
static void *keep_busy(void *number)
{
	int i = (long)number;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(i, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	if (kcov_enable(busy.fd[i], KCOV_TRACE_PC))
		return (void *)1L;
	while (!busy.finished) {
		/* Keeps the count near the end of the buffer, but below it. */
		if (cover_count(busy.area[i]) > COVER_WORDS / 2)
			cover_reset(busy.area[i]);
		mark_one();
	}
	cover_reset(busy.area[i]);
	mark_two();
	return (void *)kcov_disable(busy.fd[i]);
}

/*
 * The number of completions that must come, and the number of devices that may be plugged in for
 * them.
 */
#define COMPLETIONS	100
#define MOST_DEVICES	20

/*
 * Every CPU has a thread that is traced locally. The hub's worker waits for a completion, which
 * therefore interrupts one of these threads, unless a kernel thread runs by chance; that does not
 * happen for all of the many completions. The completions are recorded by their handle; the
 * thread's own trace stays its own and goes on afterwards.
 */
TEST_F_TIMEOUT(usb, softirq_over_traced_tasks, 300)
{
	long i, round, count = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[MOST_PROCESSORS];
	uint64_t completions = 0;
	char line[256];

	if (count > MOST_PROCESSORS)
		SKIP(return, "%ld processors are more than can be kept busy", count);
	for (i = 0; i < count; i++) {
		busy.fd[i] = kcov_open_mapped(COVER_WORDS, &busy.area[i]);
		ASSERT_LE(0, busy.fd[i]);
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, keep_busy, (void *)i));
	}
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	for (round = 0; round < MOST_DEVICES && completions < COMPLETIONS; round++) {
		cover_reset(self->area);
		ASSERT_EQ(0, usb_gadget_plug_in(&self->gadget));
		ASSERT_TRUE(usb_gadget_wait(&self->gadget.configured));
		EXPECT_TRUE(appears(self->area, SOFTIRQ_FUNCTION));
		EXPECT_TRUE(appears(self->area, HUB_FUNCTION));
		/* The calls of the threads are not recorded here. */
		EXPECT_FALSE(covers_syscall(self->area, MARK_ONE));
		completions += times_covered(self->area, SOFTIRQ_FUNCTION);
		EXPECT_TRUE(unplug(self));
	}
	EXPECT_LE(COMPLETIONS, completions)
		TH_LOG("%d devices have made so few completions", MOST_DEVICES);
	busy.finished = true;
	for (i = 0; i < count; i++) {
		void *result;

		pthread_join(threads[i], &result);
		EXPECT_EQ(NULL, result);
		/* The words that were not reset contain the whole time. */
		EXPECT_TRUE(covers_syscall(busy.area[i], MARK_TWO));
		busy.area[i][0] = COVER_WORDS / 2;
		EXPECT_TRUE(covers_syscall(busy.area[i], MARK_ONE));
		EXPECT_FALSE(covers(busy.area[i], SOFTIRQ_FUNCTION));
		EXPECT_FALSE(covers(busy.area[i], HUB_FUNCTION));
	}
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

/* After much traffic, the descriptor and its handle can be used again. */
TEST_F_TIMEOUT(usb, no_reference_is_lost, 300)
{
	int i;

	for (i = 0; i < 3; i++) {
		int fd = kcov_open();

		ASSERT_EQ(0, kcov_init(fd, COVER_WORDS));
		ASSERT_EQ(0, kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, 0, self->handle));
		ASSERT_EQ(0, usb_gadget_plug_in(&self->gadget));
		ASSERT_TRUE(usb_gadget_wait(&self->gadget.configured));
		ASSERT_TRUE(usb_gadget_unplug(&self->gadget));
		ASSERT_EQ(0, kcov_disable(fd));
		ASSERT_EQ(0, kcov_enable(fd, KCOV_TRACE_PC));
		ASSERT_EQ(0, kcov_disable(fd));
		close(fd);
	}
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	EXPECT_TRUE(seen(self));
}

/* Returns whether the vendor number of the device was compared. */
static bool vendor_is_compared(const uint64_t *area)
{
	uint64_t i, count = cover_count(area);

	for (i = 0; i < count; i++) {
		const uint64_t *record = &area[1 + WORDS_PER_CMP * i];

		if (record[1] == 0xf055 || record[2] == 0xf055)
			return true;
	}
	return false;
}

TEST_F_TIMEOUT(usb, comparisons_are_collected, 300)
{
	uint64_t i, count;
	long ret = enable(self, KCOV_TRACE_CMP);

	if (ret == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, usb_gadget_plug_in(&self->gadget));
	ASSERT_TRUE(usb_gadget_wait(&self->gadget.configured));
	for (i = 0; i < 60 && !vendor_is_compared(self->area); i++)
		usleep(50000);
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(vendor_is_compared(self->area));
	count = cover_count(self->area);
	ASSERT_LT(0, count);
	ASSERT_GE((WORDS - 1) / WORDS_PER_CMP, count);
	for (i = 0; i < count; i++) {
		uint64_t *record = &self->area[1 + WORDS_PER_CMP * i];

		ASSERT_GE(7, record[0]);
		ASSERT_TRUE(in_kernel_text(record[3] - 1));
	}
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	EXPECT_TRUE(unplug(self));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
