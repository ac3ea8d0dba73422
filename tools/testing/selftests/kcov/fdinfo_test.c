// SPDX-License-Identifier: GPL-2.0
/* The lines of a descriptor in /proc/PID/fdinfo/FD, in every state. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"

#define WORDS		4096UL
#define COMMON(n)	(KCOV_SUBSYSTEM_COMMON | (0x7e5d0100 + (n)))
#define USB(n)		(KCOV_SUBSYSTEM_USB | (0x7e5d0000 + (n)))

FIXTURE(fdinfo) {
	struct worker worker;
	int fd;
};

FIXTURE_SETUP(fdinfo)
{
	/* Checks another feature, so that an implementation that has lost its lines fails. */
	if (reset_missing())
		SKIP(return, "this implementation adds nothing to fdinfo");
	self->fd = kcov_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(fdinfo)
{
	close(self->fd);
}

/* Copies KCOV's lines of a descriptor of @pid to @lines. */
static void read_lines(pid_t pid, int fd, char *lines, size_t size)
{
	char path[64], line[128];
	FILE *file;

	lines[0] = 0;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "kcov-", 5) && strlen(lines) + strlen(line) < size)
			strcat(lines, line);
	if (file)
		fclose(file);
}

/* Returns all lines for a descriptor without dropped records and lost sections. */
static const char *lines_of(const char *state, const char *mode, unsigned long words,
			    unsigned int handles)
{
	static char lines[512];

	snprintf(lines, sizeof(lines),
		 "kcov-state:\t%s\nkcov-mode:\t%s\nkcov-words:\t%lu\nkcov-handles:\t%u\n"
		 "kcov-dropped-records:\t0\nkcov-lost-sections:\t0\n",
		 state, mode, words, handles);
	return lines;
}

/*
 * Returns the difference between the lines of the descriptor and those expected; empty if they are
 * equal.
 */
static const char *difference(int fd, const char *state, const char *mode, unsigned long words,
			      unsigned int handles)
{
	static char found[512];

	read_lines(getpid(), fd, found, sizeof(found));
	return strcmp(found, lines_of(state, mode, words, handles)) ? found : "";
}

#define EXPECT_LINES(state, mode, words, handles) \
	EXPECT_STREQ("", difference(self->fd, state, mode, words, handles))

static long enable_remote(int fd, uint32_t mode, uint64_t common, unsigned int handles)
{
	struct kcov_remote_arg *arg = calloc(1, sizeof(*arg) + handles * sizeof(arg->handles[0]));
	unsigned int i;
	long ret;

	arg->trace_mode = mode;
	arg->area_size = 64;
	arg->front_size = 512;
	arg->num_handles = handles;
	arg->common_handle = common;
	for (i = 0; i < handles; i++)
		arg->handles[i] = USB(i);
	ret = kcov_ioctl(fd, KCOV_REMOTE_ENABLE, (unsigned long)arg);
	free(arg);
	return ret;
}

struct remote_request {
	int fd;
	uint32_t mode;
	uint64_t common;
	unsigned int handles;
};

static long enable_in_worker(void *data)
{
	struct remote_request *request = data;

	return enable_remote(request->fd, request->mode, request->common, request->handles);
}

TEST_F(fdinfo, buffer)
{
	EXPECT_LINES("opened", "none", 0, 0);
	EXPECT_EQ(-EINVAL, kcov_init(self->fd, 1));
	EXPECT_EQ(-EINVAL, kcov_enable(self->fd, KCOV_TRACE_PC));
	EXPECT_LINES("opened", "none", 0, 0);
	ASSERT_EQ(0, kcov_init(self->fd, 2));
	EXPECT_LINES("ready", "none", 2, 0);
	/* The requested size is shown, not the size of the memory. */
	EXPECT_EQ(-EBUSY, kcov_init(self->fd, WORDS));
	EXPECT_LINES("ready", "none", 2, 0);
	close(self->fd);
	self->fd = kcov_open();
	ASSERT_EQ(0, kcov_init(self->fd, WORDS + 1));
	EXPECT_LINES("ready", "none", WORDS + 1, 0);
}

/* Another task enables it, so that the reading task is not recorded. */
TEST_F(fdinfo, modes)
{
	static const struct {
		unsigned long cmd, arg;
		const char *name;
	} modes[] = {
		{ KCOV_ENABLE, KCOV_TRACE_PC, "pc" },
		{ KCOV_ENABLE, KCOV_TRACE_CMP, "cmp" },
		{ KCOV_UNIQUE_ENABLE, 1024, "unique" },
		{ KCOV_PC_CMP_ENABLE, 2048, "pc+cmp" },
		{ KCOV_EDGE_ENABLE, 1024, "edge" },
	};
	size_t i;

	ASSERT_EQ(0, kcov_init(self->fd, 64 * WORDS));
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		long ret = worker_ioctl(&self->worker, self->fd, modes[i].cmd, modes[i].arg);

		if (ret == -ENOTSUPP) {
			EXPECT_LINES("ready", "none", 64 * WORDS, 0);
			continue;
		}
		ASSERT_EQ(0, ret);
		/* A record of an earlier mode may be where this mode has the count of its trace. */
		ASSERT_EQ(0, worker_ioctl(&self->worker, self->fd, KCOV_RESET_TRACE, 0));
		EXPECT_LINES("enabled", modes[i].name, 64 * WORDS, 0);
		/* A call that fails changes nothing. */
		EXPECT_EQ(-EINVAL, kcov_disable(self->fd));
		EXPECT_EQ(-EINVAL, kcov_enable(self->fd, KCOV_TRACE_PC));
		EXPECT_LINES("enabled", modes[i].name, 64 * WORDS, 0);
		ASSERT_EQ(0, worker_ioctl(&self->worker, self->fd, KCOV_DISABLE, 0));
		EXPECT_LINES("ready", "none", 64 * WORDS, 0);
	}
}

