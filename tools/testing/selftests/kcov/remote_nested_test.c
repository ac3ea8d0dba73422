// SPDX-License-Identifier: GPL-2.0
/*
 * Sections on top of a task that records itself: in the task, and in a softirq. In every mode of
 * the task and of the section, each descriptor has its own records, and the task's recording goes
 * on afterwards.
 */
#include <fcntl.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "sample.h"
#include "symbols.h"

/* The number of sections in a row. */
#define RUNS	3

FIXTURE(nested) {
	struct kcov_sample_handles handles;
	struct trace local;	/* of the calling thread */
	struct trace remote;	/* of sections of the worker's handle */
	struct trace other;	/* of sections of the softirq's handle */
	struct worker worker;	/* has enabled @other */
	int device;
	int log;
};

FIXTURE_VARIANT(nested) {
	uint32_t context;
	/* If no section runs, the code of this context is recorded for the task. */
	bool task;
};

FIXTURE_VARIANT_ADD(nested, task) {
	.context = KCOV_SAMPLE_PREEMPTIBLE,
	.task = true,
};

FIXTURE_VARIANT_ADD(nested, bh_disabled) {
	.context = KCOV_SAMPLE_BH_DISABLED,
	.task = true,
};

FIXTURE_VARIANT_ADD(nested, softirq) {
	.context = KCOV_SAMPLE_IN_SOFTIRQ,
};

FIXTURE_SETUP(nested)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	if (variant->task && statistics_missing())
		SKIP(return, "this implementation warns about it, and is damaged by the stop");
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = open(SAMPLE_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, ioctl(self->device, KCOV_SAMPLE_HANDLES, &self->handles));
	ASSERT_LE(0, trace_open(&self->local));
	ASSERT_LE(0, trace_open(&self->remote));
	ASSERT_LE(0, trace_open(&self->other));
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(nested)
{
	char line[256];

	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	worker_end(&self->worker);
	trace_close(&self->other);
	trace_close(&self->remote);
	trace_close(&self->local);
	close(self->device);
}

/*
 * Returns the next pair of modes that this kernel supports, starting at @i; MODES * MODES if none
 * is left.
 */
static int next_modes(int i)
{
	while (i < MODES * MODES && (mode_missing(i / MODES) || mode_missing(i % MODES)))
		i++;
	return i;
}

#define for_each_modes(i) \
	for (i = next_modes(0); i < MODES * MODES; i = next_modes(i + 1))

#define local_mode(i)	((uint32_t)(i) / MODES)
#define remote_mode(i)	((uint32_t)(i) % MODES)

/* Enables both descriptors, with empty buffers. */
static long start(FIXTURE_DATA(nested) *self, int modes, uint32_t area_size)
{
	trace_clear(&self->remote);
	return trace_collect(&self->remote, remote_mode(modes), area_size, 0,
			     self->handles.worker) ?:
	       trace_enable(&self->local, local_mode(modes));
}

static long end(FIXTURE_DATA(nested) *self)
{
	return kcov_disable(self->local.fd) ?: kcov_disable(self->remote.fd);
}

/* Returns the number of records of code that runs @times, depending on the mode. */
static uint64_t in_mode(uint32_t mode, uint64_t times)
{
	return mode == KCOV_TRACE_UNIQUE_PC && times ? 1 : times;
}

#define EXPECT_TIMES(times, trace, function)						\
do {											\
	const uint64_t recorded = trace_times(trace, function);				\
											\
	EXPECT_EQ(in_mode((trace)->mode, times), recorded)				\
		TH_LOG(function ", modes %s and %s", mode_name(self->local.mode),	\
		       mode_name(self->remote.mode));					\
} while (0)

/*
 * The calls of the task, and those that interrupts caused to be repeated, are recorded for the
 * task.
 */
TEST_F_TIMEOUT(nested, goes_on_afterwards, 120)
{
	const struct kcov_sample_pair pair = {
		.inner = self->handles.worker,
		.context = variant->context,
		.flags = KCOV_SAMPLE_INNER,
	};
	int i, run, pairs = 0;

	for_each_modes(i) {
		ASSERT_EQ(0, start(self, i, COVER_WORDS));
		for (run = 0; run < RUNS; run++)
			ASSERT_EQ(1, kcov_ioctl(self->device, KCOV_SAMPLE_PAIR,
						(unsigned long)&pair));
		ASSERT_EQ(0, end(self));
		EXPECT_TIMES(variant->task ? RUNS : 0, &self->local, BEFORE_FUNCTION);
		EXPECT_TIMES(0, &self->local, INNER_FUNCTION);
		EXPECT_TIMES(variant->task ? RUNS : 0, &self->local, AFTER_FUNCTION);
		EXPECT_TIMES(RUNS, &self->local, OUTSIDE_FUNCTION);

		EXPECT_TIMES(0, &self->remote, BEFORE_FUNCTION);
		EXPECT_TIMES(RUNS, &self->remote, INNER_FUNCTION);
		EXPECT_TIMES(0, &self->remote, AFTER_FUNCTION);
		EXPECT_TIMES(0, &self->remote, OUTSIDE_FUNCTION);
		if (remote_mode(i) == KCOV_TRACE_UNIQUE_PC) {
			EXPECT_TRUE(trace_set_agrees(&self->remote));
		}
		if (local_mode(i) == KCOV_TRACE_UNIQUE_PC) {
			EXPECT_TRUE(trace_set_agrees(&self->local));
		}
		pairs++;
	}
	ASSERT_LE(1, pairs);
}

