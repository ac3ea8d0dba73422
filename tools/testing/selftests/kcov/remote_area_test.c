// SPDX-License-Identifier: GPL-2.0
/*
 * The areas that sections record into, and the merge of their records into the buffer: never past
 * its end, for all sizes and counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kcov_sample.h"
#include "kselftest_harness.h"
#include "background.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define DEVICE		"/dev/kcov-sample"
#define AREA_WORDS	16384
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5b0001)

FIXTURE(area) {
	uint64_t *area;
	int fd;
	int log;
};

FIXTURE_SETUP(area)
{
	const char *missing = traces_missing() ?: background_missing();

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_TRUE(symbol_exists(BACKGROUND_FUNCTION));
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(area)
{
	close(self->fd);
}

static long enable(FIXTURE_DATA(area) *self, uint32_t mode, uint32_t area_size)
{
	return kcov_remote_enable(self->fd, mode, area_size, HANDLE, 0);
}

/* Returns whether work in the background is recorded now. */
static bool seen(FIXTURE_DATA(area) *self)
{
	cover_reset(self->area);
	if (background_run())
		return false;
	return covers(self->area, BACKGROUND_FUNCTION);
}

/* Sections add to the existing records, and stop when the buffer is full. */
TEST_F(area, sections_fill_the_buffer)
{
	enum { SMALL = 512 };
	uint64_t *area, before = 0;
	int i, fd = kcov_open_mapped(SMALL, &area);

	ASSERT_EQ(0, kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, HANDLE, 0));
	ASSERT_EQ(0, background_run());
	ASSERT_LT(0, cover_count(area));
	ASSERT_GT(SMALL - 1, cover_count(area));
	for (i = 0; i < 500 && cover_count(area) < SMALL - 1; i++) {
		before = cover_count(area);
		ASSERT_EQ(0, background_run());
		ASSERT_LE(before, cover_count(area));
	}
	EXPECT_EQ(SMALL - 1, cover_count(area));
	ASSERT_EQ(0, background_run());
	EXPECT_EQ(SMALL - 1, cover_count(area));
	for (i = 1; i < SMALL; i++)
		ASSERT_TRUE(in_kernel_text(area[i] - 1));
	/* The user resets the count. */
	cover_reset(area);
	ASSERT_EQ(0, background_run());
	EXPECT_TRUE(covers(area, BACKGROUND_FUNCTION));
	close(fd);
}

/* Whole records only: the end of the buffer is too small for one more. */
TEST_F(area, comparisons_fill_the_buffer)
{
	enum { SMALL = 512, RECORDS = (SMALL - 1) / WORDS_PER_CMP };
	uint64_t *area;
	int i, fd = kcov_open_mapped(SMALL, &area);
	long ret;

	for (i = 1 + WORDS_PER_CMP * RECORDS; i < SMALL; i++)
		area[i] = 0x5a5a5a5a;
	ret = kcov_remote_enable(fd, KCOV_TRACE_CMP, AREA_WORDS, HANDLE, 0);
	if (ret == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_EQ(0, ret);
	for (i = 0; i < 500 && cover_count(area) < RECORDS; i++)
		ASSERT_EQ(0, background_run());
	ASSERT_EQ(0, background_run());
	EXPECT_EQ(RECORDS, cover_count(area));
	for (i = 0; i < RECORDS; i++)
		EXPECT_GE(7, area[1 + WORDS_PER_CMP * i]);
	for (i = 1 + WORDS_PER_CMP * RECORDS; i < SMALL; i++)
		EXPECT_EQ(0x5a5a5a5a, area[i])
			TH_LOG("word %d of %d was written", i, SMALL);
	close(fd);
}

/* Returns the number of records that work in the background leaves with areas of this size. */
static uint64_t records_with(FIXTURE_DATA(area) *self, uint32_t area_size)
{
	cover_reset(self->area);
	if (enable(self, KCOV_TRACE_PC, area_size) || background_run() ||
	    kcov_disable(self->fd))
		return 0;
	return cover_count(self->area);
}

/*
 * A section never has more records than fit into its area: only the worker's first steps are
 * recorded. They may be those of an interrupt.
 */
TEST_F(area, size_limits_a_section)
{
	uint64_t sections, count;

	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, AREA_WORDS));
	ASSERT_TRUE(seen(self));
	EXPECT_TRUE(covers(self->area, BACKGROUND_LATER_FUNCTION));
	ASSERT_EQ(0, kcov_disable(self->fd));
	/* The work always has the same number of sections; here each has space for one record. */
	sections = records_with(self, 2);
	ASSERT_LT(0, sections);
	count = records_with(self, 4);
	EXPECT_LT(sections, count);
	EXPECT_GE(3 * sections, count);
	EXPECT_FALSE(covers(self->area, BACKGROUND_LATER_FUNCTION));
}

FIXTURE(size) {
	uint64_t *area;
	int fd;
	int log;
};

FIXTURE_VARIANT(size) {
	uint32_t words;
};

