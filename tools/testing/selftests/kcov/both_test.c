// SPDX-License-Identifier: GPL-2.0
/*
 * PCs and comparisons in one run: PCs in the front of the buffer, comparisons after them, each with
 * a count and a size of its own.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "interrupts.h"
#include "kcov.h"
#include "symbols.h"

#define FRONT		8192UL
#define WORDS		(4 * FRONT)
/* On a slow machine, an interrupt comes in most attempts, but not in all. */
#define ATTEMPTS	1000
/* The whence of lseek(2), which the kernel compares with the known ones. */
#define ODD_WHENCE	0x5a5b

FIXTURE(both) {
	uint64_t *area;
	uint64_t *comparisons;	/* after the PCs */
	struct worker worker;
	int fd;
};

FIXTURE_SETUP(both)
{
	const char *missing = traces_missing() ?: both_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	self->comparisons = self->area + FRONT;
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(both)
{
	worker_end(&self->worker);
	close(self->fd);
}

static long both(int fd, unsigned long words)
{
	return kcov_ioctl(fd, KCOV_PC_CMP_ENABLE, words);
}

static void seek(void)
{
	syscall(SYS_lseek, -1, 0, ODD_WHENCE);
	syscall(SYS_lseek, 0, 0, ODD_WHENCE);
	mark_one();
}

/* Each part must hold a count and a record, or the call changes nothing. */
TEST_F(both, sizes)
{
	const unsigned long bad[] = {
		0, 1, WORDS - 4, WORDS - 1, WORDS, WORDS + 1,
		1UL << 32, 1UL << 60, 1UL << 61, 1UL << 63, ~0UL,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, both(self->fd, bad[i]))
			TH_LOG("%#lx words of %#lx", bad[i], WORDS);
		EXPECT_EQ(-EINVAL, kcov_disable(self->fd));
	}
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
	EXPECT_EQ(0, both(self->fd, 2));
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, both(self->fd, WORDS - 5));
	EXPECT_EQ(0, kcov_disable(self->fd));
}

/* The order of KCOV_ENABLE: the descriptor, then the thread, then the argument. */
TEST_F(both, errors_in_order)
{
	int fresh = kcov_open(), other = kcov_open();

	ASSERT_EQ(0, kcov_init(other, 512));
	EXPECT_EQ(-EINVAL, both(fresh, 2));
	ASSERT_EQ(0, both(self->fd, FRONT));
	EXPECT_EQ(-EINVAL, both(self->fd, FRONT));
	EXPECT_EQ(-EINVAL, both(fresh, 2));
	EXPECT_EQ(-EBUSY, both(other, 2));
	EXPECT_EQ(-EBUSY, both(other, 0));
	EXPECT_EQ(-EINVAL, worker_ioctl(&self->worker, self->fd, KCOV_PC_CMP_ENABLE, 2));
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, both(other, 2));
	EXPECT_EQ(0, kcov_disable(other));
	close(fresh);
	close(other);
}

/*
 * Records the calls in one mode without an interrupt. Returns the number of recorded words, or 0 if
 * an interrupt came in every attempt.
 */
static size_t record(FIXTURE_DATA(both) *self, unsigned long cmd,
		     unsigned long argument, uint64_t *trace, size_t record_words,
		     uint64_t *copy)
{
	size_t words;
	int attempt;

	for (attempt = 0; attempt < ATTEMPTS; attempt++) {
		uint64_t before;

		/* The call is made twice, so that the first accesses to memory are in no trace. */
		seek();
		memset(self->area, 0, WORDS * sizeof(*self->area));
		before = interrupts();
		if (kcov_ioctl(self->fd, cmd, argument))
			return 0;
		cover_reset(self->area);
		cover_reset(self->comparisons);
		seek();
		words = cover_count(trace) * record_words;
		kcov_disable(self->fd);
		memcpy(copy, trace + 1, words * sizeof(*trace));
		if (interrupts() == before)
			return words;
	}
	return 0;
}

/*
 * Both traces are equal to those of the plain modes, to the last record. An interrupt makes the
 * kernel take another path back to user space, so none may come during the calls.
 */
TEST_F_TIMEOUT(both, same_as_apart, 300)
{
	static uint64_t plain[WORDS], divided[WORDS];
	const char *missing = interrupts_missing();
	size_t words, i;

	if (missing)
		SKIP(return, "%s", missing);
	words = record(self, KCOV_ENABLE, KCOV_TRACE_PC, self->area, 1, plain);
	ASSERT_LT(0, words)
		TH_LOG("%d attempts were all interrupted", ATTEMPTS);
	ASSERT_EQ(words, record(self, KCOV_PC_CMP_ENABLE, FRONT, self->area, 1, divided));
	for (i = 0; i < words; i++)
		ASSERT_EQ(plain[i], divided[i]);

	words = record(self, KCOV_ENABLE, KCOV_TRACE_CMP, self->area, WORDS_PER_CMP, plain);
	ASSERT_LT(0, words)
		TH_LOG("%d attempts were all interrupted", ATTEMPTS);
	ASSERT_EQ(words, record(self, KCOV_PC_CMP_ENABLE, FRONT, self->comparisons,
				WORDS_PER_CMP, divided));
	/* The operands are not compared: times and addresses are among them. */
	for (i = 0; i < words; i += WORDS_PER_CMP) {
		ASSERT_EQ(plain[i], divided[i]);
		ASSERT_EQ(plain[i + 3], divided[i + 3]);
	}
}

TEST_F(both, finds_operands)
{
	uint64_t i, found = 0;

	ASSERT_EQ(0, both(self->fd, FRONT));
	seek();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, "lseek"));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	for (i = 0; i < cover_count(self->comparisons); i++) {
		uint64_t *record = &self->comparisons[1 + WORDS_PER_CMP * i];

		ASSERT_GE(7, record[0]);
		ASSERT_TRUE(in_kernel_text(record[3] - 1));
		found += record[1] == ODD_WHENCE || record[2] == ODD_WHENCE;
	}
	EXPECT_LT(0, found);
}

/* A full part does not take space from the other one. */
TEST_F(both, full_front)
{
	ASSERT_EQ(0, both(self->fd, 2));
	seek();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(1, cover_count(self->area));
	EXPECT_TRUE(in_kernel_text(self->area[1] - 1));
	EXPECT_LT(1, cover_count(self->area + 2));
	EXPECT_LT(0, fdinfo(self->fd, "kcov-dropped-records"));
}

TEST_F(both, full_back)
{
	enum { BACK = 2 * WORDS_PER_CMP };	/* one record, and too few words for two */
	uint64_t *back = self->area + WORDS - BACK;

	ASSERT_EQ(0, both(self->fd, WORDS - BACK));
	seek();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(1, cover_count(back));
	EXPECT_EQ(0, back[BACK - 1]);
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_LT(0, fdinfo(self->fd, "kcov-dropped-records"));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