/* The same as without a section. */
TEST_F_TIMEOUT(nested, uncollected_section, 120)
{
	const struct kcov_sample_pair pair = {
		.outer = self->handles.softirq,
		.inner = 0,
		.context = variant->context,
		.flags = KCOV_SAMPLE_OUTER | KCOV_SAMPLE_INNER,
	};
	int i;

	for_each_modes(i) {
		ASSERT_EQ(0, start(self, i, COVER_WORDS));
		ASSERT_EQ(1, kcov_ioctl(self->device, KCOV_SAMPLE_PAIR, (unsigned long)&pair));
		ASSERT_EQ(0, end(self));
		EXPECT_TIMES(variant->task, &self->local, BEFORE_FUNCTION);
		EXPECT_TIMES(variant->task, &self->local, INNER_FUNCTION);
		EXPECT_TIMES(variant->task, &self->local, AFTER_FUNCTION);
		EXPECT_TIMES(1, &self->local, OUTSIDE_FUNCTION);
		EXPECT_EQ(0, trace_count(&self->remote));
	}
}

/* A section of the same handle inside the section: one descriptor records all of it. */
TEST_F_TIMEOUT(nested, same_handle_inside, 120)
{
	const struct kcov_sample_pair pair = {
		.outer = self->handles.worker,
		.inner = self->handles.worker,
		.context = variant->context,
		.flags = KCOV_SAMPLE_OUTER | KCOV_SAMPLE_INNER,
	};
	int i;

	if (statistics_missing())
		SKIP(return, "this implementation warns about it");
	/* A softirq has one area per CPU. The inner section may find none. */
	for_each_modes(i) {
		ASSERT_EQ(0, start(self, i, COVER_WORDS));
		ASSERT_EQ(1, kcov_ioctl(self->device, KCOV_SAMPLE_PAIR, (unsigned long)&pair));
		ASSERT_EQ(0, end(self));
		EXPECT_TIMES(0, &self->local, BEFORE_FUNCTION);
		EXPECT_TIMES(0, &self->local, INNER_FUNCTION);
		EXPECT_TIMES(0, &self->local, AFTER_FUNCTION);
		EXPECT_TIMES(1, &self->local, OUTSIDE_FUNCTION);
		EXPECT_TIMES(1, &self->remote, BEFORE_FUNCTION);
		EXPECT_TIMES(1, &self->remote, INNER_FUNCTION);
		EXPECT_TIMES(1, &self->remote, AFTER_FUNCTION);
		EXPECT_TIMES(0, &self->remote, OUTSIDE_FUNCTION);
		if (remote_mode(i) == KCOV_TRACE_UNIQUE_PC) {
			EXPECT_TRUE(trace_set_agrees(&self->remote));
		}
	}
}

/*
 * A section of another descriptor's handle inside the section. If softirqs have one area only, it
 * is lost, and its code belongs to the outer section.
 */
TEST_F_TIMEOUT(nested, another_handle_inside, 120)
{
	const struct kcov_sample_pair pair = {
		.outer = self->handles.worker,
		.inner = self->handles.softirq,
		.context = variant->context,
		.flags = KCOV_SAMPLE_OUTER | KCOV_SAMPLE_INNER,
	};
	uint64_t lost_before = 0;
	int i;

	if (statistics_missing())
		SKIP(return, "this implementation warns about it");
	for_each_modes(i) {
		struct collection collection = {
			&self->other, local_mode(i), self->handles.softirq,
		};
		uint64_t lost;

		ASSERT_EQ(0, worker_run(&self->worker, collection_start, &collection));
		ASSERT_EQ(0, start(self, i, COVER_WORDS));
		ASSERT_EQ(1, kcov_ioctl(self->device, KCOV_SAMPLE_PAIR, (unsigned long)&pair));
		ASSERT_EQ(0, end(self));
		ASSERT_EQ(0, worker_ioctl(&self->worker, self->other.fd, KCOV_DISABLE, 0));
		lost = fdinfo(self->other.fd, "kcov-lost-sections") - lost_before;
		lost_before += lost;
		/* Enabling has prepared an area for a task that must not sleep. */
		if (variant->context == KCOV_SAMPLE_PREEMPTIBLE) {
			EXPECT_EQ(0, lost);
		}
		ASSERT_GE(1, lost);
		EXPECT_TIMES(1, &self->local, OUTSIDE_FUNCTION);
		EXPECT_TIMES(0, &self->local, INNER_FUNCTION);
		EXPECT_TIMES(1, &self->remote, BEFORE_FUNCTION);
		EXPECT_TIMES(lost, &self->remote, INNER_FUNCTION);
		EXPECT_TIMES(1, &self->remote, AFTER_FUNCTION);
		EXPECT_TIMES(0, &self->other, BEFORE_FUNCTION);
		EXPECT_TIMES(1 - lost, &self->other, INNER_FUNCTION);
		EXPECT_TIMES(0, &self->other, AFTER_FUNCTION);
	}
}