FIXTURE_VARIANT_ADD(size, of_0_words) { .words = 0 };
FIXTURE_VARIANT_ADD(size, of_1_word) { .words = 1 };
FIXTURE_VARIANT_ADD(size, of_2_words) { .words = 2 };
FIXTURE_VARIANT_ADD(size, of_3_words) { .words = 3 };
FIXTURE_VARIANT_ADD(size, of_4_words) { .words = 4 };
FIXTURE_VARIANT_ADD(size, of_5_words) { .words = 5 };
FIXTURE_VARIANT_ADD(size, of_8_words) { .words = 8 };
FIXTURE_VARIANT_ADD(size, of_9_words) { .words = 9 };
FIXTURE_VARIANT_ADD(size, of_511_words) { .words = 511 };
FIXTURE_VARIANT_ADD(size, of_the_buffer) { .words = COVER_WORDS };
FIXTURE_VARIANT_ADD(size, of_32_gib) { .words = ~0U };

FIXTURE_SETUP(size)
{
	const char *missing = traces_missing() ?: background_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(size)
{
	close(self->fd);
}

/* Any size is accepted, and the kernel's log stays silent. */
TEST_F(size, is_harmless)
{
	char line[512];
	int mode, i;

	for (mode = KCOV_TRACE_PC; mode <= KCOV_TRACE_CMP; mode++) {
		/* The count takes a word. */
		uint32_t least = mode == KCOV_TRACE_PC ? 2 : 1 + WORDS_PER_CMP;
		long ret = kcov_remote_enable(self->fd, mode, variant->words, HANDLE, 0);

		if (mode == KCOV_TRACE_CMP && ret == -ENOTSUPP)
			continue;
		ASSERT_EQ(0, ret);
		cover_reset(self->area);
		for (i = 0; i < 5; i++)
			EXPECT_EQ(0, background_run());
		/* A record exists if it fitted. */
		EXPECT_EQ(variant->words >= least, cover_count(self->area) > 0);
		ASSERT_EQ(0, kcov_disable(self->fd));
	}
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	/* The next section works. */
	cover_reset(self->area);
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, AREA_WORDS, HANDLE, 0));
	EXPECT_EQ(0, background_run());
	EXPECT_TRUE(covers(self->area, BACKGROUND_FUNCTION));
}

/* Returns the number of records that fit into an area of this size. */
static uint64_t room(int mode, uint64_t words)
{
	if (!words)
		return 0;
	return mode == KCOV_TRACE_PC ? words - 1 : (words - 1) / WORDS_PER_CMP;
}

/*
 * No size is refused. An area holds exactly the number of records that fit, and those of a section
 * are kept. If sections nest, others inside it that no descriptor collects make it long; if not, it
 * has two records.
 */
TEST_F(size, is_honoured)
{
	struct kcov_sample_sections one = { KCOV_SAMPLE_PREEMPTIBLE, 1 };
	const uint64_t most = room(KCOV_TRACE_PC, variant->words);
	const bool nests = !statistics_missing();
	const uint64_t least = nests ? 2000 : 2;
	int device = open(DEVICE, O_RDWR | O_CLOEXEC);
	struct kcov_sample_handles handles;
	uint64_t count;

	if (device < 0)
		SKIP(return, "no " DEVICE " (CONFIG_SAMPLE_KCOV_MODULE)");
	ASSERT_EQ(0, ioctl(device, KCOV_SAMPLE_HANDLES, &handles));
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, variant->words, 0,
					handles.worker));
	cover_reset(self->area);
	ASSERT_EQ(0, nests ? kcov_ioctl(device, KCOV_SAMPLE_IN_A_ROW, least) :
		  kcov_ioctl(device, KCOV_SAMPLE_SECTIONS, (unsigned long)&one));
	count = cover_count(self->area);
	if (most <= least) {
		EXPECT_EQ(most, count);
	} else if (nests || variant->words < ~0U) {
		EXPECT_LE(least, count);
		EXPECT_GE(most, count);
	}
	/* In C, an area of 32 GiB cannot be allocated, and the section is lost. */
	ASSERT_EQ(0, kcov_disable(self->fd));
	close(device);
}

static long comparisons_with(FIXTURE_DATA(size) *self, uint32_t area_size)
{
	long ret = kcov_remote_enable(self->fd, KCOV_TRACE_CMP, area_size, HANDLE, 0);

	cover_reset(self->area);
	ret = ret ?: background_run() ?: kcov_disable(self->fd);
	return ret ?: (long)cover_count(self->area);
}

/*
 * The same for comparisons, whose records have four words. The work always has the same number of
 * sections. An interrupt may leave a comparison in a section that has none.
 */
