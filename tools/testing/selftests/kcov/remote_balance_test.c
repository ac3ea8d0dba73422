// SPDX-License-Identifier: GPL-2.0
/*
 * Starts and stops of sections that do not match, and more sections than areas: mistakes of
 * drivers, and the load of a busy softirq. None of it may affect the task that is traced.
 *
 * Upstream's implementation is damaged by some of it until the next boot, so this test is not run
 * on it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "kcov_sample.h"
#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define DEVICE		"/dev/kcov-sample"
#define POSSIBLE	"/sys/devices/system/cpu/possible"
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5c0001)
/* The kernel's message about a stop that does not belong to a start. */
#define COMPLAINT	"a remote section was not stopped by the context that started it"

#define LOST		"kcov-lost-sections"
/* The statistic that counts such stops. */
#define UNBALANCED	"unbalanced"
/* More warnings than any test expects. */
#define MANY		100
/* The number of nested sections: more than the number of areas. */
#define DEPTH		1000
/* The most CPUs that have an area for softirqs of their own. */
#define MOST_CPUS	256

#define BEFORE_FUNCTION	"kcov_sample_before_code"
#define INNER_FUNCTION	"kcov_sample_inner_code"
#define AFTER_FUNCTION	"kcov_sample_after_code"
#define OUTSIDE_FUNCTION "kcov_sample_outside_code"
#define WORKER_FUNCTION	"kcov_sample_worker_code"
#define SOFTIRQ_FUNCTION "kcov_sample_softirq_code"

/* Returns the number of warnings of the kernel since the last call. */
static int warnings(int log, char *line, size_t size)
{
	int count = 0;

	/* A log that cannot be read would never end. */
	while (count < MANY && kmsg_reports_bug(log, line, size))
		count++;
	return count;
}

FIXTURE(balance) {
	struct kcov_sample_handles handles;
	uint64_t *area;
	int device;
	int fd;
	int log;
	int complaints;		/* the log once more */
	/* The number of warnings that the test causes. */
	int expected;
	/*
	 * The number of mistakes that the kernel had counted before, and the number that the test
	 * makes.
	 */
	uint64_t counted, mistakes;
};

FIXTURE_SETUP(balance)
{
	if (access(DEVICE, R_OK | W_OK))
		SKIP(return, "no " DEVICE " (CONFIG_SAMPLE_KCOV_MODULE)");
	if (statistics_missing())
		SKIP(return, "this implementation is damaged by it");
	if (symbols_missing())
		SKIP(return, "%s", symbols_missing());
	/* An earlier test may have used up the warning. */
	ASSERT_EQ(0, warn_again());
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->complaints = kmsg_open();
	ASSERT_LE(0, self->complaints);
	self->counted = statistic(UNBALANCED);
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
	EXPECT_EQ(self->expected, kmsg_count(self->complaints, COMPLAINT));
	EXPECT_EQ(self->counted + self->mistakes, statistic(UNBALANCED));
	/* A mistake in a later test must cause a warning. */
	EXPECT_EQ(0, warn_again());
	close(self->fd);
	close(self->device);
}

/* Returns whether sections of the worker are still collected. */
static bool works(FIXTURE_DATA(balance) *self)
{
	cover_reset(self->area);
	return !kcov_ioctl(self->device, KCOV_SAMPLE_WORKER, 0) &&
	       covers(self->area, WORKER_FUNCTION);
}

/* A section inside another one of the same descriptor is recorded completely. */
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

/* No descriptor collects the inner section: its stop does not stop the outer one. */
TEST_F(balance, section_nobody_collects_inside_another)
{
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, 0,
					self->handles.worker));
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_NESTED, 0));
	EXPECT_TRUE(covers(self->area, BEFORE_FUNCTION));
	EXPECT_TRUE(covers(self->area, AFTER_FUNCTION));
	EXPECT_TRUE(works(self));
}

/* The caller traces itself, and this continues. */
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
 * section ends with its thread.  The kernel warns of the first such mistake, and
 * counts all of them.
 */
TEST_F(balance, mistakes_are_reported_once)
{
	self->expected = 1;
	self->mistakes = 2;
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

/*
 * The section of the task may have an uncollected one inside. A stop in a softirq does not end that
 * one either: its own stop comes later, and ends nothing else.
 */
TEST_F(balance, stop_of_a_softirq_while_an_uncollected_section_runs)
{
	self->expected = 1;
	self->mistakes = 1;
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, 0,
					self->handles.worker));
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_FOREIGN_STOP_INSIDE, 0));
	EXPECT_EQ(1, times_covered(self->area, BEFORE_FUNCTION));
	EXPECT_EQ(1, times_covered(self->area, INNER_FUNCTION));
	EXPECT_EQ(1, times_covered(self->area, AFTER_FUNCTION));
	EXPECT_FALSE(covers(self->area, OUTSIDE_FUNCTION));
	EXPECT_TRUE(works(self));
}

