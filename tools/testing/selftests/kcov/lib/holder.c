// SPDX-License-Identifier: GPL-2.0
/* Pipes and io_uring as holders of pages; see holder.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "holder.h"

size_t page_bytes(void)
{
	return sysconf(_SC_PAGESIZE);
}

/* Neither end ever blocks: the pages fit into the pipe, and are in it before they are read. */
static int ends[2];

static int pipe_start(void)
{
	return pipe2(ends, O_CLOEXEC | O_NONBLOCK) ? -errno : 0;
}

static int pipe_read(void *to, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t ret = read(ends[0], (char *)to + done, size - done);

		if (ret <= 0)
			return ret ? -errno : -EPIPE;
		done += ret;
	}
	return 0;
}

static const char *pipe_holder_missing(void)
{
	return NULL;
}

static int pipe_holder_hold(uint64_t *const *areas, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		struct iovec page = { areas[i], page_bytes() };
		ssize_t ret = vmsplice(ends[1], &page, 1, 0);

		if (ret != (ssize_t)page.iov_len)
			return ret < 0 ? -errno : -EIO;
	}
	return 0;
}

static int pipe_holder_read(void *pages, int count)
{
	return pipe_read(pages, count * page_bytes());
}

const struct holder pipe_holder = {
	.missing = pipe_holder_missing,
	.start = pipe_start,
	.hold = pipe_holder_hold,
	.read = pipe_holder_read,
};

static struct {
	int fd;
	unsigned int *sq_tail, *sq_mask, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	/* Shared with the child that registers the buffers. */
	uint64_t *addresses;
} ring;

static const char *ring_holder_missing(void)
{
	return syscall(SYS_io_uring_setup, 0, NULL) < 0 && errno == ENOSYS ?
		"no io_uring (CONFIG_IO_URING)" : NULL;
}

static void *map_shared(size_t size, int flags, int fd, off_t offset)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, offset);

	return memory == MAP_FAILED ? NULL : memory;
}

static int ring_start(void)
{
	struct io_uring_params params = { .flags = IORING_SETUP_NO_SQARRAY };
	char *rings;

	ring.fd = syscall(SYS_io_uring_setup, 1, &params);
	if (ring.fd < 0)
		return -errno;
	rings = map_shared(params.cq_off.cqes + params.cq_entries * sizeof(*ring.cqes),
			   0, ring.fd, IORING_OFF_SQ_RING);
	ring.sqes = map_shared(params.sq_entries * sizeof(*ring.sqes), 0, ring.fd,
			       IORING_OFF_SQES);
	ring.addresses = map_shared(HOLDER_PAGES * sizeof(uint64_t), MAP_ANONYMOUS, -1, 0);
	if (!rings || !ring.sqes || !ring.addresses)
		return -ENOMEM;
	ring.sq_tail = (unsigned int *)(rings + params.sq_off.tail);
	ring.sq_mask = (unsigned int *)(rings + params.sq_off.ring_mask);
	ring.cq_head = (unsigned int *)(rings + params.cq_off.head);
	ring.cq_tail = (unsigned int *)(rings + params.cq_off.tail);
	ring.cq_mask = (unsigned int *)(rings + params.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)(rings + params.cq_off.cqes);
	return pipe_start();
}

static int ring_holder_hold(uint64_t *const *areas, int count)
{
	struct iovec pages[HOLDER_PAGES];
	int i;

	for (i = 0; i < count; i++) {
		pages[i].iov_base = areas[i];
		pages[i].iov_len = page_bytes();
		ring.addresses[i] = (unsigned long)areas[i];
	}
	return syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, pages, count) ?
		-errno : 0;
}

/* Writes a registered buffer to the pipe. Returns the result of the request. */
static int ring_write(int index)
{
	unsigned int tail = *ring.sq_tail, head = *ring.cq_head;
	struct io_uring_sqe *sqe = &ring.sqes[tail & *ring.sq_mask];
	int ret;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_WRITE_FIXED;
	sqe->fd = ends[1];
	sqe->addr = ring.addresses[index];
	sqe->len = page_bytes();
	sqe->buf_index = index;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	ret = syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	if (ret < 0)
		return -errno;
	if (__atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE) == head)
		return -EIO;
	ret = ring.cqes[head & *ring.cq_mask].res;
	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
	return ret;
}

static int ring_holder_read(void *pages, int count)
{
	int i, ret;

	for (i = 0; i < count; i++) {
		ret = ring_write(i);
		if (ret != (int)page_bytes())
			return ret < 0 ? ret : -EIO;
		ret = pipe_read((char *)pages + i * page_bytes(), page_bytes());
		if (ret)
			return ret;
	}
	return 0;
}

const struct holder ring_holder = {
	.missing = ring_holder_missing,
	.start = ring_start,
	.hold = ring_holder_hold,
	.read = ring_holder_read,
};
