// SPDX-License-Identifier: GPL-2.0
/*
 * KCOV_DISABLE_ANY: any task disables a descriptor, whichever task has enabled it, and whatever
 * that task does. The other task finds that it has nothing enabled.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define FRONT	64UL
#define WORDS	8192UL
#define HANDLE	(KCOV_SUBSYSTEM_COMMON | 0x7e5f0001)

FIXTURE(any) {
	uint64_t *area;
	struct worker worker;
	/* The worker waits here. */
	int pipe[2];
	int fd;
};

FIXTURE_VARIANT(any) {
	unsigned long cmd;
	/* The mode, if the call takes one; other calls take the size of the front. */
	unsigned long argument;
};

#define WAY(name, ...) FIXTURE_VARIANT_ADD(any, name) { __VA_ARGS__ }

WAY(pc, KCOV_ENABLE, KCOV_TRACE_PC);
WAY(unique, KCOV_UNIQUE_ENABLE, FRONT);
WAY(remote, KCOV_REMOTE_ENABLE, KCOV_TRACE_PC);

static const char *any_missing(void)
{
	return kcov_answer(KCOV_DISABLE_ANY, 0) == -ENOTTY ?
		"this implementation has no KCOV_DISABLE_ANY" : NULL;
}

static long enable(int fd, const FIXTURE_VARIANT(any) *variant)
{
	if (variant->cmd == KCOV_REMOTE_ENABLE)
		return kcov_remote_enable(fd, variant->argument, 64, HANDLE, 0);
	return kcov_ioctl(fd, variant->cmd, variant->argument);
}

static long disable_any(int fd)
{
	return kcov_ioctl(fd, KCOV_DISABLE_ANY, 0);
}

static bool is_enabled(int fd)
{
	return !kcov_ioctl(fd, KCOV_RESET_TRACE, 0);
}

FIXTURE_SETUP(any)
{
	const char *missing = any_missing();
	long ret;

	if (missing)
		SKIP(return, "%s", missing);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	ret = enable(self->fd, variant);
	if (ret == -ENOTSUPP)
		SKIP(return, "this mode is configured out");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, kcov_disable(self->fd));
	ASSERT_EQ(0, pipe(self->pipe));
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(any)
{
	worker_end(&self->worker);
	close(self->fd);
}

/* The work between the worker's enable and its attempt to disable. */
struct task {
	const FIXTURE_VARIANT(any) *variant;
	void (*work)(struct task *task);
	int fd, pipe;
	atomic_bool enabled, stop;
	long disabled;
};

static long enable_and_work(void *data)
{
	struct task *task = data;
	long ret = enable(task->fd, task->variant);

	task->enabled = true;
	if (!ret)
		task->work(task);
	task->disabled = kcov_disable(task->fd);
	return ret;
}

static void read_pipe(struct task *task)
{
	char byte;

	if (read(task->pipe, &byte, 1) != 1)
		perror("read");
}

static void spin(struct task *task)
{
	while (!task->stop)
		;
}

static void make_calls(struct task *task)
{
	while (!task->stop)
		mark_one();
}

/* Yields: mostly the task is in the scheduler, but does not wait. */
static void yield(struct task *task)
{
	while (!task->stop)
		sched_yield();
}

static void start(FIXTURE_DATA(any) *self, struct task *task)
{
	self->worker.function = enable_and_work;
	self->worker.argument = task;
	sem_post(&self->worker.request);
	while (!task->enabled)
		usleep(100);
}

static long finish(FIXTURE_DATA(any) *self, struct task *task)
{
	task->stop = true;
	if (write(self->pipe[1], "", 1) != 1)
		perror("write");
	while (sem_wait(&self->worker.done))
		;
	return self->worker.result;
}

TEST_F(any, errors)
{
	int fresh = kcov_open();

	ASSERT_LE(0, fresh);
	EXPECT_EQ(-EINVAL, disable_any(fresh));
	EXPECT_EQ(-EINVAL, disable_any(self->fd));
	ASSERT_EQ(0, enable(self->fd, variant));
	EXPECT_EQ(-EINVAL, kcov_ioctl(self->fd, KCOV_DISABLE_ANY, 1));
	EXPECT_EQ(-EINVAL, kcov_ioctl(self->fd, KCOV_DISABLE_ANY, 1UL << 32));
	EXPECT_EQ(-EINVAL, disable_any(fresh));
	/* Still enabled. */
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(-EINVAL, disable_any(self->fd));
	close(fresh);
}

