// SPDX-License-Identifier: GPL-2.0
/*
 * Sections in the threads of io_uring: the workers that requests are handed to, and the thread that
 * polls the submission queue.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"
#include "symbols.h"

#define ENTRIES		8
#define AREA_WORDS	16384
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5a0001)
/* The name of a file that does not exist; its first character is compared with '/'. */
#define NO_FILE		"\xa7 no such file"

struct ring {
	int fd;
	unsigned int flags;
	unsigned int *sq_tail, *sq_mask, *sq_flags, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static void *ring_map(int fd, size_t size, off_t offset)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_POPULATE, fd, offset);

	return memory == MAP_FAILED ? NULL : memory;
}

static int ring_open(struct ring *ring, unsigned int flags)
{
	struct io_uring_params params = { .flags = flags, .sq_thread_idle = 50 };
	unsigned int i, *array;
	char *sq, *cq;

	ring->flags = flags;
	ring->fd = syscall(SYS_io_uring_setup, ENTRIES, &params);
	if (ring->fd < 0)
		return -errno;
	sq = ring_map(ring->fd, params.sq_off.array + ENTRIES * sizeof(*array),
		      IORING_OFF_SQ_RING);
	cq = ring_map(ring->fd, params.cq_off.cqes +
		      params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	ring->sqes = ring_map(ring->fd, ENTRIES * sizeof(struct io_uring_sqe),
			      IORING_OFF_SQES);
	if (!sq || !cq || !ring->sqes)
		return -ENOMEM;
	ring->sq_tail = (unsigned int *)(sq + params.sq_off.tail);
	ring->sq_mask = (unsigned int *)(sq + params.sq_off.ring_mask);
	ring->sq_flags = (unsigned int *)(sq + params.sq_off.flags);
	ring->cq_head = (unsigned int *)(cq + params.cq_off.head);
	ring->cq_tail = (unsigned int *)(cq + params.cq_off.tail);
	ring->cq_mask = (unsigned int *)(cq + params.cq_off.ring_mask);
	ring->cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
	array = (unsigned int *)(sq + params.sq_off.array);
	for (i = 0; i < ENTRIES; i++)
		array[i] = i;
	return 0;
}

/* Makes the ring try to open a missing file; returns the result. */
static int ring_open_file(struct ring *ring, const char *name)
{
	unsigned int tail = *ring->sq_tail, head = *ring->cq_head;
	struct io_uring_sqe *sqe = &ring->sqes[tail & *ring->sq_mask];
	struct timespec now, start;
	int result;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_OPENAT;
	sqe->flags = ring->flags & IORING_SETUP_SQPOLL ? 0 : IOSQE_ASYNC;
	sqe->fd = AT_FDCWD;
	sqe->addr = (unsigned long)name;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_SEQ_CST);
	if (!(ring->flags & IORING_SETUP_SQPOLL))
		syscall(SYS_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0);
	else if (__atomic_load_n(ring->sq_flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP)
		syscall(SYS_io_uring_enter, ring->fd, 1, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (__atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) == head) {
		usleep(500);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec > 5)
			return -ETIMEDOUT;
	}
	result = ring->cqes[head & *ring->cq_mask].res;
	__atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
	return result;
}

FIXTURE(uring) {
	uint64_t *area;
	int fd;
	int log;
};

FIXTURE_VARIANT(uring) {
	unsigned int flags;
	const char *function;	/* only the thread executes it */
};

FIXTURE_VARIANT_ADD(uring, worker) { .function = "io_wq_submit_work" };
FIXTURE_VARIANT_ADD(uring, polling_thread) {
	.flags = IORING_SETUP_SQPOLL, .function = "io_submit_sqes",
};

