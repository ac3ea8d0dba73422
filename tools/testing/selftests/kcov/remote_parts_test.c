// SPDX-License-Identifier: GPL-2.0
/*
 * The parts of an area: the number of records that fit in a section of a softirq, and the division
 * of areas in the modes that have two kinds of records or record each PC once.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "background.h"
#include "divided.h"
#include "kcov.h"
#include "sample.h"
#include "symbols.h"

#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5f0001)
#define DROPPED		"kcov-dropped-records"
/* More than the work in the background has. */
#define MOST_SECTIONS	256

FIXTURE(softirq) {
	struct kcov_sample_handles handles;
	unsigned long words;	/* of an area */
	unsigned long front;	/* of the buffer, in the mode that divides it */
	uint64_t *area;
	int device;
	int fd;
};

FIXTURE_VARIANT(softirq) {
	uint32_t mode;
};

FIXTURE_VARIANT_ADD(softirq, pc) { .mode = KCOV_TRACE_PC };
FIXTURE_VARIANT_ADD(softirq, cmp) { .mode = KCOV_TRACE_CMP };
FIXTURE_VARIANT_ADD(softirq, both) { .mode = KCOV_TRACE_PC_CMP };

FIXTURE_SETUP(softirq)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	if (mode_missing(variant->mode))
		SKIP(return, "%s", mode_missing(variant->mode));
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
	self->words = softirq_area_words();
	/* Whole pages, and larger than an area for each kind of record. */
	self->front = (self->words + 1023) / 512 * 512;
	self->fd = kcov_open_mapped(2 * self->front, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(softirq)
{
	close(self->fd);
	close(self->device);
}

/* The section runs in a loop until it is released, for ten seconds at most. */
static void *hold(void *device)
{
	run_on(sysconf(_SC_NPROCESSORS_ONLN) - 1);
	return (void *)kcov_ioctl(*(int *)device, KCOV_SAMPLE_HOLD, 0);
}

static long section_of(int device, unsigned int milliseconds)
{
	pthread_t thread;
	void *result;
	int i;

	run_on(0);
	if (pthread_create(&thread, NULL, hold, &device))
		return -EAGAIN;
	/* With one CPU, this thread continues when the section has ended. */
	for (i = 0; i < 1000 && ioctl(device, KCOV_SAMPLE_LET_GO, 0) == 0; i++)
		usleep(10000);
	usleep(1000 * milliseconds);
	ioctl(device, KCOV_SAMPLE_LET_GO, 1);
	pthread_join(thread, &result);
	return (long)result;
}

/*
 * A section of a softirq has CONFIG_KCOV_IRQ_AREA_SIZE words, whatever the descriptor requests.
 * They are filled to the last one, and the rest is lost. With both kinds of records, each kind has
 * half of them.
 */
TEST_F_TIMEOUT(softirq, area_has_its_configured_size, 120)
{
	const bool both = variant->mode == KCOV_TRACE_PC_CMP;
	const uint64_t part = both ? self->words / 2 : self->words;
	const uint64_t pcs = variant->mode == KCOV_TRACE_CMP ? 0 : part - 1;
	const uint64_t comparisons = variant->mode == KCOV_TRACE_PC ? 0 :
		(part - 1) / WORDS_PER_CMP;
	const uint64_t first = pcs ?: comparisons;
	unsigned int milliseconds;

	ASSERT_EQ(0, kcov_remote_divided(self->fd, variant->mode, self->front, 16, 0,
					 self->handles.softirq));
	/* The section has to be as long as it takes to fill the area, on any machine. */
	for (milliseconds = 100; milliseconds <= 10000; milliseconds *= 3) {
		memset(self->area, 0, 2 * self->front * sizeof(*self->area));
		ASSERT_EQ(0, section_of(self->device, milliseconds));
		if (cover_count(self->area) >= first &&
		    (!both || cover_count(self->area + self->front) >= comparisons))
			break;
	}
	EXPECT_EQ(first, cover_count(self->area));
	if (both) {
		EXPECT_EQ(comparisons, cover_count(self->area + self->front));
	}
	if (!statistics_missing()) {
		EXPECT_LT(0, fdinfo(self->fd, DROPPED));
	}
	EXPECT_EQ(0, kcov_disable(self->fd));
}

FIXTURE(task) {
	struct kcov_sample_handles handles;
	unsigned long front, words;
	uint64_t *area;
	uint64_t *back;		/* after the front */
	int device;
	int fd;
};

FIXTURE_SETUP(task)
{
	const char *missing = traces_missing() ?: background_missing() ?:
		unique_missing() ?: both_missing() ?: sample_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
	self->front = set_words();
	self->words = self->front + COVER_WORDS;
	self->fd = kcov_open_mapped(self->words, &self->area);
	ASSERT_LE(0, self->fd);
	self->back = self->area + self->front;
}

FIXTURE_TEARDOWN(task)
{
	close(self->fd);
	close(self->device);
}

/* In a section of a task, the first half of the area is for PCs. */
TEST_F(task, half_is_for_pcs)
{
	static const uint32_t sizes[] = { 2, 3, 4, 5, 100, 101, 1000 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(0, kcov_remote_divided(self->fd, KCOV_TRACE_PC_CMP, self->front,
						 sizes[i], 0, self->handles.worker));
		cover_reset(self->area);
		cover_reset(self->back);
		ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_IN_A_ROW, 2000));
		EXPECT_EQ(sizes[i] / 2 - 1, cover_count(self->area))
			TH_LOG("%u words", sizes[i]);
		EXPECT_LT(0, fdinfo(self->fd, DROPPED));
		ASSERT_EQ(0, kcov_disable(self->fd));
	}
}

