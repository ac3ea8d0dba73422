// SPDX-License-Identifier: GPL-2.0
/* Mappings of the buffer: valid arguments, shared content, and lifetime. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"

#define WORDS	4096UL
#define BYTES	(WORDS * sizeof(uint64_t))

static size_t page_size;

FIXTURE(buffer) {
	int fd;
};

FIXTURE_SETUP(buffer)
{
	page_size = sysconf(_SC_PAGESIZE);
	self->fd = kcov_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, kcov_init(self->fd, WORDS));
}

FIXTURE_TEARDOWN(buffer)
{
	close(self->fd);
}

static int refused(int fd, size_t bytes, off_t offset)
{
	void *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	return area == MAP_FAILED ? errno : 0;
}

static void collect(int fd)
{
	if (kcov_enable(fd, KCOV_TRACE_PC))
		return;
	mark_one();
	kcov_disable(fd);
}

TEST(refused_without_buffer)
{
	int fd = kcov_open();

	ASSERT_LE(0, fd);
	EXPECT_EQ(EINVAL, refused(fd, BYTES, 0));
	EXPECT_EQ(EINVAL, refused(fd, 1, 0));
	ASSERT_EQ(0, kcov_init(fd, WORDS));
	EXPECT_EQ(0, refused(fd, BYTES, 0));
}

TEST_F(buffer, length_must_be_exact)
{
	EXPECT_EQ(EINVAL, refused(self->fd, BYTES - page_size, 0));
	EXPECT_EQ(EINVAL, refused(self->fd, BYTES + page_size, 0));
	EXPECT_EQ(EINVAL, refused(self->fd, page_size, 0));
	EXPECT_EQ(EINVAL, refused(self->fd, 0, 0));
	EXPECT_EQ(0, refused(self->fd, BYTES, 0));
	/* The kernel rounds a length up to pages before the driver sees it. */
	EXPECT_EQ(0, refused(self->fd, BYTES - 1, 0));
}

TEST_F(buffer, offset_must_be_zero)
{
	EXPECT_EQ(EINVAL, refused(self->fd, BYTES, page_size));
	EXPECT_EQ(EINVAL, refused(self->fd, BYTES, BYTES));
	EXPECT_EQ(EINVAL, refused(self->fd, BYTES - page_size, page_size));
	EXPECT_EQ(0, refused(self->fd, BYTES, 0));
}

/* Otherwise the end of the last page would show memory that is not part of the buffer. */
TEST(buffer_of_partial_pages_cannot_be_mapped)
{
	static const unsigned long words[] = { 2, 511, 513, 4097 };
	size_t i;

	page_size = sysconf(_SC_PAGESIZE);
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		size_t bytes = words[i] * sizeof(uint64_t);
		int fd = kcov_open();

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, kcov_init(fd, words[i]));
		EXPECT_EQ(EINVAL, refused(fd, bytes, 0));
		EXPECT_EQ(EINVAL, refused(fd, bytes & ~(page_size - 1), 0));
		EXPECT_EQ(EINVAL, refused(fd, (bytes | (page_size - 1)) + 1, 0));
		close(fd);
	}
}

TEST_F(buffer, mappings_alias)
{
	uint64_t *one = kcov_map(self->fd, WORDS);
	uint64_t *two = kcov_map(self->fd, WORDS);

	ASSERT_NE(NULL, one);
	ASSERT_NE(NULL, two);
	ASSERT_NE(one, two);
	collect(self->fd);
	ASSERT_LT(0, cover_count(one));
	EXPECT_EQ(0, memcmp(one, two, BYTES));
	two[WORDS - 1] = 0x1234;
	EXPECT_EQ(0x1234, one[WORDS - 1]);
	/* One mapping goes; the other stays. */
	kcov_unmap(one, WORDS);
	cover_reset(two);
	collect(self->fd);
	EXPECT_LT(0, cover_count(two));
}

TEST_F(buffer, shared_with_child)
{
	uint64_t *area = kcov_map(self->fd, WORDS);
	int status;
	pid_t child;

	ASSERT_NE(NULL, area);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		uint64_t *again = kcov_map(self->fd, WORDS);

		if (!again)
			_exit(1);
		again[WORDS - 1] = 0xabcd;
		area[WORDS - 2] = 0xef01;
		_exit(again[WORDS - 2] == 0xef01 ? 0 : 2);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0xabcd, area[WORDS - 1]);
	EXPECT_EQ(0xef01, area[WORDS - 2]);
}

TEST_F(buffer, unmapped_while_collecting)
{
	uint64_t *area = kcov_map(self->fd, WORDS);

	ASSERT_NE(NULL, area);
	kcov_unmap(area, WORDS);
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	mark_one();
	area = kcov_map(self->fd, WORDS);
	ASSERT_NE(NULL, area);
	EXPECT_LT(0, cover_count(area));
	kcov_unmap(area, WORDS);
	mark_one();
	EXPECT_EQ(0, kcov_disable(self->fd));
}

TEST_F(buffer, outlives_descriptor)
{
	uint64_t *area = kcov_map(self->fd, WORDS);
	static uint64_t copy[WORDS];
	size_t i;

	ASSERT_NE(NULL, area);
	collect(self->fd);
	ASSERT_LT(0, cover_count(area));
	memcpy(copy, area, BYTES);
	close(self->fd);
	self->fd = -1;
	/* Free pages get other owners now. */
	for (i = 0; i < 16; i++) {
		int fd = kcov_open();
		uint64_t *other;

		ASSERT_EQ(0, kcov_init(fd, WORDS));
		other = kcov_map(fd, WORDS);
		ASSERT_NE(NULL, other);
		memset(other, 0xff, BYTES);
	}
	EXPECT_EQ(0, memcmp(copy, area, BYTES));
	area[WORDS - 1] = 1;
}

