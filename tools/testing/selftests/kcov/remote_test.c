// SPDX-License-Identifier: GPL-2.0
/*
 * The argument of KCOV_REMOTE_ENABLE: the handles that it accepts, their owners, and that a call
 * which fails takes none.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"

#define WORDS		4096UL
#define AREA_WORDS	1024
#define USB(instance)	(KCOV_SUBSYSTEM_USB | (uint64_t)(instance))
#define COMMON(instance) (KCOV_SUBSYSTEM_COMMON | (uint64_t)(instance))
/* Much larger than the numbers of real buses. */
#define FIRST		0x7e580000

FIXTURE(remote) {
	struct kcov_remote_arg *arg;
	struct worker worker;	/* checks which handles are taken */
	int fd;
	int probe;
};

FIXTURE_SETUP(remote)
{
	self->arg = calloc(1, sizeof(*self->arg) +
			   2 * KCOV_REMOTE_MAX_HANDLES * sizeof(uint64_t));
	ASSERT_NE(NULL, self->arg);
	self->arg->area_size = AREA_WORDS;
	self->fd = kcov_open();
	self->probe = kcov_open();
	ASSERT_LE(0, self->probe);
	ASSERT_EQ(0, kcov_init(self->fd, WORDS));
	ASSERT_EQ(0, kcov_init(self->probe, WORDS));
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(remote)
{
	worker_end(&self->worker);
	close(self->probe);
	close(self->fd);
}

static long enable(FIXTURE_DATA(remote) *self)
{
	return kcov_ioctl(self->fd, KCOV_REMOTE_ENABLE, (unsigned long)self->arg);
}

/* Returns whether another thread finds the handle taken: 1, 0, or a negative errno. */
static long taken(FIXTURE_DATA(remote) *self, uint64_t handle)
{
	struct {
		struct kcov_remote_arg arg;
		uint64_t handle;
	} probe = { .arg.area_size = AREA_WORDS };
	long ret;

	if (handle & KCOV_SUBSYSTEM_MASK) {
		probe.arg.num_handles = 1;
		probe.handle = handle;
	} else {
		probe.arg.common_handle = handle;
	}
	ret = worker_ioctl(&self->worker, self->probe, KCOV_REMOTE_ENABLE,
			   (unsigned long)&probe);
	if (ret == -EEXIST)
		return 1;
	return ret ? ret : worker_ioctl(&self->worker, self->probe, KCOV_DISABLE, 0);
}

static void fill(FIXTURE_DATA(remote) *self, unsigned int count)
{
	unsigned int i;

	self->arg->num_handles = count;
	for (i = 0; i < count; i++)
		self->arg->handles[i] = USB(FIRST + i);
}

TEST(layout)
{
	EXPECT_EQ(24, sizeof(struct kcov_remote_arg));
	EXPECT_EQ(0, offsetof(struct kcov_remote_arg, trace_mode));
	EXPECT_EQ(4, offsetof(struct kcov_remote_arg, area_size));
	EXPECT_EQ(8, offsetof(struct kcov_remote_arg, num_handles));
	EXPECT_EQ(16, offsetof(struct kcov_remote_arg, common_handle));
	EXPECT_EQ(24, offsetof(struct kcov_remote_arg, handles));
	EXPECT_EQ(0x100, KCOV_REMOTE_MAX_HANDLES);
	EXPECT_EQ(0x80086301, KCOV_INIT_TRACE);
	EXPECT_EQ(0x6364, KCOV_ENABLE);
	EXPECT_EQ(0x6365, KCOV_DISABLE);
	EXPECT_EQ(0x40186366, KCOV_REMOTE_ENABLE);
	EXPECT_EQ(0x0100000000000007, kcov_remote_handle(KCOV_SUBSYSTEM_USB, 7));
	EXPECT_EQ(7, kcov_remote_handle(KCOV_SUBSYSTEM_COMMON, 7));
	EXPECT_EQ(0, kcov_remote_handle(1, 7));
	EXPECT_EQ(0, kcov_remote_handle(KCOV_SUBSYSTEM_USB, 1ULL << 32));
}

TEST_F(remote, no_handles)
{
	EXPECT_EQ(0, enable(self));
	EXPECT_EQ(0, kcov_disable(self->fd));
}

TEST_F(remote, one_handle)
{
	fill(self, 1);
	EXPECT_EQ(0, enable(self));
	EXPECT_EQ(1, taken(self, USB(FIRST)));
	EXPECT_EQ(0, taken(self, USB(FIRST + 1)));
	EXPECT_EQ(0, taken(self, COMMON(FIRST)));
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, taken(self, USB(FIRST)));
}

