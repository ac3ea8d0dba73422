// SPDX-License-Identifier: GPL-2.0
/*
 * Remote sections in the modes that divide the buffer: records go to the part where they belong,
 * each PC once if requested.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "background.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define AREA_WORDS	16384
#define TRACE_WORDS	16384
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5d0001)
#define DROPPED		"kcov-dropped-records"

FIXTURE(remote) {
	unsigned long front, words;
	uint64_t *area;
	uint64_t *back;		/* after the front */
	int fd;
};

FIXTURE_SETUP(remote)
{
	const char *missing = traces_missing() ?: background_missing() ?:
		unique_missing() ?: both_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->front = set_words();
	self->words = self->front + TRACE_WORDS;
	self->fd = kcov_open_mapped(self->words, &self->area);
	ASSERT_LE(0, self->fd);
	self->back = self->area + self->front;
}

FIXTURE_TEARDOWN(remote)
{
	close(self->fd);
}

static long enable(FIXTURE_DATA(remote) *self, uint32_t mode, uint32_t front)
{
	return kcov_remote_divided(self->fd, mode, front, AREA_WORDS, HANDLE, 0);
}

TEST_F(remote, sizes)
{
	const uint32_t unique[] = { 0, self->words - 1, self->words, ~0U };
	const uint32_t both[] = { 0, 1, self->words - 4, self->words, ~0U };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(unique); i++)
		EXPECT_EQ(-EINVAL, enable(self, KCOV_TRACE_UNIQUE_PC, unique[i]));
	for (i = 0; i < ARRAY_SIZE(both); i++)
		EXPECT_EQ(-EINVAL, enable(self, KCOV_TRACE_PC_CMP, both[i]));
	EXPECT_EQ(-EINVAL, kcov_disable(self->fd));
	/* Those calls have not taken the handle. An argument that is ignored may have any value. */
	EXPECT_EQ(0, enable(self, KCOV_TRACE_PC, ~0U));
	EXPECT_EQ(-EINVAL, enable(self, KCOV_TRACE_UNIQUE_PC, 1));
	EXPECT_EQ(0, kcov_disable(self->fd));
	/* These are modes of remote sections only. */
	EXPECT_EQ(-EINVAL, kcov_enable(self->fd, KCOV_TRACE_UNIQUE_PC));
	EXPECT_EQ(-EINVAL, kcov_enable(self->fd, KCOV_TRACE_PC_CMP));
}

TEST_F(remote, busy_before_the_size)
{
	int other = kcov_open();

	ASSERT_EQ(0, kcov_init(other, 512));
	ASSERT_EQ(0, enable(self, KCOV_TRACE_UNIQUE_PC, self->front));
	EXPECT_EQ(-EBUSY, kcov_remote_divided(other, KCOV_TRACE_UNIQUE_PC, 0, 64, HANDLE + 1, 0));
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(-EINVAL, kcov_remote_divided(other, KCOV_TRACE_UNIQUE_PC, 0, 64, HANDLE + 1, 0));
	EXPECT_EQ(0, kcov_remote_divided(other, KCOV_TRACE_UNIQUE_PC, 1, 64, HANDLE + 1, 0));
	close(other);
}

/* Each PC is recorded once in a section, and once in all sections together. */
TEST_F(remote, each_pc_once)
{
	uint64_t *expected = calloc(self->front, sizeof(*expected));
	uint64_t first;
	int run;

	ASSERT_EQ(0, enable(self, KCOV_TRACE_UNIQUE_PC, self->front));
	ASSERT_EQ(0, background_run());
	first = cover_count(self->back);
	EXPECT_TRUE(covers(self->back, BACKGROUND_FUNCTION));
	for (run = 0; run < 4; run++)
		ASSERT_EQ(0, background_run());
	EXPECT_LE(first, cover_count(self->back));
	EXPECT_EQ(0, set_add(expected, self->front, self->back));
	EXPECT_EQ(0, memcmp(expected, self->area, self->front * sizeof(*expected)));
	EXPECT_EQ(0, fdinfo(self->fd, DROPPED));

	/* After a reset, each PC is recorded once more. */
	ASSERT_EQ(0, kcov_ioctl(self->fd, KCOV_RESET_TRACE, 0));
	EXPECT_EQ(0, cover_count(self->back));
	EXPECT_EQ(0, set_size(self->area, self->front));
	ASSERT_EQ(0, background_run());
	EXPECT_TRUE(covers(self->back, BACKGROUND_FUNCTION));
	ASSERT_EQ(0, kcov_disable(self->fd));
}

