// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of areas: descriptors that request areas of different sizes, the size of areas, and
 * their lifetime.
 */
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "background.h"
#include "divided.h"
#include "kcov.h"
#include "sample.h"
#include "symbols.h"

#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5e0001)
#define WORKER_FUNCTION	"kcov_sample_worker_code"

FIXTURE(pool) {
	struct kcov_sample_handles handles;
	struct worker worker;
	int device;
	int log;
};

FIXTURE_SETUP(pool)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(pool)
{
	char line[256];

	worker_end(&self->worker);
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	close(self->device);
}

static long work_in_background(void *unused)
{
	return background_run();
}

/* Sections of two descriptors take turns, each with the size that its descriptor requested. */
TEST_F(pool, two_sizes_at_once)
{
	struct kcov_sample_sections one = { KCOV_SAMPLE_PREEMPTIBLE, 1 };
	struct kcov_remote_arg large = { .area_size = 16384, .common_handle = HANDLE };
	const char *missing = background_missing() ?: code_missing();
	uint64_t *short_trace, *whole;
	int i, small_fd, large_fd;

	if (missing)
		SKIP(return, "%s", missing);
	small_fd = kcov_open_mapped(COVER_WORDS, &short_trace);
	large_fd = kcov_open_mapped(COVER_WORDS, &whole);
	ASSERT_LE(0, small_fd);
	ASSERT_LE(0, large_fd);
	ASSERT_EQ(0, kcov_remote_enable(small_fd, KCOV_TRACE_PC, 2, 0, self->handles.worker));
	ASSERT_EQ(0, worker_ioctl(&self->worker, large_fd, KCOV_REMOTE_ENABLE,
				  (unsigned long)&large));
	for (i = 0; i < 20; i++) {
		cover_reset(short_trace);
		cover_reset(whole);
		ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_SECTIONS, (unsigned long)&one));
		ASSERT_EQ(0, worker_run(&self->worker, work_in_background, NULL));
		EXPECT_EQ(1, cover_count(short_trace));
		EXPECT_TRUE(covers(whole, BACKGROUND_LATER_FUNCTION));
	}
	close(large_fd);
	close(small_fd);
}

struct sizes {
	uint32_t outer, inner;
};

/*
 * One section runs inside another, for another descriptor: both have an area at the same time, each
 * of the size that its own descriptor requested.
 */
TEST_F(pool, two_sizes_inside_each_other)
{
	enum { TIMES = 1000, WIDE = 16384 };
	static const struct sizes sizes[] = {
		{ 2, WIDE }, { 100, WIDE }, { WIDE, 1 }, { WIDE, 2 }, { 2, 2 }, { 3, 1 },
	};
	uint64_t *outer, *inner;
	int outer_fd, inner_fd;
	size_t i;

	if (statistics_missing())
		SKIP(return, "this implementation warns about it");
	outer_fd = kcov_open_mapped(COVER_WORDS, &outer);
	inner_fd = kcov_open_mapped(COVER_WORDS, &inner);
	ASSERT_LE(0, outer_fd);
	ASSERT_LE(0, inner_fd);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct {
			struct kcov_remote_arg arg;
			uint64_t handle;
		} request = {
			.arg.area_size = sizes[i].inner,
			.arg.num_handles = 1,
			.handle = self->handles.softirq,
		};

		ASSERT_EQ(0, kcov_remote_enable(outer_fd, KCOV_TRACE_PC, sizes[i].outer, 0,
						self->handles.worker));
		ASSERT_EQ(0, worker_ioctl(&self->worker, inner_fd, KCOV_REMOTE_ENABLE,
					  (unsigned long)&request));
		cover_reset(outer);
		cover_reset(inner);
		ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_IN_A_ROW, TIMES));
		/* The outer section goes on after each inner one, and has a record of each. */
		if (sizes[i].outer == WIDE) {
			EXPECT_LT(0, cover_count(outer));
		} else {
			EXPECT_EQ(sizes[i].outer - 1, cover_count(outer));
		}
		/* Each inner section has a record, unless its area is too small for one. */
		if (sizes[i].inner == 1) {
			EXPECT_EQ(0, cover_count(inner));
		} else if (sizes[i].inner == 2) {
			EXPECT_EQ(TIMES, cover_count(inner));
		} else {
			EXPECT_LE(TIMES, cover_count(inner));
		}
		ASSERT_EQ(0, worker_ioctl(&self->worker, inner_fd, KCOV_DISABLE, 0));
		ASSERT_EQ(0, kcov_disable(outer_fd));
	}
	close(inner_fd);
	close(outer_fd);
}

/* Returns whether @bytes of areas are given back within 30 seconds. */
static bool given_back(uint64_t bytes)
{
	uint64_t before = statistic("area_bytes");
	int i;

	for (i = 0; i < 300; i++) {
		if (statistic("area_bytes") + bytes <= before)
			return true;
		usleep(100000);
	}
	return false;
}