TEST_F(remote, common_handle_only)
{
	self->arg->common_handle = COMMON(FIRST);
	EXPECT_EQ(0, enable(self));
	EXPECT_EQ(1, taken(self, COMMON(FIRST)));
	EXPECT_EQ(0, taken(self, USB(FIRST)));
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, taken(self, COMMON(FIRST)));
}

TEST_F(remote, most_handles)
{
	int i;

	fill(self, KCOV_REMOTE_MAX_HANDLES);
	self->arg->common_handle = COMMON(FIRST);
	ASSERT_EQ(0, enable(self));
	for (i = 0; i < KCOV_REMOTE_MAX_HANDLES; i++)
		ASSERT_EQ(1, taken(self, USB(FIRST + i)));
	ASSERT_EQ(1, taken(self, COMMON(FIRST)));
	ASSERT_EQ(0, kcov_disable(self->fd));
	for (i = 0; i < KCOV_REMOTE_MAX_HANDLES; i++)
		ASSERT_EQ(0, taken(self, USB(FIRST + i)));
	ASSERT_EQ(0, taken(self, COMMON(FIRST)));
}

TEST_F(remote, too_many_handles)
{
	fill(self, KCOV_REMOTE_MAX_HANDLES + 1);
	EXPECT_EQ(-EINVAL, enable(self));
	self->arg->num_handles = ~0U;
	EXPECT_EQ(-EINVAL, enable(self));
	EXPECT_EQ(0, taken(self, USB(FIRST)));
	fill(self, KCOV_REMOTE_MAX_HANDLES);
	EXPECT_EQ(0, enable(self));
}

/* Malformed handles, each in the middle of good ones, which must be released. */
TEST_F(remote, malformed_handles)
{
	static const uint64_t bad[] = {
		0, COMMON(1), COMMON(FIRST),		/* not for this array */
		2ULL << 56, 2ULL << 56 | 1, 0xffULL << 56 | 1,
		USB(1) | 1ULL << 32, USB(1) | 1ULL << 55, USB(1) | 0xffffffULL << 32,
		~0ULL, 1ULL << 63, 1ULL << 55,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		fill(self, 3);
		self->arg->handles[1] = bad[i];
		EXPECT_EQ(-EINVAL, enable(self))
			TH_LOG("handle %#lx", bad[i]);
		EXPECT_EQ(0, taken(self, USB(FIRST)));
		EXPECT_EQ(0, taken(self, USB(FIRST + 2)));
		EXPECT_EQ(-EINVAL, kcov_disable(self->fd));
	}
	fill(self, 3);
	EXPECT_EQ(0, enable(self));
}

TEST_F(remote, malformed_common_handle)
{
	static const uint64_t bad[] = {
		USB(0), USB(1), 2ULL << 56 | 1, 0xffULL << 56,
		1ULL << 32, 1ULL << 32 | 1, 1ULL << 55 | 1, ~0ULL,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		fill(self, 2);
		self->arg->common_handle = bad[i];
		EXPECT_EQ(-EINVAL, enable(self))
			TH_LOG("common handle %#lx", bad[i]);
		EXPECT_EQ(0, taken(self, USB(FIRST)));
		EXPECT_EQ(0, taken(self, USB(FIRST + 1)));
	}
	self->arg->common_handle = COMMON(FIRST);
	EXPECT_EQ(0, enable(self));
}