/* Returns the expected number of areas for softirqs. */
static uint64_t softirq_areas(void)
{
	unsigned int last = 0;
	FILE *file = fopen(POSSIBLE, "r");
	uint64_t cpus;

	if (file) {
		if (fscanf(file, "%*u-%u", &last) != 1)
			last = 0;
		fclose(file);
	}
	cpus = last + 1 < MOST_CPUS ? last + 1 : MOST_CPUS;
	/* If softirqs can be preempted, a CPU may have several. */
	return cpus * (kernel_option("CONFIG_PREEMPT_RT") == OPTION_YES ? 3 : 1);
}

/*
 * Returns whether only the areas of softirqs are left. Areas of tasks are freed some seconds after
 * their last use; 30 are enough.
 */
static bool only_softirq_areas(void)
{
	int i;

	for (i = 0; i < 300; i++) {
		if (statistic("areas") == softirq_areas() &&
		    statistic("area_bytes") == softirq_areas() * softirq_area_bytes())
			return true;
		usleep(100000);
	}
	return false;
}

/* Runs @depth nested sections in one softirq; returns the number that were lost. */
static uint64_t lost_of(FIXTURE_DATA(balance) *self, unsigned long depth)
{
	uint64_t before = fdinfo(self->fd, LOST);

	cover_reset(self->area);
	if (kcov_ioctl(self->device, KCOV_SAMPLE_DEEP, depth))
		return 0;
	return fdinfo(self->fd, LOST) - before;
}

/* The functions with which a nested section begins and ends in a trace, in order. */
struct order {
	const uint64_t *area;
	uint64_t begin, end;	/* the PCs of their entries */
	uint64_t next;		/* the next record to examine */
};

/* Returns the number of entries of one function before the next entry of the other. */
static uint64_t run_length(struct order *order, uint64_t of)
{
	uint64_t length = 0;

	for (; order->next <= cover_count(order->area); order->next++) {
		uint64_t pc = order->area[order->next];

		if (pc != order->begin && pc != order->end)
			continue;
		if (pc != of)
			break;
		length++;
	}
	return length;
}

/* Returns the PC that one entry of a function leaves: its first one in the trace. */
static uint64_t entry_pc(const uint64_t *area, const char *name)
{
	uint64_t i;

	for (i = 1; i <= cover_count(area); i++) {
		uint64_t one[2] = { 1, area[i] };

		if (times_covered(one, name))
			return area[i];
	}
	return 0;
}

/*
 * A section without an area is counted, and the enclosing ones go on. Before that, sections use the
 * areas of all CPUs and give them back.
 */
TEST_F_TIMEOUT(balance, lost_sections_are_counted, 120)
{
	const uint64_t areas = softirq_areas();
	uint64_t before, lost, i;
	struct order order = { .area = self->area, .next = 1 };

	ASSERT_TRUE(only_softirq_areas())
		TH_LOG("%llu areas have %llu bytes; there are to be %llu of %llu bytes each",
		       (unsigned long long)statistic("areas"),
		       (unsigned long long)statistic("area_bytes"),
		       (unsigned long long)softirq_areas(),
		       (unsigned long long)softirq_area_bytes());

	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, 0,
					self->handles.softirq));
	ASSERT_EQ(0, fdinfo(self->fd, LOST));
	before = statistic("lost_sections");
	/* The areas of this CPU and of all others are used, and no more. */
	lost = lost_of(self, DEPTH);
	ASSERT_EQ(DEPTH - areas, lost);
	EXPECT_EQ(before + lost, statistic("lost_sections"));
	EXPECT_EQ(DEPTH, times_covered(self->area, SOFTIRQ_FUNCTION));
	EXPECT_EQ(DEPTH, times_covered(self->area, AFTER_FUNCTION));
	EXPECT_FALSE(covers(self->area, OUTSIDE_FUNCTION));

	/*
	 * Each stop has ended the section that was started last: the innermost one, with the code
	 * of the lost sections inside it, comes first, the outermost one last.
	 */
	order.begin = entry_pc(self->area, SOFTIRQ_FUNCTION);
	order.end = entry_pc(self->area, AFTER_FUNCTION);
	for (i = 0; i < areas; i++) {
		EXPECT_EQ(i ? 1 : lost + 1, run_length(&order, order.begin));
		EXPECT_EQ(i ? 1 : lost + 1, run_length(&order, order.end));
	}
	EXPECT_EQ(0, run_length(&order, order.begin));
	EXPECT_EQ(0, run_length(&order, order.end));

	/* All areas have been given back. */
	EXPECT_EQ(0, lost_of(self, areas));
	EXPECT_EQ(lost, lost_of(self, DEPTH));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