/* For the calling task, it is KCOV_DISABLE. */
TEST_F(any, own)
{
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, enable(self->fd, variant));
		ASSERT_EQ(0, disable_any(self->fd));
		EXPECT_EQ(-EINVAL, kcov_disable(self->fd));
	}
}

static void disable_while(struct __test_metadata *_metadata, FIXTURE_DATA(any) *self,
			  const FIXTURE_VARIANT(any) *variant, void (*work)(struct task *))
{
	struct task task = { variant, work, self->fd, self->pipe[0] };
	int i;

	for (i = 0; i < 20; i++) {
		task.enabled = task.stop = false;
		start(self, &task);
		if (i % 2)
			usleep(2000);
		/* KCOV_DISABLE is for the task that has enabled. */
		EXPECT_EQ(-EINVAL, kcov_disable(self->fd));
		ASSERT_EQ(0, disable_any(self->fd));
		EXPECT_EQ(-EINVAL, disable_any(self->fd));
		/* The descriptor is free for any task, and so is this one. */
		ASSERT_EQ(0, enable(self->fd, variant));
		ASSERT_EQ(0, kcov_disable(self->fd));
		if (variant->cmd == KCOV_ENABLE)
			cover_reset(self->area);
		ASSERT_EQ(0, finish(self, &task));
		EXPECT_EQ(-EINVAL, task.disabled);
		/* Nothing of the worker was recorded since. */
		if (variant->cmd == KCOV_ENABLE)
			EXPECT_EQ(0, cover_count(self->area));
	}
}

TEST_F_TIMEOUT(any, whatever_the_task_does, 120)
{
	disable_while(_metadata, self, variant, read_pipe);
	disable_while(_metadata, self, variant, spin);
	disable_while(_metadata, self, variant, make_calls);
	disable_while(_metadata, self, variant, yield);
}

/* The task's own mode and buffer stay usable: it enables again, here and elsewhere. */
TEST_F(any, enable_again)
{
	struct task task = { variant, read_pipe, self->fd, self->pipe[0] };
	int i;

	for (i = 0; i < 3; i++) {
		task.enabled = false;
		start(self, &task);
		ASSERT_EQ(0, disable_any(self->fd));
		ASSERT_EQ(0, finish(self, &task));
		EXPECT_EQ(-EINVAL, task.disabled);
	}
	task.enabled = false;
	start(self, &task);
	ASSERT_EQ(0, finish(self, &task));
	EXPECT_EQ(0, task.disabled);
}

/* A stopped process, which may never continue. */
TEST_F(any, stopped_process)
{
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child) {
		be_mortal(LIFETIME);
		if (enable(self->fd, variant))
			_exit(1);
		raise(SIGSTOP);
		_exit(kcov_disable(self->fd) == -EINVAL ? 0 : 2);
	}
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	EXPECT_EQ(0, disable_any(self->fd));
	ASSERT_EQ(0, enable(self->fd, variant));
	ASSERT_EQ(0, kcov_disable(self->fd));
	ASSERT_EQ(0, kill(child, SIGCONT));
	EXPECT_EQ(0, exit_status(child));
}

/* The task exits, or is killed, at the same time: each of both may be first. */
TEST_F_TIMEOUT(any, exiting_process, 60)
{
	long ret, disabled = 0;
	pid_t child;
	int i;

	for (i = 0; i < 100; i++) {
		int ready[2];
		char byte;

		ASSERT_EQ(0, pipe(ready));
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			be_mortal(LIFETIME);
			if (enable(self->fd, variant) || write(ready[1], "", 1) != 1)
				_exit(1);
			if (i % 2)
				pause();
			_exit(0);
		}
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		if (i % 2)
			kill(child, SIGKILL);
		ret = disable_any(self->fd);
		EXPECT_TRUE(!ret || ret == -EINVAL);
		disabled += !ret;
		exit_status(child);
		close(ready[0]);
		close(ready[1]);
		/* The descriptor is free in each case. */
		ASSERT_EQ(0, enable(self->fd, variant));
		ASSERT_EQ(0, kcov_disable(self->fd));
	}
	EXPECT_LT(0, disabled);
}