TEST_F(fdinfo, remote)
{
	static const struct {
		uint32_t mode;
		const char *name;
		uint64_t common;
		unsigned int handles, shown;
	} requests[] = {
		{ KCOV_TRACE_PC, "pc", 0, 0, 0 },
		{ KCOV_TRACE_PC, "pc", COMMON(0), 0, 1 },
		{ KCOV_TRACE_PC, "pc", 0, 1, 1 },
		{ KCOV_TRACE_CMP, "cmp", COMMON(1), 1, 2 },
		{ KCOV_TRACE_UNIQUE_PC, "unique", COMMON(2), 3, 4 },
		{ KCOV_TRACE_PC_CMP, "pc+cmp", 0, 5, 5 },
		{ KCOV_TRACE_PC, "pc", COMMON(3), KCOV_REMOTE_MAX_HANDLES,
		  KCOV_REMOTE_MAX_HANDLES + 1 },
	};
	const uint64_t others = statistic("handles");
	size_t i;

	ASSERT_EQ(0, kcov_init(self->fd, WORDS));
	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		long ret = enable_remote(self->fd, requests[i].mode, requests[i].common,
					 requests[i].handles);

		if (ret == -ENOTSUPP) {
			EXPECT_LINES("ready", "none", WORDS, 0);
			continue;
		}
		ASSERT_EQ(0, ret);
		EXPECT_LINES("remote", requests[i].name, WORDS, requests[i].shown);
		EXPECT_EQ(others + requests[i].shown, statistic("handles"));
		ASSERT_EQ(0, kcov_disable(self->fd));
		EXPECT_EQ(others, statistic("handles"));
		EXPECT_LINES("ready", "none", WORDS, 0);
	}
}

/* The handles of one descriptor, and those of a refused call. */
TEST_F(fdinfo, refused_handles)
{
	struct remote_request taken = { self->fd, KCOV_TRACE_PC, COMMON(4), 2 };
	int other = kcov_open();

	ASSERT_EQ(0, kcov_init(self->fd, WORDS));
	ASSERT_EQ(0, kcov_init(other, WORDS));
	ASSERT_EQ(0, enable_remote(other, KCOV_TRACE_PC, COMMON(4), 0));
	/* Another task makes this call, as this one has a descriptor enabled already. */
	EXPECT_EQ(-EEXIST, worker_run(&self->worker, enable_in_worker, &taken));
	EXPECT_LINES("ready", "none", WORDS, 0);
	taken.common = COMMON(5);
	ASSERT_EQ(0, worker_run(&self->worker, enable_in_worker, &taken));
	EXPECT_LINES("remote", "pc", WORDS, 3);
	EXPECT_STREQ("", difference(other, "remote", "pc", WORDS, 1));
	ASSERT_EQ(0, kcov_disable(other));
	EXPECT_LINES("remote", "pc", WORDS, 3);
	EXPECT_STREQ("", difference(other, "ready", "none", WORDS, 0));
	close(other);
}

TEST_F(fdinfo, exit_of_the_task)
{
	struct remote_request request = { self->fd, KCOV_TRACE_PC, COMMON(6), 4 };

	ASSERT_EQ(0, kcov_init(self->fd, 64 * WORDS));
	ASSERT_EQ(0, worker_ioctl(&self->worker, self->fd, KCOV_ENABLE, KCOV_TRACE_PC));
	EXPECT_LINES("enabled", "pc", 64 * WORDS, 0);
	worker_end(&self->worker);
	EXPECT_LINES("ready", "none", 64 * WORDS, 0);

	ASSERT_EQ(0, worker_start(&self->worker));
	ASSERT_EQ(0, worker_run(&self->worker, enable_in_worker, &request));
	EXPECT_LINES("remote", "pc", 64 * WORDS, 5);
	worker_end(&self->worker);
	EXPECT_LINES("ready", "none", 64 * WORDS, 0);
	ASSERT_EQ(0, enable_in_worker(&request));
	EXPECT_LINES("remote", "pc", 64 * WORDS, 5);
	ASSERT_EQ(0, kcov_disable(self->fd));
}

/* The file belongs to a process, the descriptor does not: a child shows the same. */
TEST_F(fdinfo, inherited_file)
{
	char lines[512], seen[512];
	int file = -1, pipes[2], status;
	pid_t child;

	ASSERT_EQ(0, kcov_init(self->fd, WORDS));
	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char byte;

		close(pipes[1]);
		_exit(read(pipes[0], &byte, 1) != 0);
	}
	ASSERT_EQ(0, enable_remote(self->fd, KCOV_TRACE_PC, 0, 2));
	file = dup(self->fd);
	read_lines(getpid(), file, lines, sizeof(lines));
	read_lines(child, self->fd, seen, sizeof(seen));
	EXPECT_STREQ(lines_of("remote", "pc", WORDS, 2), lines);
	EXPECT_STREQ(lines, seen);
	ASSERT_EQ(0, kcov_disable(file));
	read_lines(child, self->fd, seen, sizeof(seen));
	EXPECT_STREQ(lines_of("ready", "none", WORDS, 0), seen);
	close(pipes[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	close(file);
}

/* A task may read the state of the descriptor that records it. */
TEST_F(fdinfo, own_descriptor)
{
	ASSERT_EQ(0, kcov_init(self->fd, 64 * WORDS));
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	EXPECT_LINES("enabled", "pc", 64 * WORDS, 0);
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_LINES("ready", "none", 64 * WORDS, 0);
}

TEST_HARNESS_MAIN
