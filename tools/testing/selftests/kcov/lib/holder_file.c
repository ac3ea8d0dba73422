// SPDX-License-Identifier: GPL-2.0
/*
 * A write() in flight as a holder of pages; see holder.h.
 *
 * The file is in a FUSE file system, whose server is this process. A direct write()
 * pins the pages and waits for the server, which copies them when it reads the request.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "holder.h"

#define DEVICE		"/dev/fuse"
/* Only this process sees this mount. */
#define MOUNT_POINT	"/tmp"
#define FILE_NODE	2
#define WAIT_MS		10000
/* Many more than the kernel makes before it opens the file. */
#define MOST_REQUESTS	32

static int server = -1;

static struct {
	struct fuse_in_header header;
	char body[];
} *request;

static struct {
	pthread_t thread;
	struct iovec pages[HOLDER_PAGES];
	int count;
	ssize_t result;
} writer;

static const char *file_holder_missing(void)
{
	if (access(DEVICE, R_OK | W_OK))
		return "no " DEVICE " (CONFIG_FUSE_FS)";
	return access(MOUNT_POINT, X_OK) ? "no " MOUNT_POINT : NULL;
}

static size_t request_size(void)
{
	size_t size = sizeof(*request) + sizeof(struct fuse_write_in) +
		      HOLDER_PAGES * page_bytes();

	return size < FUSE_MIN_READ_BUFFER ? FUSE_MIN_READ_BUFFER : size;
}

static int file_start(void)
{
	char options[64];

	request = malloc(request_size());
	server = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (!request || server < 0)
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", server);
	/* The mount is gone when this process exits. */
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("kcov", MOUNT_POINT, "fuse", MS_NOSUID | MS_NODEV, options))
		return -errno;
	return 0;
}

static int wait_for_request(void)
{
	struct pollfd event = { .fd = server, .events = POLLIN };

	return poll(&event, 1, WAIT_MS) == 1 && event.revents == POLLIN ? 0 : -ETIMEDOUT;
}

static int reply(int error, const void *payload, size_t size)
{
	struct fuse_out_header header = {
		.len = sizeof(header) + size,
		.error = error,
		.unique = request->header.unique,
	};
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)payload, size } };

	return writev(server, parts, size ? 2 : 1) < 0 ? -errno : 0;
}

static void fill_attributes(struct fuse_attr *attributes, uint64_t node)
{
	attributes->ino = node;
	attributes->mode = node == FILE_NODE ? S_IFREG | 0600 : S_IFDIR | 0700;
	attributes->nlink = 1;
	attributes->blksize = page_bytes();
}

static int reply_to_init(void)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = HOLDER_PAGES * page_bytes(),
	};

	return reply(0, &out, sizeof(out));
}

static int reply_to_lookup(void)
{
	struct fuse_entry_out out = {
		.nodeid = FILE_NODE,
		.entry_valid = 3600,
		.attr_valid = 3600,
	};

	fill_attributes(&out.attr, FILE_NODE);
	return reply(0, &out, sizeof(out));
}

static int reply_to_getattr(void)
{
	struct fuse_attr_out out = { .attr_valid = 3600 };

	fill_attributes(&out.attr, request->header.nodeid);
	return reply(0, &out, sizeof(out));
}

/* Without FOPEN_NOFLUSH, the exit of this process would wait for its own answer. */
static int reply_to_open(void)
{
	struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO | FOPEN_NOFLUSH };

	return reply(0, &out, sizeof(out));
}

/* Waits for one request and answers it. */
static int serve(void)
{
	int ret = wait_for_request();

	if (ret)
		return ret;
	if (read(server, request, request_size()) < 0)
		return -errno;
	switch (request->header.opcode) {
	case FUSE_INIT:
		return reply_to_init();
	case FUSE_LOOKUP:
		return reply_to_lookup();
	case FUSE_GETATTR:
		return reply_to_getattr();
	case FUSE_OPEN:
		return reply_to_open();
	default:
		return reply(-ENOSYS, NULL, 0);
	}
}

static void *write_pages(void *unused)
{
	int fd = open(MOUNT_POINT "/file", O_WRONLY | O_CLOEXEC);

	writer.result = fd < 0 ? -1 : writev(fd, writer.pages, writer.count);
	return NULL;
}

/*
 * Returns when the pages are pinned: the request to write them has arrived, but has not been read.
 */
static int file_holder_hold(uint64_t *const *areas, int count)
{
	int i, ret, requests = 0;

	for (i = 0; i < count; i++) {
		writer.pages[i].iov_base = areas[i];
		writer.pages[i].iov_len = page_bytes();
	}
	writer.count = count;
	ret = pthread_create(&writer.thread, NULL, write_pages, NULL);
	if (ret)
		return -ret;
	do {
		ret = serve();
		if (ret)
			return ret;
		if (++requests > MOST_REQUESTS)
			return -EPROTO;
	} while (request->header.opcode != FUSE_OPEN);
	return wait_for_request();
}

/* The answer comes before all checks: a write() that waits for it cannot be killed. */
static int file_holder_read(void *pages, int count)
{
	struct fuse_write_out out = { .size = count * page_bytes() };
	const struct fuse_write_in *in = (void *)request->body;
	int ret = wait_for_request();

	if (ret)
		return ret;
	if (read(server, request, request_size()) < 0)
		return -errno;
	ret = reply(0, &out, sizeof(out));
	if (ret)
		return ret;
	if (request->header.opcode != FUSE_WRITE || in->size != out.size)
		return -EPROTO;
	memcpy(pages, in + 1, out.size);
	pthread_join(writer.thread, NULL);
	return writer.result == (ssize_t)out.size ? 0 : -EIO;
}

const struct holder file_holder = {
	.missing = file_holder_missing,
	.start = file_start,
	.hold = file_holder_hold,
	.read = file_holder_read,
};