TEST_F(size, is_honoured_for_comparisons)
{
	const long most = room(KCOV_TRACE_CMP, variant->words);
	/* In C, an area of 32 GiB cannot be allocated, and the sections are lost. */
	const bool is_lost = statistics_missing() && variant->words == ~0U;
	long one, count = -1;
	bool fits = false;
	int attempt;

	if (comparisons_missing())
		SKIP(return, "%s", comparisons_missing());
	for (attempt = 0; attempt < 10 && !fits; attempt++) {
		/* Each section has space for one record. */
		one = comparisons_with(self, 1 + WORDS_PER_CMP);
		ASSERT_LT(0, one);
		count = comparisons_with(self, variant->words);
		if (most <= 1)
			fits = count == most * one;
		else
			fits = is_lost || (one < count && count <= (double)most * one);
	}
	EXPECT_TRUE(fits) TH_LOG("%ld; %ld where sections have space for %ld", one, count, most);
}

/* Returns whether at most @mebibytes are in use, within 30 seconds. */
static bool memory_comes_down_to(unsigned long mebibytes)
{
	int i;

	for (i = 0; i < 300 && memory_vmalloc() > mebibytes; i++)
		usleep(100000);
	return memory_vmalloc() <= mebibytes;
}

/* Memory that sections used is freed some time after the last section, for all requested sizes. */
TEST_F_TIMEOUT(area, areas_are_given_back, 120)
{
	enum { ROUNDS = 8, MEBIBYTES = 16 };
	const unsigned long words = MEBIBYTES << 17, page_words = 512;
	unsigned long before, used = 0;
	uint64_t *area;
	int i, fd = kcov_open_mapped(words + ROUNDS * page_words, &area);

	ASSERT_LE(0, fd);
	before = memory_vmalloc();
	for (i = 0; i < ROUNDS; i++) {
		/* No size fits into the memory of the previous one. */
		ASSERT_EQ(0, kcov_remote_enable(fd, KCOV_TRACE_PC, words + i * page_words,
						HANDLE, 0));
		cover_reset(area);
		ASSERT_EQ(0, background_run());
		ASSERT_TRUE(covers(area, BACKGROUND_FUNCTION));
		used = memory_vmalloc();
		EXPECT_LT(before + MEBIBYTES / 2, used);
		ASSERT_EQ(0, kcov_disable(fd));
	}
	EXPECT_TRUE(memory_comes_down_to(before + MEBIBYTES / 2))
		TH_LOG("from %lu to %lu and then %lu MiB", before, used, memory_vmalloc());
	close(fd);
}

FIXTURE(forged) {
	uint64_t *area;
	uint64_t *neighbours[4];
	int fd;
	int log;
};

FIXTURE_VARIANT(forged) {
	uint64_t count;
};

#define WORDS 4096UL
#define FORGED(name, value) FIXTURE_VARIANT_ADD(forged, name) { .count = (value) }

FORGED(size_minus_1, WORDS - 1);
FORGED(size, WORDS);
FORGED(two_to_58_minus_1, (1ULL << 58) - 1);
FORGED(two_to_58, 1ULL << 58);
FORGED(two_to_59_minus_1, (1ULL << 59) - 1);
FORGED(two_to_59, 1ULL << 59);
FORGED(two_to_61, 1ULL << 61);
FORGED(two_to_61_minus_1, (1ULL << 61) - 1);
FORGED(two_to_63, 1ULL << 63);
FORGED(minus_1, ~0ULL);

FIXTURE_SETUP(forged)
{
	const char *missing = traces_missing() ?: background_missing();
	int i, fd;

	if (missing)
		SKIP(return, "%s", missing);
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	for (i = 0; i < 5; i++) {
		uint64_t **area = i == 2 ? &self->area : &self->neighbours[i - (i > 2)];

		fd = kcov_open_mapped(WORDS, area);
		ASSERT_LE(0, fd);
		memset(*area, 0x5a, WORDS * sizeof(uint64_t));
		if (i == 2)
			self->fd = fd;
	}
}

FIXTURE_TEARDOWN(forged)
{
}

/* The records of a section are merged into a buffer whose count leaves no space. */
TEST_F(forged, nothing_is_written)
{
	char line[256];
	size_t i, j;
	int mode;

	for (mode = KCOV_TRACE_PC; mode <= KCOV_TRACE_CMP; mode++) {
		long ret = kcov_remote_enable(self->fd, mode, AREA_WORDS, HANDLE, 0);

		if (ret == -ENOTSUPP)
			continue;
		ASSERT_EQ(0, ret);
		cover_reset(self->area);
		ASSERT_EQ(0, background_run());
		ASSERT_LT(0, cover_count(self->area));
		memset(self->area, 0x5a, WORDS * sizeof(uint64_t));
		self->area[0] = variant->count;
		ASSERT_EQ(0, background_run());
		EXPECT_EQ(variant->count, cover_count(self->area));
		for (i = 1; i < WORDS; i++)
			ASSERT_EQ(0x5a5a5a5a5a5a5a5a, self->area[i]);
		for (j = 0; j < ARRAY_SIZE(self->neighbours); j++)
			for (i = 0; i < WORDS; i++)
				ASSERT_EQ(0x5a5a5a5a5a5a5a5a, self->neighbours[j][i]);
		ASSERT_EQ(0, kcov_disable(self->fd));
	}
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