/*
 * Returns whether the areas of earlier tests, which are kept for some seconds, are gone: all that
 * are left have the size of those for softirqs. 30 seconds are enough.
 */
static bool earlier_areas_are_gone(void)
{
	uint64_t size = softirq_area_bytes();
	int i;

	for (i = 0; i < 300; i++) {
		if (statistic("area_bytes") == statistic("areas") * size)
			return true;
		usleep(100000);
	}
	return false;
}

/*
 * A task that disables and enables again, as a fuzzer does for each program, finds the existing
 * areas. After the last disable, their memory is freed.
 */
TEST_F_TIMEOUT(pool, areas_stay_for_a_while, 120)
{
	enum { AREA_WORDS = 256 << 10, ROUNDS = 20 };
	uint64_t *area, areas = 0, bytes = 0;
	int i, fd;

	if (statistics_missing())
		SKIP(return, "%s", statistics_missing());
	/*
	 * If the CPU kept its largest number of areas, an area of this test would be freed at once.
	 */
	ASSERT_TRUE(earlier_areas_are_gone());
	fd = kcov_open_mapped(AREA_WORDS, &area);
	ASSERT_LE(0, fd);
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, 0,
						self->handles.worker));
		cover_reset(area);
		ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_WORKER, 0));
		EXPECT_TRUE(covers(area, WORKER_FUNCTION));
		if (!i) {
			areas = statistic("areas");
			bytes = statistic("area_bytes");
		}
		ASSERT_EQ(areas, statistic("areas"));
		ASSERT_EQ(bytes, statistic("area_bytes"));
		ASSERT_EQ(0, kcov_disable(fd));
		/* All rounds together take longer than areas are kept without a user. */
		usleep(500000);
		ASSERT_EQ(areas, statistic("areas"));
		ASSERT_EQ(bytes, statistic("area_bytes"));
	}
	EXPECT_TRUE(given_back(AREA_WORDS * sizeof(uint64_t)))
		TH_LOG("of %llu bytes, %llu are left; %llu handles are collected",
		       (unsigned long long)bytes, (unsigned long long)statistic("area_bytes"),
		       (unsigned long long)statistic("handles"));
	close(fd);
}

FIXTURE(largest) {
	struct kcov_sample_handles handles;
	int device;
	int log;
};

FIXTURE_VARIANT(largest) {
	uint32_t mode;
};

FIXTURE_VARIANT_ADD(largest, pc) { .mode = KCOV_TRACE_PC };
FIXTURE_VARIANT_ADD(largest, cmp) { .mode = KCOV_TRACE_CMP };
FIXTURE_VARIANT_ADD(largest, unique) { .mode = KCOV_TRACE_UNIQUE_PC };
FIXTURE_VARIANT_ADD(largest, both) { .mode = KCOV_TRACE_PC_CMP };

FIXTURE_SETUP(largest)
{
	const char *missing;

	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	missing = statistics_missing() ?: mode_missing(variant->mode);
	if (missing)
		SKIP(return, "%s", missing);
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
}

FIXTURE_TEARDOWN(largest)
{
	char line[256];

	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	close(self->device);
}

/* Returns how many bytes of areas may be added for a section of such a descriptor. */
static int64_t limit_of(uint32_t mode, unsigned long words)
{
	int64_t bytes = words * sizeof(uint64_t);

	/* In the other modes, some of the records of an area never get into the buffer. */
	if (mode > KCOV_TRACE_CMP && bytes < (512 << 10))
		bytes = 512 << 10;
	return bytes + 2 * sysconf(_SC_PAGESIZE);
}

/* Returns the number of bytes by which all areas have grown with a section, or -1. */
static int64_t growth(FIXTURE_DATA(largest) *self, uint32_t mode, unsigned long words,
		      uint32_t area_size)
{
	uint64_t before = statistic("area_bytes");
	int64_t grown = -1;
	int fd = kcov_open();

	if (!kcov_init(fd, words) &&
	    !kcov_remote_divided(fd, mode, words / 2, area_size, 0, self->handles.worker) &&
	    !kcov_ioctl(self->device, KCOV_SAMPLE_WORKER, 0) &&
	    !fdinfo(fd, "kcov-lost-sections")) {
		grown = statistic("area_bytes") - before;
		/* Smaller areas may have been freed. */
		if (grown < 0)
			grown = 0;
	}
	kcov_disable(fd);
	close(fd);
	return grown;
}

/* No area is much larger than the buffer, whatever the request. */
TEST_F(largest, area_is_bounded)
{
	static const unsigned long words[] = { 512, COVER_WORDS, 1UL << 20 };
	static const uint32_t area_sizes[] = { 16U << 20, ~0U };
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		for (j = 0; j < ARRAY_SIZE(area_sizes); j++) {
			int64_t grown = growth(self, variant->mode, words[i], area_sizes[j]);

			EXPECT_LE(0, grown);
			EXPECT_GE(limit_of(variant->mode, words[i]), grown)
				TH_LOG("buffer of %lu words, area_size %u", words[i],
				       area_sizes[j]);
		}
	}
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
