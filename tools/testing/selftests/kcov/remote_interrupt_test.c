// SPDX-License-Identifier: GPL-2.0
/*
 * Hard interrupts that come while a section of a softirq or of a task runs, and that start and stop
 * sections themselves: they record nothing, and the interrupted section goes on. In every mode.
 */
#include <stdlib.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "sample.h"
#include "symbols.h"

#define SOFTIRQ_FUNCTION "kcov_sample_softirq_code"
/* The number of sections in the first mode, and in each of the other modes. */
#define SECTIONS	100
#define FEW_SECTIONS	10

FIXTURE(interrupt) {
	struct kcov_sample_handles handles;
	struct trace section;	/* of the interrupted sections */
	struct trace hard;	/* of the sections of the interrupts */
	struct trace local;	/* of the calling thread */
	struct worker worker;	/* has enabled @hard */
	int device, log;
};

FIXTURE_VARIANT(interrupt) {
	unsigned long request;
	/* The number of interrupts in a section; small enough for slow machines. */
	int times;
	/* The section is on top of the calling thread, not in it. */
	bool softirq;
};

FIXTURE_VARIANT_ADD(interrupt, softirq) {
	.request = KCOV_SAMPLE_HARD_TIMER,
	.times = 1000,
	.softirq = true,
};

/* The entry and exit code of an interrupt is recorded, so the area fills up at some time. */
FIXTURE_VARIANT_ADD(interrupt, task) {
	.request = KCOV_SAMPLE_HARD_TIMER_TASK,
	.times = 50,
};

FIXTURE_SETUP(interrupt)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	if (kernel_option("CONFIG_HIGH_RES_TIMERS") == OPTION_NO)
		SKIP(return, "timers are not exact enough (CONFIG_HIGH_RES_TIMERS)");
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, worker_start(&self->worker));
	ASSERT_LE(0, trace_open(&self->section));
	ASSERT_LE(0, trace_open(&self->hard));
	ASSERT_LE(0, trace_open(&self->local));
}

FIXTURE_TEARDOWN(interrupt)
{
	char line[256];

	worker_end(&self->worker);
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	trace_close(&self->local);
	trace_close(&self->hard);
	trace_close(&self->section);
	close(self->device);
}

TEST_F_TIMEOUT(interrupt, over_a_section, 300)
{
	uint32_t mode;
	int i;

	for (mode = 0; mode < MODES; mode++) {
		struct collection hard = { &self->hard, mode, self->handles.worker };
		struct collection section = { &self->section, mode, self->handles.softirq };

		if (mode_missing(mode))
			continue;
		ASSERT_EQ(0, worker_run(&self->worker, collection_start, &hard));
		ASSERT_EQ(0, collection_start(&section));
		for (i = 0; i < (mode ? FEW_SECTIONS : SECTIONS); i++) {
			trace_clear(&self->section);
			/* This number of interrupts came during the section. */
			ASSERT_EQ(variant->times,
				  ioctl(self->device, variant->request, variant->times));
			ASSERT_EQ(1, trace_times(&self->section, SOFTIRQ_FUNCTION))
				TH_LOG("mode %s", mode_name(mode));
			ASSERT_EQ(1, trace_times(&self->section, AFTER_FUNCTION));
			ASSERT_EQ(0, trace_times(&self->section, HARD_FUNCTION));
			ASSERT_EQ(0, trace_count(&self->hard));
		}
		ASSERT_EQ(0, kcov_disable(self->section.fd));
		ASSERT_EQ(0, worker_ioctl(&self->worker, self->hard.fd, KCOV_DISABLE, 0));
		if (!statistics_missing()) {
			EXPECT_EQ(0, fdinfo(self->section.fd, "kcov-lost-sections"));
			EXPECT_EQ(0, fdinfo(self->section.fd, "kcov-dropped-records"));
			EXPECT_EQ(0, fdinfo(self->hard.fd, "kcov-lost-sections"));
			EXPECT_EQ(0, fdinfo(self->hard.fd, "kcov-dropped-records"));
		}
	}
}

/* One descriptor collects both handles, and the one of the interrupted task collects the rest. */
TEST_F_TIMEOUT(interrupt, over_a_task_that_records_itself, 300)
{
	struct kcov_remote_arg *arg;
	uint32_t mode;

	if (!variant->softirq && statistics_missing())
		SKIP(return, "this implementation warns about the task's section");
	arg = calloc(1, sizeof(*arg) + 2 * sizeof(uint64_t));
	ASSERT_NE(NULL, arg);
	arg->area_size = COVER_WORDS;
	arg->num_handles = 2;
	arg->handles[0] = self->handles.worker;
	arg->handles[1] = self->handles.softirq;
	for (mode = 0; mode < MODES; mode++) {
		if (mode_missing(mode))
			continue;
		trace_clear(&self->section);
		arg->trace_mode = mode;
		arg->front_size = self->section.front;
		self->section.mode = mode;
		ASSERT_EQ(0, kcov_ioctl(self->section.fd, KCOV_REMOTE_ENABLE, (unsigned long)arg));
		ASSERT_EQ(0, trace_enable(&self->local, mode));
		ASSERT_EQ(variant->times, ioctl(self->device, variant->request, variant->times));
		ASSERT_EQ(1, kcov_ioctl(self->device, KCOV_SAMPLE_CODE, KCOV_SAMPLE_PREEMPTIBLE));
		ASSERT_EQ(0, kcov_disable(self->local.fd));
		ASSERT_EQ(0, kcov_disable(self->section.fd));
		EXPECT_EQ(1, trace_times(&self->section, SOFTIRQ_FUNCTION))
			TH_LOG("mode %s", mode_name(mode));
		EXPECT_EQ(1, trace_times(&self->section, AFTER_FUNCTION));
		EXPECT_EQ(0, trace_times(&self->section, HARD_FUNCTION));
		EXPECT_EQ(0, trace_times(&self->local, SOFTIRQ_FUNCTION));
		EXPECT_EQ(0, trace_times(&self->local, AFTER_FUNCTION));
		EXPECT_EQ(0, trace_times(&self->local, HARD_FUNCTION));
		EXPECT_EQ(1, trace_times(&self->local, INNER_FUNCTION));
	}
	free(arg);
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
