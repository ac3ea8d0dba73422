// SPDX-License-Identifier: GPL-2.0
/*
 * Starts and stops of sections that do not match, and more sections than there
 * are areas: what drivers do by mistake, and what a busy softirq may come to.
 * None of it may hurt whoever is being traced.
 *
 * Upstream's implementation is damaged by some of it for the rest of the boot,
 * so this is not for that.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../../samples/kcov/kcov_sample.h"
#include "kselftest_harness.h"
#include "kcov.h"
#include "symbols.h"

#define DEVICE		"/dev/kcov-sample"
#define STATISTICS	"/sys/kernel/debug/kcov_statistics"
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5c0001)
/* The kernel warns once in its life, and says so here ever after. */
#define TAINTED		"/proc/sys/kernel/tainted"
#define TAINT_WARN	(1UL << 9)

#define BEFORE_FUNCTION	"kcov_sample_before_code"
#define INNER_FUNCTION	"kcov_sample_inner_code"
#define AFTER_FUNCTION	"kcov_sample_after_code"
#define WORKER_FUNCTION	"kcov_sample_worker_code"
#define SOFTIRQ_FUNCTION "kcov_sample_softirq_code"

/* Returns the number after @key in a file, or in one that holds only that. */
static unsigned long number_in(const char *path, const char *key)
{
	unsigned long number = ULONG_MAX;
	char line[256];
	FILE *file = fopen(path, "r");

	if (!file)
		return ULONG_MAX;
	while (number == ULONG_MAX && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			number = strtoul(line + strlen(key), NULL, 10);
	fclose(file);
	return number;
}

/* The times that the kernel has warned of a bug since the last call. */
static int warnings(int log, char *line, size_t size)
{
	int count = 0;

	while (kmsg_reports_bug(log, line, size))
		count++;
	return count;
}

FIXTURE(balance) {
	struct kcov_sample_handles handles;
	uint64_t *area;
	int device;
	int fd;
	int log;
	/* How often the test lets the kernel warn. */
	int expected;
};

FIXTURE_SETUP(balance)
{
	if (access(DEVICE, R_OK | W_OK))
		SKIP(return, "no " DEVICE " (CONFIG_SAMPLE_KCOV_MODULE)");
	if (access(STATISTICS, F_OK))
		SKIP(return, "this implementation is damaged by it");
	if (symbols_missing())
		SKIP(return, "%s", symbols_missing());
	self->log = kmsg_open();
	self->device = open(DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, ioctl(self->device, KCOV_SAMPLE_HANDLES, &self->handles));
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(balance)
{
	char line[256] = "";

	EXPECT_EQ(self->expected, warnings(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	close(self->fd);
	close(self->device);
}

/* Whether sections of the worker are collected, as if nothing had happened. */
static bool works(FIXTURE_DATA(balance) *self)
{
	cover_reset(self->area);
	return !kcov_ioctl(self->device, KCOV_SAMPLE_WORKER, 0) &&
	       covers(self->area, WORKER_FUNCTION);
}

/* The whole of a section inside another one of the same descriptor is there. */
TEST_F(balance, section_inside_one_of_the_same_descriptor)
{
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, HANDLE,
					self->handles.worker));
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_NESTED, 0));
	EXPECT_TRUE(covers(self->area, BEFORE_FUNCTION));
	EXPECT_TRUE(covers(self->area, INNER_FUNCTION));
	EXPECT_TRUE(covers(self->area, AFTER_FUNCTION));
	EXPECT_TRUE(works(self));
}

/* The inner section is nobody's: its stop does not stop the outer one. */
TEST_F(balance, section_nobody_collects_inside_another)
{
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, 0,
					self->handles.worker));
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_NESTED, 0));
	EXPECT_TRUE(covers(self->area, BEFORE_FUNCTION));
	EXPECT_TRUE(covers(self->area, AFTER_FUNCTION));
	EXPECT_TRUE(works(self));
}

/* The caller traces itself, and goes on with it. */
TEST_F(balance, stop_without_a_start)
{
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_SURPLUS_STOP, 0));
	cover_reset(self->area);
	mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(code_missing() ? cover_count(self->area) :
		    covers_syscall(self->area, MARK_ONE));
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, 0,
					self->handles.worker));
	EXPECT_TRUE(works(self));
}

/*
 * A softirq does not stop the section of the task that it interrupts, and a
 * section ends with its thread.  The kernel warns of the first such mistake.
 */
TEST_F(balance, mistakes_are_reported_once)
{
	self->expected = !(number_in(TAINTED, "") & TAINT_WARN);
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, 0,
					self->handles.worker));

	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_FOREIGN_STOP, 0));
	EXPECT_TRUE(covers(self->area, BEFORE_FUNCTION));
	EXPECT_TRUE(covers(self->area, AFTER_FUNCTION));
	EXPECT_TRUE(works(self));

	cover_reset(self->area);
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_MISSING_STOP, 0));
	EXPECT_TRUE(covers(self->area, WORKER_FUNCTION));
	EXPECT_TRUE(works(self));
}

/* A section without an area is counted, and the others go on. */
TEST_F(balance, lost_sections_are_counted)
{
	unsigned long lost, seen, depth = 1000;
	char fdinfo[64];

	snprintf(fdinfo, sizeof(fdinfo), "/proc/self/fdinfo/%d", self->fd);
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, 0,
					self->handles.softirq));
	ASSERT_EQ(0, number_in(fdinfo, "kcov-lost-sections:"));
	lost = number_in(STATISTICS "/lost_sections", "");
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_DEEP, depth));
	EXPECT_TRUE(covers(self->area, SOFTIRQ_FUNCTION));
	seen = number_in(fdinfo, "kcov-lost-sections:");
	EXPECT_LT(0, seen);
	EXPECT_GT(depth, seen);
	EXPECT_EQ(lost + seen, number_in(STATISTICS "/lost_sections", ""));

	/* The areas are back. */
	cover_reset(self->area);
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_SOFTIRQ, 0));
	EXPECT_TRUE(covers(self->area, SOFTIRQ_FUNCTION));
	EXPECT_EQ(seen, number_in(fdinfo, "kcov-lost-sections:"));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