/* Instances have 32 bits, and those of a subsystem may be 0. */
TEST_F(remote, ends_of_the_range)
{
	fill(self, 2);
	self->arg->handles[0] = USB(0);
	self->arg->handles[1] = USB(0xffffffff);
	self->arg->common_handle = COMMON(0xffffffff);
	EXPECT_EQ(0, enable(self));
	EXPECT_EQ(1, taken(self, USB(0)));
	EXPECT_EQ(1, taken(self, USB(0xffffffff)));
	EXPECT_EQ(1, taken(self, COMMON(0xffffffff)));
	EXPECT_EQ(0, taken(self, COMMON(1)));
}

TEST_F(remote, handle_given_twice)
{
	fill(self, 3);
	self->arg->handles[2] = self->arg->handles[0];
	EXPECT_EQ(-EEXIST, enable(self));
	EXPECT_EQ(0, taken(self, USB(FIRST)));
	EXPECT_EQ(0, taken(self, USB(FIRST + 1)));
	fill(self, 3);
	EXPECT_EQ(0, enable(self));
}

/* Another thread's descriptor holds one of the handles. */
static long hold(FIXTURE_DATA(remote) *self, uint64_t common, uint64_t handle)
{
	static struct {
		struct kcov_remote_arg arg;
		uint64_t handle;
	} held;

	held.arg.area_size = AREA_WORDS;
	held.arg.num_handles = handle != 0;
	held.arg.common_handle = common;
	held.handle = handle;
	return worker_ioctl(&self->worker, self->probe, KCOV_REMOTE_ENABLE,
			    (unsigned long)&held);
}

static long let_go(FIXTURE_DATA(remote) *self)
{
	return worker_ioctl(&self->worker, self->probe, KCOV_DISABLE, 0);
}

TEST_F(remote, handle_of_another_descriptor)
{
	ASSERT_EQ(0, hold(self, COMMON(FIRST), USB(FIRST + 2)));
	fill(self, 3);
	EXPECT_EQ(-EEXIST, enable(self));
	/* The handles that the failed call had taken before are free: the others can be taken. */
	fill(self, 2);
	EXPECT_EQ(0, enable(self));
	EXPECT_EQ(0, kcov_disable(self->fd));
	self->arg->common_handle = COMMON(FIRST);
	EXPECT_EQ(-EEXIST, enable(self));
	self->arg->common_handle = COMMON(FIRST + 1);
	EXPECT_EQ(0, enable(self));
	EXPECT_EQ(0, kcov_disable(self->fd));
	/* The holder still has its handle. */
	fill(self, 3);
	self->arg->common_handle = COMMON(FIRST);
	EXPECT_EQ(-EEXIST, enable(self));
	EXPECT_EQ(0, let_go(self));
	EXPECT_EQ(0, enable(self));
}

/* Of two errors, the first one in the array is returned; the common handle is checked last. */
TEST_F(remote, errors_in_order)
{
	ASSERT_EQ(0, hold(self, COMMON(FIRST), USB(FIRST)));
	fill(self, 3);
	self->arg->handles[1] = 0;
	EXPECT_EQ(-EEXIST, enable(self));
	fill(self, 3);
	self->arg->handles[1] = USB(FIRST);
	self->arg->handles[0] = 0;
	EXPECT_EQ(-EINVAL, enable(self));
	fill(self, 1);
	self->arg->common_handle = USB(1);
	EXPECT_EQ(-EEXIST, enable(self));
	self->arg->num_handles = 0;
	EXPECT_EQ(-EINVAL, enable(self));
	fill(self, 1);
	self->arg->handles[0] = 0;
	self->arg->common_handle = COMMON(FIRST);
	EXPECT_EQ(-EINVAL, enable(self));
	/* The mode is checked before all handles, and the number of handles before the mode. */
	fill(self, 1);
	self->arg->common_handle = 0;
	self->arg->trace_mode = 5;
	EXPECT_EQ(-EINVAL, enable(self));
	EXPECT_EQ(0, let_go(self));
}