FIXTURE_SETUP(uring)
{
	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	if (syscall(SYS_io_uring_setup, 0, NULL) < 0 && errno == ENOSYS)
		SKIP(return, "no io_uring (CONFIG_IO_URING)");
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->fd = kcov_open_mapped(4 * COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(uring)
{
	close(self->fd);
}

static long enable(FIXTURE_DATA(uring) *self, uint32_t mode)
{
	return kcov_remote_enable(self->fd, mode, AREA_WORDS, HANDLE, 0);
}

static const char *work(const struct ring *ring)
{
	return ring->flags & IORING_SETUP_SQPOLL ? "io_submit_sqes" : "io_wq_submit_work";
}

/*
 * Returns NULL, or the problem with requests that were made through the ring. A polling thread may
 * be in the middle of a round that began before the descriptor was enabled, so it may miss the
 * first request.
 */
static const char *collected(FIXTURE_DATA(uring) *self, struct ring *ring)
{
	int i, wait;

	for (i = 0; i < 5; i++) {
		/* The rounds of a polling thread soon fill the buffer. */
		cover_reset(self->area);
		if (ring_open_file(ring, NO_FILE) != -ENOENT)
			return "the request failed";
		/* A section is merged after its request has completed. */
		for (wait = 0; wait < 100; wait++) {
			if (covers(self->area, work(ring)) &&
			    (covers(self->area, "io_openat2") || covers(self->area, "io_openat")))
				return NULL;
			usleep(5000);
		}
	}
	return "the thread, or the request, is not there";
}

TEST_F(uring, is_collected)
{
	struct ring ring;
	uint64_t i, count;

	ASSERT_TRUE(symbol_exists(variant->function));
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	ASSERT_EQ(0, ring_open(&ring, variant->flags));
	ASSERT_EQ(NULL, collected(self, &ring))
		TH_LOG("%s", collected(self, &ring));
	count = cover_count(self->area);
	for (i = 1; i <= count; i++)
		ASSERT_TRUE(in_kernel_text(self->area[i] - 1));
	EXPECT_FALSE(covers_syscall(self->area, "io_uring_enter"));
	EXPECT_FALSE(covers_syscall(self->area, "io_uring_setup"));
}

/* The operands of a comparison that only this request can have caused. */
TEST_F(uring, comparisons_are_collected)
{
	struct ring ring;
	bool found = false;
	long ret = enable(self, KCOV_TRACE_CMP);
	int wait;

	if (ret == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, ring_open(&ring, variant->flags));
	for (wait = 0; wait < 400 && !found; wait++) {
		uint64_t i, count = cover_count(self->area);

		if (wait % 80 == 0) {
			cover_reset(self->area);
			ASSERT_EQ(-ENOENT, ring_open_file(&ring, NO_FILE));
		}

		for (i = 0; i < count; i++) {
			uint64_t *record = &self->area[1 + WORDS_PER_CMP * i];

			found |= record[0] == (KCOV_CMP_SIZE(0) | KCOV_CMP_CONST) &&
				 record[1] == '/' && record[2] == 0xa7;
		}
		usleep(5000);
	}
	EXPECT_TRUE(found);
}

/* The ring keeps the handle that its maker had at that time. */
TEST_F(uring, ring_made_before_is_not_collected)
{
	struct ring before, after;

	ASSERT_EQ(0, ring_open(&before, variant->flags));
	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	ASSERT_EQ(-ENOENT, ring_open_file(&before, NO_FILE));
	usleep(50000);
	EXPECT_EQ(0, cover_count(self->area));
	ASSERT_EQ(0, ring_open(&after, variant->flags));
	EXPECT_EQ(NULL, collected(self, &after));
}

TEST_F(uring, child_inherits)
{
	int status;
	pid_t child;

	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct ring ring;

		if (ring_open(&ring, variant->flags))
			_exit(1);
		_exit(collected(self, &ring) ? 2 : 0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* The descriptor is disabled and enabled again while its thread continues. */
TEST_F(uring, disable_and_enable_again)
{
	struct ring ring;
	char line[256];
	int round;

	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	ASSERT_EQ(0, ring_open(&ring, variant->flags));
	for (round = 0; round < 5; round++) {
		ASSERT_EQ(NULL, collected(self, &ring));
		ASSERT_EQ(0, kcov_disable(self->fd));
		cover_reset(self->area);
		ASSERT_EQ(-ENOENT, ring_open_file(&ring, NO_FILE));
		usleep(20000);
		ASSERT_EQ(0, cover_count(self->area));
		ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	}
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

/* The same descriptor is now used for the thread's own calls: no section is merged into it. */
TEST_F(uring, local_use_afterwards)
{
	struct ring ring;

	ASSERT_EQ(0, enable(self, KCOV_TRACE_PC));
	ASSERT_EQ(0, ring_open(&ring, variant->flags));
	ASSERT_EQ(NULL, collected(self, &ring));
	ASSERT_EQ(0, kcov_disable(self->fd));
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	cover_reset(self->area);
	ASSERT_EQ(-ENOENT, ring_open_file(&ring, NO_FILE));
	mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_FALSE(covers(self->area, variant->function));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