/* Runs the work in the background, which has the same number of sections each time. */
static long work(FIXTURE_DATA(task) *self, uint32_t mode, uint32_t front, uint32_t area_size)
{
	long ret;

	memset(self->area, 0, self->words * sizeof(*self->area));
	ret = kcov_remote_divided(self->fd, mode, front, area_size, HANDLE, 0);
	return ret ?: background_run() ?: kcov_disable(self->fd);
}

/*
 * The other half is for comparisons: each section has as many as in the plain mode with an area of
 * half the size.
 */
TEST_F(task, half_is_for_comparisons)
{
	static const uint32_t sizes[] = { 2, 8, 10, 16, 18, 33, 34, 50, 200 };
	uint64_t plain = 0, half = 0;
	size_t i;
	int attempt;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t rest = sizes[i] - sizes[i] / 2;

		/* An interrupt may leave a comparison in a section that has few. */
		for (attempt = 0; attempt < 20; attempt++) {
			ASSERT_EQ(0, work(self, KCOV_TRACE_CMP, 0, rest));
			plain = cover_count(self->area);
			ASSERT_EQ(0, work(self, KCOV_TRACE_PC_CMP, self->front, sizes[i]));
			half = cover_count(self->back);
			if (half == plain)
				break;
		}
		EXPECT_EQ(plain, half)
			TH_LOG("%u words", sizes[i]);
		EXPECT_EQ(rest >= 1 + WORDS_PER_CMP, half > 0);
	}
}

/* Returns whether @pc is among the PCs of a trace. */
static bool contains(const uint64_t *trace, uint64_t pc)
{
	uint64_t i;

	for (i = 1; i <= cover_count(trace); i++)
		if (trace[i] == pc)
			return true;
	return false;
}

/*
 * Returns the number of records from the start of the section that runs BACKGROUND_FUNCTION to the
 * start of the next one. @starts has the first PCs of the sections.
 */
static uint64_t section_length(const uint64_t *trace, const uint64_t *starts)
{
	uint64_t i, count = cover_count(trace), length = 0;

	for (i = 1; i <= count; i++) {
		uint64_t one[2] = { 1, trace[i] };

		if (length && contains(starts, trace[i]))
			break;
		if (length || (contains(starts, trace[i]) && covers(one, BACKGROUND_FUNCTION)))
			length++;
	}
	return length;
}

/*
 * Returns the length of that section in an area of the given size, each PC once. @starts becomes a
 * trace with the first PC of each section.
 */
static uint64_t section_of_work(FIXTURE_DATA(task) *self, uint32_t area_size,
				uint64_t starts[MOST_SECTIONS])
{
	if (work(self, KCOV_TRACE_PC, 0, 2) || cover_count(self->area) >= MOST_SECTIONS)
		return 0;
	memcpy(starts, self->area, MOST_SECTIONS * sizeof(*starts));
	/* A set of one word has bits for very few PCs. */
	if (work(self, KCOV_TRACE_UNIQUE_PC, 1, area_size))
		return 0;
	return section_length(self->area + 1, starts);
}

/*
 * To record each PC once, an eighth of the area is for the filter. In a section that is long
 * enough, the rest except for the count is PCs.
 */
TEST_F(task, eighth_is_for_the_filter)
{
	static const uint32_t sizes[] = { 8, 16, 32, 64, 128 };
	static uint64_t starts[MOST_SECTIONS];
	uint64_t length = 0, whole;
	size_t i;
	int attempt;

	whole = section_of_work(self, COVER_WORDS, starts);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		const uint64_t wanted = sizes[i] - sizes[i] / 8 - 1;

		/* The length of the section depends on the compiler. */
		if (i > 1 && whole < wanted + 4)
			break;
		/* The first record of a section may be that of an interrupt. */
		for (attempt = 0; attempt < 20; attempt++) {
			length = section_of_work(self, sizes[i], starts);
			if (length == wanted)
				break;
		}
		EXPECT_EQ(wanted, length)
			TH_LOG("%u words", sizes[i]);
		EXPECT_LT(0, fdinfo(self->fd, DROPPED));
	}
}

/*
 * A PC that does not fit into the buffer does not count as recorded: the next section records it.
 */
TEST_F(task, without_room_not_seen)
{
	enum { ROOM = 3 };
	uint64_t i, *first = self->area + self->words - 1 - ROOM, recorded;
	const unsigned long front = self->words - 1 - ROOM;

	memset(self->area, 0, self->words * sizeof(*self->area));
	ASSERT_EQ(0, kcov_remote_divided(self->fd, KCOV_TRACE_UNIQUE_PC, front, COVER_WORDS,
					 HANDLE, 0));
	ASSERT_EQ(0, background_run());
	ASSERT_EQ(ROOM, cover_count(first));
	ASSERT_LT(0, fdinfo(self->fd, DROPPED));
	/* The set has exactly the PCs of the trace. */
	EXPECT_EQ(ROOM, set_size(self->area, front));
	for (i = 1; i <= ROOM; i++)
		EXPECT_TRUE(set_has(self->area, set_position(first[i])));

	/* Some space is freed each time, until all PCs have been recorded. */
	for (i = 0; i < 2000; i++) {
		cover_reset(first);
		ASSERT_EQ(0, background_run());
		recorded = set_size(self->area, front);
		ASSERT_GE(ROOM, cover_count(first));
		if (cover_count(first) < ROOM)
			break;
		ASSERT_EQ(0, recorded % ROOM);
	}
	EXPECT_LT(10, i);
	EXPECT_GT(2000, i);
	EXPECT_EQ(ROOM * (i + 1) + cover_count(first), set_size(self->area, front));
	ASSERT_EQ(0, kcov_disable(self->fd));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
