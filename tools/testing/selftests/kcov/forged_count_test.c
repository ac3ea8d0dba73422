// SPDX-License-Identifier: GPL-2.0
/*
 * Users may write the count. Whatever its value, only the buffer is written, and the kernel keeps
 * working.
 *
 * Three things are checked: the buffers that were allocated before and after it, every word of the
 * buffer itself, and the kernel's log. A write to memory that is not mapped panics the kernel, and
 * so ends the whole run.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"

#define WORDS		1024UL
#define RECORDS		((WORDS - 1) / WORDS_PER_CMP)
#define NEIGHBOURS	8
#define PATTERN(i)	(0x5a5a5a5a00000000 + (i))

FIXTURE(count) {
	uint64_t *areas[2 * NEIGHBOURS + 1];
	uint64_t *area;
	int fd;
	int log;
};

FIXTURE_VARIANT(count) {
	uint64_t count;
};

#define COUNT(name, value) FIXTURE_VARIANT_ADD(count, name) { .count = (value) }

COUNT(size_minus_1, WORDS - 1);
COUNT(size, WORDS);
COUNT(size_plus_1, WORDS + 1);
COUNT(records, RECORDS);
COUNT(records_plus_1, RECORDS + 1);
COUNT(bytes, WORDS * 8);
COUNT(two_to_31, 1ULL << 31);
COUNT(two_to_32_minus_1, (1ULL << 32) - 1);
COUNT(two_to_32, 1ULL << 32);
COUNT(two_to_32_plus_3, (1ULL << 32) + 3);
/* Times 32, a record's bytes, this wraps to -32, then 0, then 32. */
COUNT(two_to_59_minus_1, (1ULL << 59) - 1);
COUNT(two_to_59, 1ULL << 59);
COUNT(two_to_59_plus_1, (1ULL << 59) + 1);
COUNT(two_to_58_minus_1, (1ULL << 58) - 1);
COUNT(two_to_58, 1ULL << 58);
/* Times 8, a word's bytes. */
COUNT(two_to_61_minus_1, (1ULL << 61) - 1);
COUNT(two_to_61, 1ULL << 61);
COUNT(two_to_61_plus_3, (1ULL << 61) + 3);
/* Times 4, a record's words. */
COUNT(two_to_62_minus_1, (1ULL << 62) - 1);
COUNT(two_to_62, 1ULL << 62);
COUNT(two_to_63_minus_1, (1ULL << 63) - 1);
COUNT(two_to_63, 1ULL << 63);
COUNT(two_to_63_plus_3, (1ULL << 63) + 3);
COUNT(minus_2, ~1ULL);
COUNT(minus_1, ~0ULL);

FIXTURE_SETUP(count)
{
	size_t i, j;
	int fds[ARRAY_SIZE(self->areas)];

	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	for (i = 0; i < ARRAY_SIZE(self->areas); i++) {
		fds[i] = kcov_open_mapped(WORDS, &self->areas[i]);
		ASSERT_LE(0, fds[i]);
		for (j = 0; j < WORDS; j++)
			self->areas[i][j] = PATTERN(j);
	}
	self->fd = fds[NEIGHBOURS];
	self->area = self->areas[NEIGHBOURS];
}

FIXTURE_TEARDOWN(count)
{
}

/* Returns the name of the first thing that has changed, or NULL. */
static const char *damage(FIXTURE_DATA(count) *self)
{
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(self->areas); i++)
		for (j = 0; j < WORDS; j++) {
			uint64_t *area = self->areas[i];

			if (area == self->area && !j)
				continue;
			if (area[j] != PATTERN(j))
				return area == self->area ? "the buffer" : "another buffer";
		}
	return NULL;
}

static bool collects(FIXTURE_DATA(count) *self)
{
	uint64_t before;

	self->area[0] = 0;
	mark_one();
	before = cover_count(self->area);
	return before && before < WORDS;
}