/* PCs without a bit in the set are recorded by each section. */
TEST_F(remote, small_set)
{
	uint64_t *trace = self->area + 1;
	uint64_t i, times = 0;
	int run;

	ASSERT_EQ(0, enable(self, KCOV_TRACE_UNIQUE_PC, 1));
	for (run = 0; run < 10; run++)
		ASSERT_EQ(0, background_run());
	ASSERT_EQ(0, kcov_disable(self->fd));
	for (i = 1; i <= cover_count(trace); i++) {
		uint64_t one[2] = { 1, trace[i] };

		times += covers(one, BACKGROUND_FUNCTION);
	}
	EXPECT_LE(10, times);
}

/* The PCs are those of the plain mode. Work in the background is not always the same. */
TEST_F(remote, same_pcs)
{
	uint64_t *plain = calloc(self->front, sizeof(*plain));
	uint64_t *seen = calloc(self->front, sizeof(*seen));
	bool equal = false;
	int attempt;

	for (attempt = 0; attempt < 50 && !equal; attempt++) {
		size_t bytes = self->front * sizeof(*plain);

		memset(self->area, 0, bytes);
		ASSERT_EQ(0, enable(self, KCOV_TRACE_PC, 0));
		ASSERT_EQ(0, background_run());
		ASSERT_EQ(0, kcov_disable(self->fd));
		memset(plain, 0, bytes);
		set_add(plain, self->front, self->area);
		memset(self->area, 0, bytes);
		cover_reset(self->back);
		ASSERT_EQ(0, enable(self, KCOV_TRACE_UNIQUE_PC, self->front));
		ASSERT_EQ(0, background_run());
		ASSERT_EQ(0, kcov_disable(self->fd));
		memset(seen, 0, bytes);
		set_add(seen, self->front, self->back);
		ASSERT_LT(0, set_size(seen, self->front));
		equal = !memcmp(plain, seen, bytes);
	}
	EXPECT_TRUE(equal);
}

TEST_F(remote, both_kinds)
{
	uint64_t i, found = 0;

	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC_CMP, self->front));
	ASSERT_EQ(0, background_run());
	ASSERT_EQ(0, background_run());
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers(self->area, BACKGROUND_FUNCTION));
	for (i = 1; i <= cover_count(self->area); i++)
		ASSERT_TRUE(in_kernel_text(self->area[i] - 1));
	for (i = 0; i < cover_count(self->back); i++) {
		uint64_t *record = &self->back[1 + WORDS_PER_CMP * i];

		ASSERT_GE(7, record[0]);
		ASSERT_TRUE(in_kernel_text(record[3] - 1));
		found += record[1] == BACKGROUND_OPERAND || record[2] == BACKGROUND_OPERAND;
	}
	EXPECT_LE(2, found);
}

/*
 * Records that do not fit into the buffer and those that do not fit into an area are both counted.
 */
TEST_F(remote, dropped_records)
{
	static const uint32_t modes[] = {
		KCOV_TRACE_PC, KCOV_TRACE_CMP, KCOV_TRACE_UNIQUE_PC, KCOV_TRACE_PC_CMP
	};
	uint64_t *area;
	size_t i;
	int fd = kcov_open_mapped(512, &area);

	ASSERT_LE(0, fd);
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		int run;

		/* First the buffer. */
		memset(area, 0, 512 * sizeof(*area));
		ASSERT_EQ(0, kcov_remote_divided(fd, modes[i], 500, AREA_WORDS, HANDLE, 0));
		for (run = 0; run < 50 && !fdinfo(fd, DROPPED); run++)
			ASSERT_EQ(0, background_run());
		EXPECT_LT(0, fdinfo(fd, DROPPED));
		ASSERT_EQ(0, kcov_ioctl(fd, KCOV_RESET_TRACE, 0));
		EXPECT_EQ(0, fdinfo(fd, DROPPED));
		ASSERT_EQ(0, kcov_disable(fd));

		/* Then the areas. */
		memset(self->area, 0, self->words * sizeof(*self->area));
		ASSERT_EQ(0, kcov_remote_divided(self->fd, modes[i], self->front, 16, HANDLE, 0));
		ASSERT_EQ(0, background_run());
		EXPECT_LT(0, fdinfo(self->fd, DROPPED));
		ASSERT_EQ(0, kcov_disable(self->fd));
	}
	close(fd);
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