TEST_F(remote, modes)
{
	static const unsigned int bad[] = { 5, 6, 0x100, 1U << 30, 1U << 31, ~0U };
	size_t i;
	long ret;

	fill(self, 1);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		self->arg->trace_mode = bad[i];
		EXPECT_EQ(-EINVAL, enable(self));
	}
	self->arg->trace_mode = KCOV_TRACE_PC;
	EXPECT_EQ(0, enable(self));
	EXPECT_EQ(0, kcov_disable(self->fd));
	self->arg->trace_mode = KCOV_TRACE_CMP;
	ret = enable(self);
	if (ret == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	EXPECT_EQ(0, ret);
	EXPECT_EQ(0, kcov_disable(self->fd));
}

/* Exactly the number of handles in the header is read. */
TEST_F(remote, memory_that_ends)
{
	size_t page = sysconf(_SC_PAGESIZE);
	char *end = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kcov_remote_arg *arg;

	ASSERT_NE(MAP_FAILED, end);
	end += page;
	ASSERT_EQ(0, munmap(end, page));
	/* The whole header is read, even if its last word is not needed. */
	arg = (struct kcov_remote_arg *)(end - sizeof(*arg) + 8);
	memset(arg, 0, sizeof(*arg) - 8);
	EXPECT_EQ(-EFAULT, kcov_ioctl(self->fd, KCOV_REMOTE_ENABLE, (unsigned long)arg));
	arg = (struct kcov_remote_arg *)(end - sizeof(*arg));
	memset(arg, 0, sizeof(*arg));
	arg->area_size = AREA_WORDS;
	EXPECT_EQ(0, kcov_ioctl(self->fd, KCOV_REMOTE_ENABLE, (unsigned long)arg));
	EXPECT_EQ(0, kcov_disable(self->fd));
	arg->num_handles = 1;
	EXPECT_EQ(-EFAULT, kcov_ioctl(self->fd, KCOV_REMOTE_ENABLE, (unsigned long)arg));
	/* A number that is too large is refused before missing memory is detected. */
	arg->num_handles = KCOV_REMOTE_MAX_HANDLES + 1;
	EXPECT_EQ(-EINVAL, kcov_ioctl(self->fd, KCOV_REMOTE_ENABLE, (unsigned long)arg));
	arg = (struct kcov_remote_arg *)(end - sizeof(*arg) - 8);
	memset(arg, 0, sizeof(*arg) + 8);
	arg->area_size = AREA_WORDS;
	arg->num_handles = 1;
	arg->handles[0] = USB(FIRST);
	EXPECT_EQ(0, kcov_ioctl(self->fd, KCOV_REMOTE_ENABLE, (unsigned long)arg));
	EXPECT_EQ(0, kcov_disable(self->fd));
}

/* The padding between the fields has no meaning. */
TEST_F(remote, padding_is_ignored)
{
	fill(self, 1);
	memset((char *)self->arg + 12, 0xff, 4);
	EXPECT_EQ(0, enable(self));
}

struct change {
	struct kcov_remote_arg *arg;
	/* The duration of a call without interference. */
	long nanoseconds;
	volatile bool finished;
};

