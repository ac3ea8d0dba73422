// SPDX-License-Identifier: GPL-2.0
/* The records of KCOV_TRACE_PC: their number, their PCs, and their accuracy. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"
#include "symbols.h"

FIXTURE(pc) {
	uint64_t *area;
	int fd;
};

FIXTURE_SETUP(pc)
{
	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(pc)
{
	close(self->fd);
}

/* Uses several parts of the kernel: enough code to find rare cases. */
static void use_the_kernel(void)
{
	int pair[2], file, pipes[2];
	char buffer[64];
	struct stat unused;
	void *memory;

	memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory != MAP_FAILED) {
		memset(memory, 1, 1 << 16);
		munmap(memory, 1 << 16);
	}
	file = open("/proc/self/status", O_RDONLY);
	if (read(file, buffer, sizeof(buffer)) < 0)
		close(file);
	close(file);
	stat("/no/such/file", &unused);
	if (!pipe(pipes)) {
		if (write(pipes[1], buffer, 8) == 8 && read(pipes[0], buffer, 8) == 8)
			close(pipes[0]);
		close(pipes[1]);
	}
	if (!socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) {
		send(pair[0], buffer, 8, 0);
		close(pair[0]);
		close(pair[1]);
	}
	mark_one();
}

static uint64_t collect(FIXTURE_DATA(pc) *self)
{
	cover_reset(self->area);
	if (kcov_enable(self->fd, KCOV_TRACE_PC))
		return 0;
	use_the_kernel();
	if (kcov_disable(self->fd))
		return 0;
	return cover_count(self->area);
}

TEST_F(pc, count_and_records)
{
	uint64_t i, count = collect(self);

	ASSERT_LT(100, count);
	ASSERT_GT(COVER_WORDS - 1 - INTERRUPT_RECORDS, count);
	for (i = 1; i <= count; i++)
		ASSERT_NE(0, self->area[i]);
	for (i = count + 1; i <= count + INTERRUPT_RECORDS; i++)
		ASSERT_TRUE(!self->area[i] || in_kernel_text(self->area[i] - 1));
	for (; i < COVER_WORDS; i++)
		ASSERT_EQ(0, self->area[i]);
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_TRUE(covers_syscall(self->area, "socketpair"));
	EXPECT_TRUE(covers(self->area, "unix_create"));
}

/* Addresses are canonical: those of System.map, for every base address. */
TEST_F(pc, addresses_lie_in_the_kernels_text)
{
	uint64_t i, count = collect(self);

	ASSERT_LT(0, count);
	for (i = 1; i <= count; i++)
		ASSERT_TRUE(in_kernel_text(self->area[i] - 1))
			TH_LOG("record %lu: %#lx", i, self->area[i]);
}

TEST_F(pc, addresses_do_not_move_with_the_kernel)
{
	uint64_t i, count = collect(self);

	if (!symbols_offset())
		SKIP(return, "the kernel was not moved at boot (CONFIG_RANDOMIZE_BASE, nokaslr)");
	ASSERT_LT(0, count);
	ASSERT_TRUE(covers_syscall(self->area, MARK_ONE));
	for (i = 1; i <= count; i++)
		ASSERT_TRUE(in_kernel_text(self->area[i] - 1));
}

/* A record is the address to which the hook returns: just after its call. */
TEST_F(pc, records_are_return_addresses)
{
	uint64_t i, exact = 0, count = collect(self);

	if (text_missing())
		SKIP(return, "%s", text_missing());
	if (call_decoder_missing())
		SKIP(return, "%s", call_decoder_missing());
	ASSERT_LT(0, count);
	for (i = 1; i <= count; i++) {
		ASSERT_TRUE(hook_called_before(self->area[i], "__sanitizer_cov_trace_pc"))
			TH_LOG("record %lu: %#lx in %s", i, self->area[i],
			       symbol_at(self->area[i]));
		exact += called_before(self->area[i], "__sanitizer_cov_trace_pc");
	}
	/* Jumps are rare. */
	EXPECT_LT(count * 9 / 10, exact);
	/* The decoder does recognise a non-call. */
	EXPECT_FALSE(called_before(self->area[1] + 1, "__sanitizer_cov_trace_pc"));
	EXPECT_FALSE(called_before(self->area[1], "__sanitizer_cov_trace_cmp4"));
}

/* Returns the function of a record, as a pointer that differs for every function. */
static const char *function_of(uint64_t pc)
{
	return symbol_at(pc - 1);
}

static bool executes(const uint64_t *trace, const char *function)
{
	uint64_t i;

	for (i = 1; i <= trace[0]; i++)
		if (function_of(trace[i]) == function)
			return true;
	return false;
}

enum { ROUNDS = 20, TRACE_WORDS = 4096 };

/* Keeps the records of functions that most of the repetitions have executed. */
static void keep_common(uint64_t kept[TRACE_WORDS], uint64_t traces[ROUNDS][TRACE_WORDS],
			const uint64_t *trace)
{
	uint64_t i;
	int j;

	kept[0] = 0;
	for (i = 1; i <= trace[0]; i++) {
		int executed = 0;

		for (j = 0; j < ROUNDS; j++)
			executed += executes(traces[j], function_of(trace[i]));
		if (executed > ROUNDS / 2)
			kept[++kept[0]] = trace[i];
	}
}