/* Two tasks disable each other's descriptors at the same time, again and again. */
struct pair {
	const FIXTURE_VARIANT(any) *variant;
	int own, other;
	long failed;
};

static long disable_the_other(void *data)
{
	struct pair *pair = data;
	long ret;
	int i;

	for (i = 0; i < 300; i++) {
		ret = pair->variant->cmd == KCOV_REMOTE_ENABLE ?
			kcov_remote_enable(pair->own, KCOV_TRACE_PC, 64, HANDLE + pair->own, 0) :
			enable(pair->own, pair->variant);
		/* The last enable may still be going on, and be disabled only now. */
		pair->failed += ret && ret != -EINVAL && ret != -EBUSY;
		ret = disable_any(pair->other);
		pair->failed += ret && ret != -EINVAL;
	}
	kcov_disable(pair->own);
	return 0;
}

TEST_F_TIMEOUT(any, each_other, 60)
{
	uint64_t *area;
	int fd = kcov_open_mapped(WORDS, &area);
	struct pair mine = { variant, fd, self->fd }, theirs = { variant, self->fd, fd };

	ASSERT_LE(0, fd);
	self->worker.function = disable_the_other;
	self->worker.argument = &theirs;
	sem_post(&self->worker.request);
	disable_the_other(&mine);
	while (sem_wait(&self->worker.done))
		;
	EXPECT_EQ(0, mine.failed);
	EXPECT_EQ(0, theirs.failed);
	disable_any(fd);
	disable_any(self->fd);
	ASSERT_EQ(0, enable(fd, variant));
	EXPECT_EQ(0, kcov_disable(fd));
	close(fd);
}

struct registrar {
	pthread_t thread;
	atomic_bool stop;
	int fd;
};

/* Registers many handles, again and again, so that other tasks often have to wait. */
static void *register_handles(void *data)
{
	static struct {
		struct kcov_remote_arg arg;
		uint64_t handles[256];
	} request = { .arg = { .area_size = 64, .num_handles = 256 } };
	struct registrar *registrar = data;
	int i;

	for (i = 0; i < 256; i++)
		request.handles[i] = (KCOV_SUBSYSTEM_USB | 0x7e600000) + i;
	while (!registrar->stop)
		if (!kcov_ioctl(registrar->fd, KCOV_REMOTE_ENABLE, (unsigned long)&request))
			kcov_disable(registrar->fd);
	return NULL;
}

/* The recording, and a second descriptor that the task changes meanwhile. */
struct both {
	const FIXTURE_VARIANT(any) *variant;
	int fd, other;
	long failed;
	atomic_bool done;
};

static long change_the_other(void *data)
{
	struct both *both = data;
	int i;

	for (i = 0; i < 1000; i++) {
		both->failed += enable(both->fd, both->variant) != 0;
		both->failed += kcov_remote_enable(both->other, KCOV_TRACE_PC, 64, HANDLE, 0) != 0;
		both->failed += kcov_disable(both->other) != 0;
		mark_one();
		/* Here, or by the other task, which may have taken it without being done. */
		while (kcov_disable(both->fd) && is_enabled(both->fd))
			sched_yield();
	}
	both->done = true;
	return 0;
}

/*
 * A task that waits inside KCOV_DISABLE of another descriptor goes on with its recording when it
 * comes back, so that is no moment to end the recording for it.
 */
TEST_F_TIMEOUT(any, inside_another_command, 60)
{
	struct both both = { variant, self->fd };
	struct registrar registrar = { 0 };
	uint64_t *area;
	long ret, disabled = 0, failed = 0;

	if (variant->cmd == KCOV_REMOTE_ENABLE)
		SKIP(return, "a task has one descriptor for remote sections");
	both.other = kcov_open_mapped(WORDS, &area);
	ASSERT_LE(0, both.other);
	registrar.fd = kcov_open_mapped(WORDS, &area);
	ASSERT_LE(0, registrar.fd);
	ASSERT_EQ(0, pthread_create(&registrar.thread, NULL, register_handles, &registrar));
	self->worker.function = change_the_other;
	self->worker.argument = &both;
	sem_post(&self->worker.request);
	while (!both.done) {
		ret = disable_any(self->fd);
		disabled += !ret;
		failed += ret && ret != -EINVAL;
	}
	while (sem_wait(&self->worker.done))
		;
	registrar.stop = true;
	pthread_join(registrar.thread, NULL);
	EXPECT_EQ(0, both.failed);
	EXPECT_EQ(0, failed);
	EXPECT_LT(0, disabled);
	close(both.other);
	close(registrar.fd);
}

