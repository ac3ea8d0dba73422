// SPDX-License-Identifier: GPL-2.0
/*
 * In each call of the interface, every allocation of memory and every copy from or to user space
 * fails once: the call returns an error, and leaves everything as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kcov_sample.h"
#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define FAULTS		"/sys/kernel/debug/"
#define NTH		"/proc/thread-self/fail-nth"
#define DEVICE		"/dev/kcov-sample"
/* Several pages. */
#define WORDS		4096UL
#define HANDLES		KCOV_REMOTE_MAX_HANDLES
#define FIRST		0x7e600000
/* More than any call has. */
#define TOO_MANY	5000

static bool set(const char *file, const char *value)
{
	char path[128];
	int fd;
	bool written;

	snprintf(path, sizeof(path), FAULTS "%s", file);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return false;
	written = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return written;
}

/* Returns NULL if faults can be injected into the calling thread, or the reason why not. */
static const char *faults_missing(void)
{
	if (access(NTH, W_OK))
		return "no " NTH " (CONFIG_FAULT_INJECTION)";
	/* Allocations that may sleep fail too, as do single pages; the log stays silent. */
	if (!set("failslab/ignore-gfp-wait", "N") || !set("failslab/verbose", "0"))
		return "CONFIG_FAILSLAB is not set";
	if (!set("fail_page_alloc/ignore-gfp-wait", "N") ||
	    !set("fail_page_alloc/ignore-gfp-highmem", "N") ||
	    !set("fail_page_alloc/min-order", "0") || !set("fail_page_alloc/verbose", "0"))
		return "CONFIG_FAIL_PAGE_ALLOC is not set";
	if (!set("fail_usercopy/verbose", "0"))
		return "CONFIG_FAULT_INJECTION_USERCOPY is not set";
	return NULL;
}

/* Makes the @nth allocation or copy of this thread fail from now on, or none. */
static bool arm(int fd, unsigned int nth)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", nth), i;

	/* This write may itself hit the fault that was requested last, once. */
	for (i = 0; i < 10; i++)
		if (pwrite(fd, text, length, 0) == length)
			return true;
	return false;
}

/* Returns whether the fault came. It comes in the read itself if the call had fewer. */
static bool fault_came(int fd)
{
	char text[16] = "";

	return pread(fd, text, sizeof(text) - 1, 0) > 0 && atoi(text) == 0;
}

FIXTURE(faults) {
	struct kcov_remote_arg *arg;
	struct kcov_sample_handles handles;
	uint64_t *area;
	int nth;
	int fd;
	int device;
	int log;
};

typedef long (*call_fn)(FIXTURE_DATA(faults) *self);

static long call_open(FIXTURE_DATA(faults) *self)
{
	int fd = kcov_open();

	if (fd >= 0)
		self->fd = fd;
	return fd;
}

static void undo_open(FIXTURE_DATA(faults) *self)
{
	close(self->fd);
	self->fd = -1;
}

static long call_init(FIXTURE_DATA(faults) *self)
{
	return kcov_init(self->fd, WORDS);
}

static void reopen(FIXTURE_DATA(faults) *self)
{
	close(self->fd);
	self->fd = kcov_open();
}

static long call_map(FIXTURE_DATA(faults) *self)
{
	self->area = kcov_map(self->fd, WORDS);
	return self->area ? 0 : -errno;
}

static void undo_map(FIXTURE_DATA(faults) *self)
{
	kcov_unmap(self->area, WORDS);
	self->area = NULL;
}

static long call_enable(FIXTURE_DATA(faults) *self)
{
	return kcov_enable(self->fd, KCOV_TRACE_PC);
}

static long call_unique(FIXTURE_DATA(faults) *self)
{
	return kcov_ioctl(self->fd, KCOV_UNIQUE_ENABLE, WORDS / 2);
}

static long call_both(FIXTURE_DATA(faults) *self)
{
	return kcov_ioctl(self->fd, KCOV_PC_CMP_ENABLE, WORDS / 2);
}

static long call_remote(FIXTURE_DATA(faults) *self)
{
	return kcov_ioctl(self->fd, KCOV_REMOTE_ENABLE, (unsigned long)self->arg);
}

static void undo_enable(FIXTURE_DATA(faults) *self)
{
	kcov_disable(self->fd);
}

/* Nested sections need more areas than the pool has. The implementation in C does not nest. */
static long call_sections(FIXTURE_DATA(faults) *self)
{
	struct kcov_sample_sections sections = {
		.context = KCOV_SAMPLE_PREEMPTIBLE,
		.depth = statistics_missing() ? 1 : 8,
	};

	return kcov_ioctl(self->device, KCOV_SAMPLE_SECTIONS, (unsigned long)&sections);
}

/*
 * Makes a call with each of its allocations and copies failing in turn; returns the number of its
 * allocations and copies. The last call succeeds and has been undone.
 */
