// SPDX-License-Identifier: GPL-2.0
/*
 * Sections on top of a task that records itself: in the task, and in a softirq. In every mode of
 * the task and of the section, each descriptor has its own records, and the task's recording goes
 * on afterwards.
 */
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
	uint64_t lost;		/* sections of @other that were lost before the last row */
	bool enabled;		/* whether @local and @remote are */
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
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
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

static uint64_t lost_sections(FIXTURE_DATA(nested) *self)
{
	return statistics_missing() ? 0 : fdinfo(self->other.fd, "kcov-lost-sections");
}

/* Pairs in a row, and how they are recorded. */
struct row {
	FIXTURE_DATA(nested) *self;
	const struct kcov_sample_pair *pair;
	int modes;
	uint32_t area_size;
	/* The buffer that shall have no room, or NULL. */
	struct trace *full;
};

static long end(FIXTURE_DATA(nested) *self)
{
	return kcov_disable(self->local.fd) ?: kcov_disable(self->remote.fd);
}

/* Enables both descriptors, with empty buffers. */
static long enable_both(FIXTURE_DATA(nested) *self, const struct row *row)
{
	long ret;

	/* After a row that was not in the calling thread or on top of it. */
	if (self->enabled)
		end(self);
	self->enabled = true;
	self->lost = lost_sections(self);
	trace_clear(&self->other);
	trace_clear(&self->remote);
	ret = trace_collect(&self->remote, remote_mode(row->modes), row->area_size, 0,
			    self->handles.worker) ?:
	      trace_enable(&self->local, local_mode(row->modes));
	if (row->full)
		trace_fill(row->full);
	return ret;
}

static long prepare(void *data)
{
	const struct row *row = data;

	return enable_both(row->self, row);
}

/* Returns 1 when so many pairs were in the calling thread or on top of it. */
static long run(const struct row *row, int number)
{
	FIXTURE_DATA(nested) *self = row->self;
	long ret = sample_pairs(self->device, row->pair, number, prepare, (void *)row);

	self->enabled = false;
	return ret == 1 ? end(self) ?: 1 : ret;
}

#define EXPECT_TIMES(times, trace, function)						\
	EXPECT_RECORDED(times, trace, function, "modes %s and %s",			\
			mode_name(self->local.mode), mode_name(self->remote.mode))

/* That each descriptor has what is its own of so many pairs with an inner section. */
#define EXPECT_LOCAL(times)								\
do {											\
	EXPECT_TIMES(variant->task ? (times) : 0, &self->local, BEFORE_FUNCTION);	\
	EXPECT_TIMES(0, &self->local, INNER_FUNCTION);					\
	EXPECT_TIMES(variant->task ? (times) : 0, &self->local, AFTER_FUNCTION);	\
	EXPECT_TIMES(times, &self->local, OUTSIDE_FUNCTION);				\
} while (0)

#define EXPECT_REMOTE(times)								\
do {											\
	EXPECT_TIMES(0, &self->remote, BEFORE_FUNCTION);				\
	EXPECT_TIMES(times, &self->remote, INNER_FUNCTION);				\
	EXPECT_TIMES(0, &self->remote, AFTER_FUNCTION);					\
	EXPECT_TIMES(0, &self->remote, OUTSIDE_FUNCTION);				\
} while (0)

TEST_F_TIMEOUT(nested, goes_on_afterwards, 120)
{
	const struct kcov_sample_pair pair = {
		.inner = self->handles.worker,
		.context = variant->context,
		.flags = KCOV_SAMPLE_INNER,
	};
	int i, pairs = 0;

	for_each_modes(i) {
		const struct row row = { self, &pair, i, COVER_WORDS };

		ASSERT_EQ(1, run(&row, RUNS));
		EXPECT_LOCAL(RUNS);
		EXPECT_REMOTE(RUNS);
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
		const struct row row = { self, &pair, i, COVER_WORDS };

		ASSERT_EQ(1, run(&row, 1));
		EXPECT_TIMES(variant->task, &self->local, BEFORE_FUNCTION);
		EXPECT_TIMES(variant->task, &self->local, INNER_FUNCTION);
		EXPECT_TIMES(variant->task, &self->local, AFTER_FUNCTION);
		EXPECT_TIMES(1, &self->local, OUTSIDE_FUNCTION);
		EXPECT_EQ(0, trace_count(&self->remote));
	}
}

/*
 * A section inside the section: of the same handle, then all is the one descriptor's,
 * or of another descriptor's.  Where softirqs have one area, that one is lost, and its
 * code is the outer section's.
 */