/* Many tasks do it at once: one enable ends once, and all calls end. */
TEST_F_TIMEOUT(any, at_once, 60)
{
	struct task task = { variant, make_calls, self->fd, self->pipe[0] };
	enum { CHILDREN = 4 };
	pid_t children[CHILDREN];
	int i, disabled = 0;

	start(self, &task);
	for (i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		ASSERT_LE(0, children[i]);
		if (!children[i]) {
			long ret = disable_any(self->fd);

			_exit(!ret ? 0 : ret == -EINVAL ? 1 : 2);
		}
	}
	for (i = 0; i < CHILDREN; i++) {
		int status = exit_status(children[i]);

		ASSERT_TRUE(WIFEXITED(status));
		EXPECT_GT(2, WEXITSTATUS(status));
		disabled += !WEXITSTATUS(status);
	}
	EXPECT_LT(0, disabled);
	ASSERT_EQ(0, finish(self, &task));
	EXPECT_EQ(-EINVAL, task.disabled);
}

static void nothing(int signal)
{
}

enum { PIECES = 500, PIECE = 4 << 20 };

/*
 * Enables, says so, and makes one call that takes seconds, unless a signal ends it, and in which
 * the task never waits. Does not return.
 */
static void copy_zeros(int fd, const FIXTURE_VARIANT(any) *variant, int ready)
{
	static struct iovec pieces[PIECES];
	struct sigaction action = { .sa_handler = nothing };
	int i, zero = open("/dev/zero", O_RDONLY);
	char *memory = mmap(NULL, PIECE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	be_mortal(LIFETIME);
	for (i = 0; i < PIECES; i++)
		pieces[i] = (struct iovec){ memory, PIECE };
	sigaction(SIGUSR1, &action, NULL);
	if (memory == MAP_FAILED || enable(fd, variant) || write(ready, "", 1) != 1 ||
	    readv(zero, pieces, PIECES) < 0)
		_exit(1);
	_exit(kcov_disable(fd) == -EINVAL ? 0 : 2);
}

/* Returns the state of a process, a letter, and the time that it has spent in the kernel. */
static char state_of(pid_t pid, unsigned long *system)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%*d (%*[^)]) %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %lu",
			    &state, system) != 2)
		perror(path);
	if (file)
		fclose(file);
	return state;
}

/*
 * The caller waits while the task runs in the kernel, and can be killed. What it has asked for
 * happens when the task comes back, with or without the caller.
 */
TEST_F_TIMEOUT(any, killed_while_it_waits, 60)
{
	unsigned long before, now, ignored;
	int ready[2], killed;
	pid_t task, caller;
	time_t since = 0;
	char byte;

	for (killed = 0; killed < 2; killed++) {
		ASSERT_EQ(0, pipe(ready));
		task = fork();
		ASSERT_LE(0, task);
		if (!task)
			copy_zeros(self->fd, variant, ready[1]);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		/* Until it is in the long call: nothing else takes so many ticks. */
		state_of(task, &before);
		do {
			usleep(1000);
			state_of(task, &now);
		} while (now < before + 3 && may_wait(&since));
		caller = fork();
		ASSERT_LE(0, caller);
		if (!caller) {
			be_mortal(LIFETIME);
			_exit(disable_any(self->fd) ? 1 : 0);
		}
		while (!strchr("DZ", state_of(caller, &ignored)) && may_wait(&since))
			usleep(1000);
		EXPECT_EQ(0, waitpid(caller, NULL, WNOHANG));
		EXPECT_TRUE(is_enabled(self->fd));
		if (killed) {
			ASSERT_EQ(0, kill(caller, SIGKILL));
			EXPECT_EQ(SIGKILL, exit_status(caller));
			EXPECT_TRUE(is_enabled(self->fd));
		}
		ASSERT_EQ(0, kill(task, SIGUSR1));
		if (!killed)
			EXPECT_EQ(0, exit_status(caller));
		EXPECT_EQ(0, exit_status(task));
		EXPECT_FALSE(is_enabled(self->fd));
		close(ready[0]);
		close(ready[1]);
	}
}

TEST_HARNESS_MAIN