TEST_F(buffer, starts_as_zeroes)
{
	uint64_t *area;
	size_t i, round;

	/* Memory with old content is allocated again soon. */
	for (round = 0; round < 16; round++) {
		int fd = kcov_open_mapped(WORDS, &area);

		ASSERT_LE(0, fd);
		for (i = 0; i < WORDS; i++)
			ASSERT_EQ(0, area[i]);
		memset(area, 0xa5, BYTES);
		kcov_unmap(area, WORDS);
		close(fd);
	}
}

TEST_F(buffer, cannot_grow)
{
	uint64_t *area = kcov_map(self->fd, WORDS), *moved;

	ASSERT_NE(NULL, area);
	EXPECT_EQ(MAP_FAILED, mremap(area, BYTES, BYTES + page_size, MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(MAP_FAILED, mremap(area, BYTES, 2 * BYTES, 0));
	/* Moving it is harmless. */
	moved = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_EQ(moved, mremap(area, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, moved));
	collect(self->fd);
	EXPECT_LT(0, cover_count(moved));
}

TEST_F(buffer, read_only)
{
	uint64_t *area = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, self->fd, 0);
	int status;
	pid_t child;

	ASSERT_NE(MAP_FAILED, area);
	collect(self->fd);
	EXPECT_LT(0, cover_count(area));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		*(volatile uint64_t *)area = 0;
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	EXPECT_LT(0, cover_count(area));
	/* The kernel can still write after the user has lost the permission to. */
	EXPECT_EQ(0, mprotect(area, BYTES, PROT_READ | PROT_WRITE));
	cover_reset(area);
	EXPECT_EQ(0, mprotect(area, BYTES, PROT_NONE));
	collect(self->fd);
	EXPECT_EQ(0, mprotect(area, BYTES, PROT_READ));
	EXPECT_LT(0, cover_count(area));
}

/*
 * A private mapping shows the buffer until the program writes to a page. From then on the page is
 * private: new records of the kernel do not appear there, and writes of the program do not reach
 * the buffer.
 */
TEST_F(buffer, private)
{
	uint64_t *shared = kcov_map(self->fd, WORDS), *copy, count;
	const size_t last = WORDS - 1;

	ASSERT_NE(NULL, shared);
	copy = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);
	ASSERT_NE(MAP_FAILED, copy);
	collect(self->fd);
	count = cover_count(shared);
	ASSERT_LT(0, count);
	EXPECT_EQ(0, memcmp(shared, copy, BYTES));
	shared[last] = 0x1234;
	EXPECT_EQ(0x1234, *(volatile uint64_t *)&copy[last]);

	cover_reset(copy);
	EXPECT_EQ(count, cover_count(shared));
	/* The copy has the same content in the rest of the page. */
	EXPECT_EQ(0, memcmp(shared + 1, copy + 1, page_size - sizeof(*shared)));
	collect(self->fd);
	EXPECT_LT(count, cover_count(shared));
	EXPECT_EQ(0, cover_count(copy));
	EXPECT_EQ(0, *(volatile uint64_t *)&copy[cover_count(shared)]);
	/* The other pages are still pages of the buffer. */
	shared[last] = 0x5678;
	EXPECT_EQ(0x5678, *(volatile uint64_t *)&copy[last]);
	copy[last] = 0x9abc;
	EXPECT_EQ(0x5678, *(volatile uint64_t *)&shared[last]);
}

/* The length and the offset are checked as for a shared mapping. */
TEST_F(buffer, private_must_be_exact)
{
	EXPECT_EQ(MAP_FAILED, mmap(NULL, BYTES - page_size, PROT_READ, MAP_PRIVATE, self->fd, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, self->fd, page_size));
	EXPECT_EQ(EINVAL, errno);
}

/* A fuzzer maps it like this between guard pages. */
TEST_F(buffer, at_a_fixed_address)
{
	char *room = mmap(NULL, BYTES + 2 * page_size, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t *area;

	ASSERT_NE(MAP_FAILED, room);
	area = mmap(room + page_size, BYTES, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED, self->fd, 0);
	ASSERT_EQ(room + page_size, (char *)area);
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	ASSERT_TRUE(cover_fill(area, WORDS)) TH_LOG("the buffer does not become full");
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_NE(0, area[WORDS - 1]);
}

/* An access to each page finds its own memory. */
TEST_F(buffer, every_page_is_mapped)
{
	uint64_t *one = kcov_map(self->fd, WORDS);
	uint64_t *two = kcov_map(self->fd, WORDS);
	size_t i;

	ASSERT_NE(NULL, one);
	ASSERT_NE(NULL, two);
	for (i = 0; i < WORDS; i++)
		one[i] = i + 1;
	for (i = 0; i < WORDS; i++)
		ASSERT_EQ(i + 1, two[i]);
}

static int enabled_fd;

static long enable_and_mark(void *unused)
{
	if (kcov_enable(enabled_fd, KCOV_TRACE_PC))
		return -1;
	mark_one();
	return 0;
}

/* A mapping of the buffer may be made while another thread collects. */
TEST_F(buffer, mapped_while_another_thread_collects)
{
	struct worker worker;
	uint64_t *area;

	enabled_fd = self->fd;
	ASSERT_EQ(0, worker_start(&worker));
	ASSERT_EQ(0, worker_run(&worker, enable_and_mark, NULL));
	area = kcov_map(self->fd, WORDS);
	ASSERT_NE(NULL, area);
	EXPECT_LT(0, cover_count(area));
	worker_end(&worker);
}

TEST_HARNESS_MAIN