/* The task's own buffer is full: it stays full, and the section is recorded. */
TEST_F_TIMEOUT(nested, task_has_no_room, 120)
{
	const struct kcov_sample_pair pair = {
		.inner = self->handles.worker,
		.context = variant->context,
		.flags = KCOV_SAMPLE_INNER,
	};
	int i;

	for_each_modes(i) {
		ASSERT_EQ(0, start(self, i, COVER_WORDS));
		trace_fill(&self->local);
		ASSERT_EQ(1, kcov_ioctl(self->device, KCOV_SAMPLE_PAIR, (unsigned long)&pair));
		EXPECT_TRUE(trace_is_full(&self->local))
			TH_LOG("modes %s and %s", mode_name(local_mode(i)),
			       mode_name(remote_mode(i)));
		EXPECT_TIMES(1, &self->remote, INNER_FUNCTION);
		/* The buffer has space again. */
		trace_clear(&self->local);
		ASSERT_EQ(1, kcov_ioctl(self->device, KCOV_SAMPLE_PAIR, (unsigned long)&pair));
		ASSERT_EQ(0, end(self));
		EXPECT_TIMES(variant->task, &self->local, BEFORE_FUNCTION);
		EXPECT_TIMES(0, &self->local, INNER_FUNCTION);
		EXPECT_TIMES(variant->task, &self->local, AFTER_FUNCTION);
		EXPECT_TIMES(1, &self->local, OUTSIDE_FUNCTION);
		EXPECT_TIMES(2, &self->remote, INNER_FUNCTION);
	}
}

/* The buffer of the section is full, or its area is too small for a record. */
TEST_F_TIMEOUT(nested, section_has_no_room, 120)
{
	const struct kcov_sample_pair pair = {
		.inner = self->handles.worker,
		.context = variant->context,
		.flags = KCOV_SAMPLE_INNER,
	};
	int i;

	for_each_modes(i) {
		ASSERT_EQ(0, start(self, i, COVER_WORDS));
		trace_fill(&self->remote);
		ASSERT_EQ(1, kcov_ioctl(self->device, KCOV_SAMPLE_PAIR, (unsigned long)&pair));
		EXPECT_TRUE(trace_is_full(&self->remote))
			TH_LOG("modes %s and %s", mode_name(local_mode(i)),
			       mode_name(remote_mode(i)));
		trace_clear(&self->remote);
		ASSERT_EQ(1, kcov_ioctl(self->device, KCOV_SAMPLE_PAIR, (unsigned long)&pair));
		EXPECT_TIMES(1, &self->remote, INNER_FUNCTION);
		ASSERT_EQ(0, end(self));
		EXPECT_TIMES(variant->task ? 2 : 0, &self->local, BEFORE_FUNCTION);
		EXPECT_TIMES(0, &self->local, INNER_FUNCTION);
		EXPECT_TIMES(variant->task ? 2 : 0, &self->local, AFTER_FUNCTION);
		EXPECT_TIMES(2, &self->local, OUTSIDE_FUNCTION);

		/* Areas of softirqs have a size of their own. */
		if (!variant->task)
			continue;
		ASSERT_EQ(0, start(self, i, 1));
		ASSERT_EQ(1, kcov_ioctl(self->device, KCOV_SAMPLE_PAIR, (unsigned long)&pair));
		ASSERT_EQ(0, end(self));
		EXPECT_EQ(0, trace_count(&self->remote));
		EXPECT_TIMES(1, &self->local, BEFORE_FUNCTION);
		EXPECT_TIMES(0, &self->local, INNER_FUNCTION);
		EXPECT_TIMES(1, &self->local, AFTER_FUNCTION);
		EXPECT_TIMES(1, &self->local, OUTSIDE_FUNCTION);
	}
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
