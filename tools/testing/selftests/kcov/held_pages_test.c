// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of a buffer that another object of the kernel holds after the last munmap() and close().
 * They keep their content, because the kernel does not write to them any more. The kernel must not
 * read a pointer from them either, because a user can still write to them.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kcov_sample.h"
#include "kselftest_harness.h"
#include "holder.h"
#include "kcov.h"
#include "realtime.h"

/* Whole pages, for every page size. */
#define WORDS		8192UL
#define AREA_WORDS	64
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e600001)
/* Long enough for the deferred work of the kernel. */
#define LATER_US	200000

/* The use of a descriptor before it is closed. */
enum use { INITIALISED, LOCAL, REMOTE };

struct buffer {
	struct worker user;
	uint64_t *area;
	int index, fd;
	enum use use;
	/* The user does not disable it. */
	bool enabled;
};

/* The first word is a count that leaves no space: the kernel records nothing more. */
static uint64_t content(int index, size_t word)
{
	return 0x5a5a5a5a00000000 + ((index + 1) << 16) + word;
}

static long use_and_fill(void *data)
{
	struct buffer *buffer = data;
	long ret = 0;
	size_t i;

	if (buffer->use == LOCAL)
		ret = kcov_enable(buffer->fd, KCOV_TRACE_PC);
	else if (buffer->use == REMOTE)
		ret = kcov_remote_enable(buffer->fd, KCOV_TRACE_PC, AREA_WORDS,
					 HANDLE + buffer->index, 0);
	mark_one();
	if (!ret && buffer->use != INITIALISED && !buffer->enabled)
		ret = kcov_disable(buffer->fd);
	for (i = 0; i < WORDS; i++)
		buffer->area[i] = content(buffer->index, i);
	return ret;
}

/* Each buffer is used by a thread of its own. */
static long buffer_start(struct buffer *buffer)
{
	buffer->fd = kcov_open_mapped(WORDS, &buffer->area);
	if (buffer->fd < 0)
		return buffer->fd;
	if (worker_start(&buffer->user))
		return -EAGAIN;
	return worker_run(&buffer->user, use_and_fill, buffer);
}

static long buffers_start(struct buffer *buffers, int count, enum use use, bool enabled)
{
	long ret = 0;
	int i;

	for (i = 0; i < count && !ret; i++) {
		buffers[i] = (struct buffer){ .index = i, .use = use, .enabled = enabled };
		ret = buffer_start(&buffers[i]);
	}
	return ret;
}

static int hold(const struct holder *holder, const struct buffer *buffers, int count)
{
	uint64_t *areas[HOLDER_PAGES];
	int i;

	for (i = 0; i < count; i++)
		areas[i] = buffers[i].area;
	return holder->hold(areas, count);
}

/* If a descriptor is left enabled, the thread is its last user. */
static void buffers_end(struct buffer *buffers, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		kcov_unmap(buffers[i].area, WORDS);
		close(buffers[i].fd);
	}
	for (i = 0; i < count; i++)
		worker_end(&buffers[i].user);
}

/* Returns NULL, or the first word that differs from the one written. */
static const uint64_t *changed(const uint64_t *pages, int count)
{
	size_t i, words = page_bytes() / sizeof(*pages);

	for (i = 0; i < count * words; i++)
		if (pages[i] != content(i / words, i % words))
			return &pages[i];
	return NULL;
}

static void expect_unchanged(struct __test_metadata *_metadata,
			     const struct holder *holder, int count)
{
	uint64_t *pages = malloc(count * page_bytes());
	const uint64_t *word;

	ASSERT_NE(NULL, pages);
	usleep(LATER_US);
	ASSERT_EQ(0, holder->read(pages, count));
	word = changed(pages, count);
	EXPECT_EQ(NULL, word)
		TH_LOG("word %zu of %d pages is %#llx", word - pages, count,
		       (unsigned long long)*word);
	free(pages);
}

FIXTURE(held) {
	struct buffer buffers[HOLDER_PAGES];
};

FIXTURE_VARIANT(held) {
	const struct holder *holder;
	enum use use;
	bool enabled;
};

FIXTURE_VARIANT_ADD(held, pipe_initialised) { &pipe_holder, INITIALISED, false };
FIXTURE_VARIANT_ADD(held, pipe_local) { &pipe_holder, LOCAL, false };
FIXTURE_VARIANT_ADD(held, pipe_remote) { &pipe_holder, REMOTE, false };
FIXTURE_VARIANT_ADD(held, pipe_local_until_exit) { &pipe_holder, LOCAL, true };
FIXTURE_VARIANT_ADD(held, pipe_remote_until_exit) { &pipe_holder, REMOTE, true };

FIXTURE_VARIANT_ADD(held, ring_initialised) { &ring_holder, INITIALISED, false };
FIXTURE_VARIANT_ADD(held, ring_local) { &ring_holder, LOCAL, false };
FIXTURE_VARIANT_ADD(held, ring_remote) { &ring_holder, REMOTE, false };
FIXTURE_VARIANT_ADD(held, ring_local_until_exit) { &ring_holder, LOCAL, true };
FIXTURE_VARIANT_ADD(held, ring_remote_until_exit) { &ring_holder, REMOTE, true };