/*
 * The same call leaves the same trace: word for word in most of the repetitions. An interrupt hits
 * a few of them, so the functions on its path back are told apart from those of the call.
 */
TEST_F(pc, same_call_same_trace)
{
	static uint64_t traces[ROUNDS][TRACE_WORDS], common[ROUNDS][TRACE_WORDS];
	int i, j, best = 0;

	for (i = 0; i < ROUNDS; i++) {
		uint64_t count;

		cover_reset(self->area);
		ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
		mark_one();
		ASSERT_EQ(0, kcov_disable(self->fd));
		count = cover_count(self->area);
		ASSERT_LT(0, count);
		ASSERT_GT(TRACE_WORDS, count);
		memcpy(traces[i], self->area, (count + 1) * sizeof(uint64_t));
	}
	for (i = 0; i < ROUNDS; i++)
		keep_common(common[i], traces, traces[i]);
	EXPECT_TRUE(covers_syscall(common[0], MARK_ONE));
	for (i = 0; i < ROUNDS; i++) {
		int same = 0;

		for (j = 0; j < ROUNDS; j++)
			same += !memcmp(common[i], common[j],
					(common[i][0] + 1) * sizeof(uint64_t));
		best = same > best ? same : best;
	}
	EXPECT_LE(ROUNDS * 3 / 4, best);
}

TEST_F(pc, different_calls_differ)
{
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_FALSE(covers_syscall(self->area, MARK_TWO));
	cover_reset(self->area);
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	mark_two();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_FALSE(covers_syscall(self->area, MARK_ONE));
	EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
}

/* Control flow is visible: an error path has blocks of its own. */
TEST_F(pc, different_arguments_differ)
{
	static uint64_t good[4096];
	uint64_t i, j, count, fresh = 0;

	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	syscall(SYS_getpriority, 0, 0);
	ASSERT_EQ(0, kcov_disable(self->fd));
	ASSERT_GT(4096, cover_count(self->area));
	memcpy(good, self->area, sizeof(good));
	cover_reset(self->area);
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	syscall(SYS_getpriority, 2, 0);
	ASSERT_EQ(0, kcov_disable(self->fd));
	count = cover_count(self->area);
	for (i = 1; i <= count; i++) {
		for (j = 1; j <= good[0]; j++)
			if (good[j] == self->area[i])
				break;
		fresh += j > good[0];
	}
	EXPECT_LT(0, fresh);
}

/*
 * A buffer of one page fills up and stays as it is, up to its last word. The neighbours are buffers
 * too: writes past the end would change them.
 */
TEST(full_buffer_stops)
{
	enum { WORDS = 512, BUFFERS = 16 };
	static uint64_t copy[WORDS];
	uint64_t *areas[BUFFERS];
	int i, j, fds[BUFFERS];

	for (i = 0; i < BUFFERS; i++) {
		fds[i] = kcov_open_mapped(WORDS, &areas[i]);
		ASSERT_LE(0, fds[i]);
		for (j = 1; j < WORDS; j++)
			areas[i][j] = 0x5a5a0000 + j;
	}
	ASSERT_EQ(0, kcov_enable(fds[BUFFERS / 2], KCOV_TRACE_PC));
	for (i = 0; i < 2 * WORDS; i++)
		mark_one();
	memcpy(copy, areas[BUFFERS / 2], sizeof(copy));
	for (i = 0; i < 10; i++)
		mark_two();
	EXPECT_EQ(0, memcmp(copy, areas[BUFFERS / 2], sizeof(copy)));
	ASSERT_EQ(0, kcov_disable(fds[BUFFERS / 2]));
	EXPECT_EQ(WORDS - 1, copy[0]);
	for (i = 1; i < WORDS; i++)
		ASSERT_NE(0x5a5a0000 + i, copy[i]);
	for (i = 0; i < BUFFERS; i++) {
		if (i == BUFFERS / 2)
			continue;
		ASSERT_EQ(0, areas[i][0]);
		for (j = 1; j < WORDS; j++)
			ASSERT_EQ(0x5a5a0000 + j, areas[i][j]);
	}
}

TEST_F(pc, full_buffer_is_reset_by_the_user)
{
	int round;

	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	for (round = 0; round < 3; round++) {
		ASSERT_TRUE(cover_fill(self->area, COVER_WORDS))
			TH_LOG("the buffer does not become full");
		cover_reset(self->area);
		mark_two();
		EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
		EXPECT_GT(COVER_WORDS / 2, cover_count(self->area));
		cover_reset(self->area);
	}
	ASSERT_EQ(0, kcov_disable(self->fd));
}

/* The user may set the count to any number that fits; records follow it. */
TEST_F(pc, records_follow_the_count)
{
	const uint64_t start = COVER_WORDS / 2;

	self->area[start] = 0x1111;
	self->area[0] = start;
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_LT(start, cover_count(self->area));
	EXPECT_EQ(0x1111, self->area[start]);
	EXPECT_EQ(0, self->area[start - 1]);
	EXPECT_TRUE(in_kernel_text(self->area[start + 1]));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