/* Changes the number at a random moment of the calls of another thread. */
static void *change_count(void *data)
{
	struct sched_param first = { .sched_priority = 1 };
	struct change *change = data;
	struct timespec pause = { 0 };

	sched_setscheduler(0, SCHED_FIFO, &first);
	while (!change->finished) {
		change->arg->num_handles ^= 3;
		/*
		 * The calls must also make progress in a slow kernel, where waking up takes long.
		 */
		pause.tv_nsec = change->nanoseconds / 2 + rand() % (2 * change->nanoseconds);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

/*
 * The number of handles, one or two, is read twice; a call that finds two different numbers fails.
 */
TEST_F_TIMEOUT(remote, count_that_changes, 120)
{
	struct change change = { .arg = self->arg };
	int accepted = 0, refused = 0, i;
	struct timespec start, end;
	struct utsname kernel;
	pthread_t thread;
	cpu_set_t one;

	ASSERT_EQ(0, uname(&kernel));
	if (!strstr(kernel.version, "PREEMPT"))
		SKIP(return, "nothing gets between two reads (CONFIG_PREEMPT)");
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	fill(self, 2);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, enable(self));
		ASSERT_EQ(0, kcov_disable(self->fd));
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	change.nanoseconds = ((end.tv_sec - start.tv_sec) * 1000000000L +
			      end.tv_nsec - start.tv_nsec) / 100;
	ASSERT_EQ(0, pthread_create(&thread, NULL, change_count, &change));
	for (i = 0; i < 100000 && (i < 500 || !refused); i++) {
		long ret = enable(self);

		if (ret == -EINVAL) {
			refused++;
			continue;
		}
		ASSERT_EQ(0, ret);
		accepted++;
		ASSERT_EQ(0, kcov_disable(self->fd));
	}
	change.finished = true;
	pthread_join(thread, NULL);
	EXPECT_LT(0, accepted);
	EXPECT_LT(0, refused);
}

TEST_F(remote, exit_lets_go)
{
	int status;
	pid_t child = fork();

	ASSERT_LE(0, child);
	fill(self, 1);
	self->arg->common_handle = COMMON(FIRST);
	if (!child)
		_exit(enable(self) ? 1 : 0);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(0, taken(self, USB(FIRST)));
	EXPECT_EQ(0, taken(self, COMMON(FIRST)));
	EXPECT_EQ(0, enable(self));
}

/* The thread keeps the descriptor, and therefore its handles. */
TEST_F(remote, close_does_not_let_go)
{
	ASSERT_EQ(0, hold(self, COMMON(FIRST), USB(FIRST)));
	close(self->probe);
	fill(self, 1);
	EXPECT_EQ(-EEXIST, enable(self));
	worker_end(&self->worker);
	EXPECT_EQ(0, enable(self));
	EXPECT_EQ(0, kcov_disable(self->fd));
	self->probe = kcov_open();
	ASSERT_EQ(0, worker_start(&self->worker));
}

TEST_F(remote, only_its_thread_may_disable)
{
	fill(self, 1);
	ASSERT_EQ(0, enable(self));
	EXPECT_EQ(-EINVAL, worker_ioctl(&self->worker, self->fd, KCOV_DISABLE, 0));
	EXPECT_EQ(1, taken(self, USB(FIRST)));
	EXPECT_EQ(0, kcov_disable(self->fd));
}

TEST_F(remote, second_descriptor_is_busy)
{
	int fd = kcov_open();

	ASSERT_EQ(0, kcov_init(fd, WORDS));
	fill(self, 1);
	ASSERT_EQ(0, enable(self));
	EXPECT_EQ(-EBUSY, kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, 0, USB(FIRST + 1)));
	EXPECT_EQ(0, taken(self, USB(FIRST + 1)));
	EXPECT_EQ(1, taken(self, USB(FIRST)));
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, 0, USB(FIRST + 1)));
	EXPECT_EQ(0, kcov_disable(fd));
	close(fd);
}

/* A descriptor changes from one kind of use to the other and back. */
TEST_F(remote, kinds_of_use_take_turns)
{
	uint64_t *area = kcov_map(self->fd, WORDS);
	int i;

	ASSERT_NE(NULL, area);
	fill(self, 1);
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, enable(self));
		cover_reset(area);
		mark_one();
		/* The thread's own calls are not recorded in this mode. */
		ASSERT_EQ(0, cover_count(area));
		ASSERT_EQ(0, kcov_disable(self->fd));
		ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
		mark_one();
		ASSERT_EQ(0, kcov_disable(self->fd));
		ASSERT_LT(0, cover_count(area));
	}
}

TEST_HARNESS_MAIN