FIXTURE_VARIANT_ADD(held, file_initialised) { &file_holder, INITIALISED, false };
FIXTURE_VARIANT_ADD(held, file_local) { &file_holder, LOCAL, false };
FIXTURE_VARIANT_ADD(held, file_remote) { &file_holder, REMOTE, false };
FIXTURE_VARIANT_ADD(held, file_local_until_exit) { &file_holder, LOCAL, true };
FIXTURE_VARIANT_ADD(held, file_remote_until_exit) { &file_holder, REMOTE, true };

FIXTURE_SETUP(held)
{
	if (variant->holder->missing())
		SKIP(return, "%s", variant->holder->missing());
	ASSERT_EQ(0, variant->holder->start());
}

FIXTURE_TEARDOWN(held)
{
}

static void hold_and_end(struct __test_metadata *_metadata, FIXTURE_DATA(held) *self,
			 const FIXTURE_VARIANT(held) *variant, int count)
{
	ASSERT_EQ(0, buffers_start(self->buffers, count, variant->use, variant->enabled));
	ASSERT_EQ(0, hold(variant->holder, self->buffers, count));
	buffers_end(self->buffers, count);
	expect_unchanged(_metadata, variant->holder, count);
}

TEST_F(held, one_page)
{
	hold_and_end(_metadata, self, variant, 1);
}

/* Several buffers that the kernel is about to free together. */
TEST_F(held, pages_of_eight_buffers)
{
	hold_and_end(_metadata, self, variant, HOLDER_PAGES);
}

/* A child exits; a holder that it shares with its parent holds pages of its buffers. */
FIXTURE(child) {
	struct buffer buffers[HOLDER_PAGES];
};

FIXTURE_VARIANT(child) {
	const struct holder *holder;
	enum use use;
};

FIXTURE_VARIANT_ADD(child, pipe_initialised) { &pipe_holder, INITIALISED };
FIXTURE_VARIANT_ADD(child, pipe_local) { &pipe_holder, LOCAL };
FIXTURE_VARIANT_ADD(child, pipe_remote) { &pipe_holder, REMOTE };

FIXTURE_VARIANT_ADD(child, ring_initialised) { &ring_holder, INITIALISED };
FIXTURE_VARIANT_ADD(child, ring_local) { &ring_holder, LOCAL };
FIXTURE_VARIANT_ADD(child, ring_remote) { &ring_holder, REMOTE };

FIXTURE_SETUP(child)
{
	if (variant->holder->missing())
		SKIP(return, "%s", variant->holder->missing());
	ASSERT_EQ(0, variant->holder->start());
}

FIXTURE_TEARDOWN(child)
{
}

static void hold_and_exit(struct __test_metadata *_metadata, FIXTURE_DATA(child) *self,
			  const FIXTURE_VARIANT(child) *variant, int count)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		if (buffers_start(self->buffers, count, variant->use, true))
			_exit(1);
		_exit(hold(variant->holder, self->buffers, count) ? 2 : 0);
	}
	ASSERT_EQ(0, exit_status(child));
	expect_unchanged(_metadata, variant->holder, count);
}

TEST_F(child, one_page)
{
	hold_and_exit(_metadata, self, variant, 1);
}

TEST_F(child, pages_of_eight_buffers)
{
	hold_and_exit(_metadata, self, variant, HOLDER_PAGES);
}

/*
 * A section in a softirq runs while its descriptor is disabled, unmapped and closed, and ends after
 * that.
 */
#define DEVICE		"/dev/kcov-sample"
/* The section must begin within this many steps of 10 ms. */
#define STEPS		1000

static void *hold_main(void *device)
{
	run_on(1);
	ioctl(*(int *)device, KCOV_SAMPLE_HOLD);
	return NULL;
}

static bool section_runs(int device)
{
	int i;

	for (i = 0; i < STEPS && ioctl(device, KCOV_SAMPLE_LET_GO, 0) == 0; i++)
		usleep(10000);
	return i < STEPS;
}

TEST(softirq_section_ends_after_close)
{
	struct kcov_sample_handles handles;
	struct buffer buffer = { .use = INITIALISED };
	int device = open(DEVICE, O_RDWR | O_CLOEXEC);
	pthread_t thread;

	if (device < 0)
		SKIP(return, "no " DEVICE " (CONFIG_SAMPLE_KCOV_MODULE)");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "a softirq would keep the only CPU busy");
	if (pipe_holder.missing())
		SKIP(return, "%s", pipe_holder.missing());
	run_on(0);
	ASSERT_EQ(0, pipe_holder.start());
	ASSERT_EQ(0, ioctl(device, KCOV_SAMPLE_HANDLES, &handles));
	ASSERT_EQ(0, buffer_start(&buffer));
	ASSERT_EQ(0, kcov_remote_enable(buffer.fd, KCOV_TRACE_PC, AREA_WORDS, 0,
					handles.softirq));
	ASSERT_EQ(0, pthread_create(&thread, NULL, hold_main, &device));
	ASSERT_TRUE(section_runs(device));
	ASSERT_EQ(0, hold(&pipe_holder, &buffer, 1));
	ASSERT_EQ(0, kcov_disable(buffer.fd));
	buffers_end(&buffer, 1);
	EXPECT_EQ(1, ioctl(device, KCOV_SAMPLE_LET_GO, 1)) TH_LOG("the section has ended");
	pthread_join(thread, NULL);
	expect_unchanged(_metadata, &pipe_holder, 1);
	close(device);
}

TEST_HARNESS_MAIN