static unsigned int each_fault(struct __test_metadata *_metadata, FIXTURE_DATA(faults) *self,
			       call_fn call, void (*undo)(FIXTURE_DATA(faults) *self))
{
	unsigned int nth;
	bool came = true;

	for (nth = 1; came && nth < TOO_MANY; nth++) {
		long result;

		ASSERT_TRUE(arm(self->nth, nth));
		result = call(self);
		came = fault_came(self->nth);
		ASSERT_TRUE(arm(self->nth, 0));
		if (result < 0) {
			EXPECT_TRUE(came);
			EXPECT_TRUE(result == -ENOMEM || result == -EFAULT)
				TH_LOG("%s, at fault %u", strerror(-result), nth);
			/* The state is as if the failed call had not been made. */
			ASSERT_LE(0, call(self)) TH_LOG("after fault %u", nth);
		}
		undo(self);
	}
	ASSERT_LT(nth, TOO_MANY);
	return nth - 2;
}

FIXTURE_SETUP(faults)
{
	const char *missing = faults_missing() ?: symbols_missing();
	uint32_t i;

	if (missing)
		SKIP(return, "%s", missing);
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->nth = open(NTH, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->nth);
	self->device = open(DEVICE, O_RDWR | O_CLOEXEC);
	self->arg = calloc(1, sizeof(*self->arg) + HANDLES * sizeof(self->arg->handles[0]));
	ASSERT_NE(NULL, self->arg);
	self->arg->trace_mode = KCOV_TRACE_PC;
	self->arg->area_size = WORDS;
	self->arg->num_handles = HANDLES;
	self->arg->common_handle = KCOV_SUBSYSTEM_COMMON | FIRST;
	for (i = 0; i < HANDLES; i++)
		self->arg->handles[i] = KCOV_SUBSYSTEM_USB | (FIRST + i);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(faults)
{
	char line[256];

	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line))) TH_LOG("%s", line);
	if (self->fd >= 0)
		close(self->fd);
	if (self->device >= 0)
		close(self->device);
	close(self->nth);
	free(self->arg);
}

TEST_F(faults, open)
{
	undo_open(self);
	EXPECT_LT(0, each_fault(_metadata, self, call_open, undo_open));
}

TEST_F(faults, init)
{
	reopen(self);
	/* One or two structures, and each page. */
	EXPECT_LT(WORDS * sizeof(uint64_t) / 4096,
		  each_fault(_metadata, self, call_init, reopen));
}

TEST_F(faults, map)
{
	undo_map(self);
	EXPECT_LT(0, each_fault(_metadata, self, call_map, undo_map));
}

TEST_F(faults, enable)
{
	each_fault(_metadata, self, call_enable, undo_enable);
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	cover_reset(self->area);
	mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
}

TEST_F(faults, enable_unique)
{
	if (unique_missing())
		SKIP(return, "%s", unique_missing());
	each_fault(_metadata, self, call_unique, undo_enable);
}

TEST_F(faults, enable_both)
{
	if (both_missing())
		SKIP(return, "%s", both_missing());
	each_fault(_metadata, self, call_both, undo_enable);
}

TEST_F_TIMEOUT(faults, remote_enable, 120)
{
	/* The argument is copied in pieces. */
	EXPECT_LT(1, each_fault(_metadata, self, call_remote, undo_enable));
	ASSERT_EQ(0, call_remote(self));
}

TEST_F_TIMEOUT(faults, remote_enable_unique, 120)
{
	if (unique_missing())
		SKIP(return, "%s", unique_missing());
	self->arg->trace_mode = KCOV_TRACE_UNIQUE_PC;
	self->arg->front_size = WORDS / 2;
	EXPECT_LT(1, each_fault(_metadata, self, call_remote, undo_enable));
	ASSERT_EQ(0, call_remote(self));
}

TEST_F_TIMEOUT(faults, remote_enable_both, 120)
{
	if (both_missing())
		SKIP(return, "%s", both_missing());
	self->arg->trace_mode = KCOV_TRACE_PC_CMP;
	self->arg->front_size = WORDS / 2;
	EXPECT_LT(1, each_fault(_metadata, self, call_remote, undo_enable));
	ASSERT_EQ(0, call_remote(self));
}

/* A section that gets no memory is lost, and the next ones are recorded. */
TEST_F(faults, sections)
{
	unsigned int nth;
	bool came = true;

	if (self->device < 0)
		SKIP(return, "no " DEVICE " (CONFIG_SAMPLE_KCOV_MODULE)");
	ASSERT_EQ(0, ioctl(self->device, KCOV_SAMPLE_HANDLES, &self->handles));
	for (nth = 1; came && nth < TOO_MANY; nth++) {
		/* A size that no area has yet: the implementation in C keeps areas. */
		ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, WORDS - nth, 0,
						self->handles.worker));
		ASSERT_TRUE(arm(self->nth, nth));
		call_sections(self);
		came = fault_came(self->nth);
		ASSERT_TRUE(arm(self->nth, 0));
		cover_reset(self->area);
		ASSERT_EQ(0, call_sections(self));
		EXPECT_TRUE(covers(self->area, "kcov_sample_inner_code")) TH_LOG("fault %u", nth);
		ASSERT_EQ(0, kcov_disable(self->fd));
	}
	ASSERT_LT(nth, TOO_MANY);
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
