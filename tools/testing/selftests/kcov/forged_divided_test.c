// SPDX-License-Identifier: GPL-2.0
/*
 * Users may write sets and counts, even while hooks run. Whatever the values, only the parts of the
 * buffer are written; see forged_count_test.c for the checks.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "background.h"
#include "divided.h"
#include "kcov.h"

#define WORDS		1024UL
#define FRONT		512UL
#define NEIGHBOURS	8
#define PATTERN(i)	(0x5a5a5a5a00000000 + (i))
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5e0001)

FIXTURE(divided) {
	uint64_t *areas[2 * NEIGHBOURS + 1];
	uint64_t *area;
	int fd;
	int log;
};

FIXTURE_VARIANT(divided) {
	unsigned long cmd;
	unsigned int remote;	/* the mode for KCOV_REMOTE_ENABLE */
};

FIXTURE_VARIANT_ADD(divided, unique) { .cmd = KCOV_UNIQUE_ENABLE };
FIXTURE_VARIANT_ADD(divided, both) { .cmd = KCOV_PC_CMP_ENABLE };
FIXTURE_VARIANT_ADD(divided, remote_unique) { .remote = KCOV_TRACE_UNIQUE_PC };
FIXTURE_VARIANT_ADD(divided, remote_both) { .remote = KCOV_TRACE_PC_CMP };

static const uint64_t forged[] = {
	0, ~0ULL, ~1ULL, FRONT, FRONT - 1, FRONT - 2, FRONT + 1, WORDS, WORDS - 1,
	(FRONT - 1) / WORDS_PER_CMP, (FRONT - 1) / WORDS_PER_CMP - 1,
	1ULL << 31, 1ULL << 32, (1ULL << 32) + 3, (1ULL << 32) - 1,
	1ULL << 58, (1ULL << 58) - 1, 1ULL << 59, (1ULL << 59) - 1, (1ULL << 59) + 1,
	1ULL << 61, (1ULL << 61) + 3, 1ULL << 62, 1ULL << 63, (1ULL << 63) - 1,
};

FIXTURE_SETUP(divided)
{
	const char *missing = unique_missing() ?: both_missing();
	size_t i, j;
	int fd;

	if (!missing && variant->remote)
		missing = background_missing() ?: code_missing();
	if (missing)
		SKIP(return, "%s", missing);
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	for (i = 0; i < ARRAY_SIZE(self->areas); i++) {
		fd = kcov_open_mapped(WORDS, &self->areas[i]);
		ASSERT_LE(0, fd);
		for (j = 0; j < WORDS; j++)
			self->areas[i][j] = PATTERN(j);
		if (i == NEIGHBOURS)
			self->fd = fd;
	}
	self->area = self->areas[NEIGHBOURS];
}

FIXTURE_TEARDOWN(divided)
{
	char line[256];
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(self->areas); i++)
		for (j = 0; j < WORDS && i != NEIGHBOURS; j++)
			ASSERT_EQ(PATTERN(j), self->areas[i][j]);
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

static long enable(FIXTURE_DATA(divided) *self, const FIXTURE_VARIANT(divided) *variant)
{
	if (variant->remote)
		return kcov_remote_divided(self->fd, variant->remote, FRONT, 4096, HANDLE, 0);
	return kcov_ioctl(self->fd, variant->cmd, FRONT);
}

/* Returns 0 if code ran that can be recorded. */
static long work(const FIXTURE_VARIANT(divided) *variant)
{
	if (variant->remote)
		return background_run();
	mark_one();
	syscall(SYS_lseek, 0, 0, 77);
	mark_two();
	return 0;
}

TEST_F(divided, forged)
{
	bool is_unique = variant->cmd == KCOV_UNIQUE_ENABLE ||
		variant->remote == KCOV_TRACE_UNIQUE_PC;
	size_t i, j, word;

	ASSERT_EQ(0, enable(self, variant));
	for (i = 0; i < ARRAY_SIZE(forged); i++) {
		for (j = 0; j < ARRAY_SIZE(forged); j++) {
			/* A full trace keeps its words and does not change the other trace. */
			bool full = forged[j] >= FRONT && forged[j] != ~0ULL;

			/* Work in the background takes longer. */
			if (variant->remote && j != i)
				continue;
			for (word = 0; word < WORDS; word++)
				self->area[word] = PATTERN(word);
			if (is_unique)
				memset(self->area, i & 1 ? 0xff : 0, FRONT * 8);
			else
				self->area[0] = forged[i];
			self->area[FRONT] = forged[j];
			ASSERT_EQ(0, work(variant));
			if (full)
				EXPECT_EQ(forged[j], self->area[FRONT]);
			for (word = FRONT + 1; full && word < WORDS; word++)
				ASSERT_EQ(PATTERN(word), self->area[word]);
			if (!is_unique && forged[i] >= FRONT && forged[i] != ~0ULL)
				for (word = 1; word < FRONT; word++)
					ASSERT_EQ(PATTERN(word), self->area[word]);
		}
	}
	ASSERT_EQ(0, kcov_disable(self->fd));
}

/* Another thread resets and forges all the time while hooks run. */
static volatile bool finished;

static void *disturb(void *data)
{
	volatile uint64_t *area = data;
	unsigned int turn = 0;
	size_t word;

	while (!finished) {
		for (word = 0; word < FRONT; word++)
			area[word] = turn % 3 ? 0 : ~0ULL;
		area[0] = turn % 2 ? 0 : forged[turn / 2 % ARRAY_SIZE(forged)];
		area[FRONT] = turn % 4 ? 0 : forged[turn / 4 % ARRAY_SIZE(forged)];
		turn++;
	}
	return NULL;
}

TEST_F_TIMEOUT(divided, disturbed, 300)
{
	int turn, turns = variant->remote ? 40 : 20000;
	pthread_t thread;
	long failed = 0;

	finished = false;
	ASSERT_EQ(0, enable(self, variant));
	ASSERT_EQ(0, pthread_create(&thread, NULL, disturb, self->area));
	for (turn = 0; turn < turns && !failed; turn++) {
		failed = work(variant);
		if (!failed && turn % 16 == 0)
			failed = kcov_ioctl(self->fd, KCOV_RESET_TRACE, 0);
	}
	finished = true;
	pthread_join(thread, NULL);
	ASSERT_EQ(0, failed);
	/* The descriptor still records. */
	memset(self->area, 0, WORDS * 8);
	ASSERT_EQ(0, work(variant));
	EXPECT_LT(0, cover_count(self->area + FRONT));
	ASSERT_EQ(0, kcov_disable(self->fd));
}

TEST_HARNESS_MAIN