static void expect_section_inside(struct __test_metadata *_metadata, FIXTURE_DATA(nested) *self,
				  const FIXTURE_VARIANT(nested) *variant, bool another)
{
	const struct kcov_sample_pair pair = {
		.outer = self->handles.worker,
		.inner = another ? self->handles.softirq : self->handles.worker,
		.context = variant->context,
		.flags = KCOV_SAMPLE_OUTER | KCOV_SAMPLE_INNER,
	};
	int i;

	for_each_modes(i) {
		struct collection collection = {
			&self->other, local_mode(i), self->handles.softirq,
		};
		const struct row row = { self, &pair, i, COVER_WORDS };
		uint64_t lost;

		ASSERT_EQ(0, worker_run(&self->worker, collection_start, &collection));
		ASSERT_EQ(1, run(&row, 1));
		ASSERT_EQ(0, worker_ioctl(&self->worker, self->other.fd, KCOV_DISABLE, 0));
		lost = lost_sections(self) - self->lost;
		/* Enabling has prepared an area for a task that may not sleep. */
		if (!another || variant->context == KCOV_SAMPLE_PREEMPTIBLE) {
			EXPECT_EQ(0, lost);
		}
		ASSERT_GE(1, lost);
		EXPECT_TIMES(0, &self->local, BEFORE_FUNCTION);
		EXPECT_TIMES(0, &self->local, INNER_FUNCTION);
		EXPECT_TIMES(0, &self->local, AFTER_FUNCTION);
		EXPECT_TIMES(1, &self->local, OUTSIDE_FUNCTION);
		EXPECT_TIMES(1, &self->remote, BEFORE_FUNCTION);
		EXPECT_TIMES(another ? lost : 1, &self->remote, INNER_FUNCTION);
		EXPECT_TIMES(1, &self->remote, AFTER_FUNCTION);
		EXPECT_TIMES(0, &self->remote, OUTSIDE_FUNCTION);
		EXPECT_TIMES(0, &self->other, BEFORE_FUNCTION);
		EXPECT_TIMES(another ? 1 - lost : 0, &self->other, INNER_FUNCTION);
		EXPECT_TIMES(0, &self->other, AFTER_FUNCTION);
		if (remote_mode(i) == KCOV_TRACE_UNIQUE_PC) {
			EXPECT_TRUE(trace_set_agrees(&self->remote));
		}
	}
}

TEST_F_TIMEOUT(nested, same_handle_inside, 120)
{
	if (statistics_missing())
		SKIP(return, "this implementation warns about it");
	expect_section_inside(_metadata, self, variant, false);
}

TEST_F_TIMEOUT(nested, another_handle_inside, 120)
{
	if (statistics_missing())
		SKIP(return, "this implementation warns about it");
	expect_section_inside(_metadata, self, variant, true);
}

/* A buffer that is full stays so, and the other one gets its records. Both do with room. */
static void expect_no_room(struct __test_metadata *_metadata, FIXTURE_DATA(nested) *self,
			   const FIXTURE_VARIANT(nested) *variant, int modes, struct trace *full)
{
	const struct kcov_sample_pair pair = {
		.inner = self->handles.worker,
		.context = variant->context,
		.flags = KCOV_SAMPLE_INNER,
	};
	struct row row = { self, &pair, modes, COVER_WORDS, full };

	ASSERT_EQ(1, run(&row, 1));
	EXPECT_TRUE(trace_is_full(full))
		TH_LOG("modes %s and %s", mode_name(self->local.mode),
		       mode_name(self->remote.mode));
	if (full == &self->local) {
		EXPECT_REMOTE(1);
	} else {
		EXPECT_LOCAL(1);
	}
	row.full = NULL;
	ASSERT_EQ(1, run(&row, 1));
	EXPECT_LOCAL(1);
	EXPECT_REMOTE(1);
}

TEST_F_TIMEOUT(nested, task_has_no_room, 120)
{
	int i;

	for_each_modes(i)
		expect_no_room(_metadata, self, variant, i, &self->local);
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
		const struct row row = { self, &pair, i, 1 };

		expect_no_room(_metadata, self, variant, i, &self->remote);
		/* Areas of softirqs have a size of their own. */
		if (!variant->task)
			continue;
		ASSERT_EQ(1, run(&row, 1));
		EXPECT_EQ(0, trace_count(&self->remote));
		EXPECT_LOCAL(1);
	}
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