TEST_F(count, pc)
{
	char line[256];

	/* With an honest count, this thread's calls are recorded. */
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	ASSERT_TRUE(collects(self));
	ASSERT_EQ(0, kcov_disable(self->fd));
	memset(self->area, 0, WORDS * 8);
	for (size_t i = 0; i < WORDS; i++)
		self->area[i] = PATTERN(i);

	self->area[0] = variant->count;
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	mark_one();
	if (variant->count >= WORDS - 1) {
		/*
		 * The buffer is full. One exception: ~0 plus one is 0, so a record may go into the
		 * count itself, which stays out of range.
		 */
		EXPECT_EQ(NULL, damage(self))
			TH_LOG("%s was written", damage(self));
		if (variant->count != ~0ULL) {
			EXPECT_EQ(variant->count, cover_count(self->area));
		} else {
			EXPECT_LE(WORDS, cover_count(self->area));
		}
	} else {
		EXPECT_LT(variant->count, cover_count(self->area));
		EXPECT_GT(WORDS, cover_count(self->area));
		EXPECT_EQ(PATTERN(1), self->area[1]);
	}
	/* The count is also forged during a collection. */
	self->area[0] = variant->count;
	mark_two();
	self->area[0] = variant->count;
	mark_one();
	EXPECT_TRUE(collects(self));
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

TEST_F(count, cmp)
{
	char line[256];
	size_t i;
	long ret = kcov_enable(self->fd, KCOV_TRACE_CMP);

	if (ret == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_EQ(0, ret);
	ASSERT_TRUE(collects(self));
	ASSERT_EQ(0, kcov_disable(self->fd));
	for (i = 0; i < WORDS; i++)
		self->area[i] = PATTERN(i);

	self->area[0] = variant->count;
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_CMP));
	mark_one();
	if (variant->count >= RECORDS) {
		EXPECT_EQ(NULL, damage(self))
			TH_LOG("%s was written", damage(self));
		EXPECT_EQ(variant->count, cover_count(self->area));
	}
	self->area[0] = variant->count;
	mark_two();
	self->area[0] = variant->count;
	mark_one();
	EXPECT_TRUE(collects(self));
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

/* The smallest buffers, which cannot be mapped: sizes of 2 to 9 words. */
TEST(buffers_of_a_few_words)
{
	char line[256];
	int log = kmsg_open();
	unsigned long words;

	ASSERT_LE(0, log);
	for (words = 2; words < 10; words++) {
		int mode, i, fd = kcov_open();

		ASSERT_EQ(0, kcov_init(fd, words));
		for (mode = KCOV_TRACE_PC; mode <= KCOV_TRACE_CMP; mode++) {
			long ret = kcov_enable(fd, mode);

			if (ret == -ENOTSUPP)
				continue;
			ASSERT_EQ(0, ret);
			for (i = 0; i < 10; i++)
				mark_one();
			ASSERT_EQ(0, kcov_disable(fd));
		}
		close(fd);
	}
	EXPECT_FALSE(kmsg_reports_bug(log, line, sizeof(line)))
		TH_LOG("%s", line);
}

/* One thread writes the count all the time while another collects. */
static volatile bool finished;
static uint64_t *forged;

static void *forge(void *unused)
{
	static const uint64_t counts[] = {
		0, ~0ULL, 1ULL << 58, (1ULL << 58) - 1, 1ULL << 59, (1ULL << 59) - 1,
		1ULL << 61, 1ULL << 63, WORDS, WORDS - 1, RECORDS, RECORDS - 1,
	};
	size_t i = 0;

	while (!finished)
		__atomic_store_n(forged, counts[i++ % ARRAY_SIZE(counts)],
				 __ATOMIC_RELAXED);
	return NULL;
}

TEST(count_written_while_collecting)
{
	uint64_t *areas[3];
	pthread_t thread;
	char line[256];
	int fds[3], i, mode, log = kmsg_open();
	size_t j;

	ASSERT_LE(0, log);
	for (i = 0; i < 3; i++) {
		fds[i] = kcov_open_mapped(WORDS, &areas[i]);
		ASSERT_LE(0, fds[i]);
		for (j = 0; j < WORDS; j++)
			areas[i][j] = PATTERN(j);
	}
	forged = areas[1];
	ASSERT_EQ(0, pthread_create(&thread, NULL, forge, NULL));
	for (mode = KCOV_TRACE_PC; mode <= KCOV_TRACE_CMP; mode++) {
		long ret = kcov_enable(fds[1], mode);

		if (ret == -ENOTSUPP)
			continue;
		ASSERT_EQ(0, ret);
		for (i = 0; i < 3000; i++)
			mark_one();
		ASSERT_EQ(0, kcov_disable(fds[1]));
	}
	finished = true;
	pthread_join(thread, NULL);
	for (i = 0; i < 3; i += 2)
		for (j = 0; j < WORDS; j++)
			ASSERT_EQ(PATTERN(j), areas[i][j]);
	EXPECT_FALSE(kmsg_reports_bug(log, line, sizeof(line)))
		TH_LOG("%s", line);
}

TEST_HARNESS_MAIN
