// SPDX-License-Identifier: GPL-2.0
/*
 * Former bugs of remote coverage, provoked with the sample modules, whose sections are known to the
 * last function. The softirqs of a sample module run on the CPU of the thread that requests them.
 *
 * remote_usb_test.c has one more, which USB shows better: a descriptor that is disabled and enabled
 * again during a section.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "sample.h"
#include "symbols.h"

/* Room for all that a long section finds. */
#define WORDS		(512UL << 10)
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5b0001)

#define SOFTIRQ_FUNCTION "kcov_sample_softirq_code"
#define WORK_FUNCTION	"kcov_sample_work_code"

/* Returns NULL if softirqs of timers interrupt tasks, or the reason why not. */
static const char *softirqs_apart(void)
{
	return kernel_option("CONFIG_PREEMPT_RT") == OPTION_YES ?
		"softirqs of timers run in threads of their own (CONFIG_PREEMPT_RT)" : NULL;
}

/* The number of softirqs in a row. */
#define BURST		100

/* A thread that makes softirqs run all the time, with or without sections. */
struct softirqs {
	pthread_t thread;
	int device;
	int fd;			/* the descriptor that collects them, or -1 */
	uint64_t *area;
	uint64_t handle;
	volatile bool finished;
	volatile long result;
	volatile unsigned long count;
};

static void *softirqs_main(void *data)
{
	struct softirqs *softirqs = data;
	long ret = 0;

	run_on(0);
	if (softirqs->fd >= 0)
		ret = kcov_remote_enable(softirqs->fd, KCOV_TRACE_PC, COVER_WORDS, 0,
					 softirqs->handle);
	while (!ret && !softirqs->finished) {
		ret = kcov_ioctl(softirqs->device, KCOV_SAMPLE_SOFTIRQS, BURST);
		softirqs->count++;
	}
	softirqs->result = ret;
	return NULL;
}

static long softirqs_start(struct softirqs *softirqs, bool collect)
{
	struct kcov_sample_handles handles;

	memset(softirqs, 0, sizeof(*softirqs));
	softirqs->fd = -1;
	softirqs->device = sample_open(&handles);
	if (softirqs->device < 0)
		return softirqs->device;
	softirqs->handle = handles.softirq;
	if (collect) {
		softirqs->fd = kcov_open_mapped(COVER_WORDS, &softirqs->area);
		if (softirqs->fd < 0)
			return softirqs->fd;
	}
	return -pthread_create(&softirqs->thread, NULL, softirqs_main, softirqs);
}

/* A test must end within half a minute, which is not long under emulation. */
#define SECONDS		12
/* The number of seconds in which a softirq must hit the moment, in tests with more time. */
#define MOMENT_SECONDS	120

static bool time_is_over(const struct timespec *start, int seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - start->tv_sec > seconds;
}

/* Waits for more softirqs; returns the number that came in time. */
static unsigned long softirqs_wait(const struct softirqs *softirqs, unsigned long more)
{
	unsigned long before = softirqs->count;
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (softirqs->count < before + more && !softirqs->result &&
	       !time_is_over(&start, SECONDS))
		usleep(1000);
	return softirqs->count - before;
}

/* Returns the number of tasks that the softirqs have interrupted so far. */
static struct kcov_sample_interrupted interrupted(const struct softirqs *softirqs)
{
	struct kcov_sample_interrupted interrupted = { 0 };

	if (ioctl(softirqs->device, KCOV_SAMPLE_INTERRUPTED, &interrupted))
		interrupted.recording = interrupted.switched = 0;
	return interrupted;
}

static long softirqs_end(struct softirqs *softirqs)
{
	softirqs->finished = true;
	pthread_join(softirqs->thread, NULL);
	close(softirqs->device);
	if (softirqs->fd >= 0)
		close(softirqs->fd);
	return softirqs->result;
}

FIXTURE(history) {
	struct kcov_sample_handles handles;
	uint64_t *area;
	int device;
	int fd;
	int log;
};

FIXTURE_SETUP(history)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(history)
{
	char line[256];

	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	close(self->fd);
	close(self->device);
}

/* Returns whether a section of the caller's handle is recorded from its start to its stop. */
static bool work_is_seen(FIXTURE_DATA(history) *self)
{
	cover_reset(self->area);
	if (kcov_ioctl(self->device, KCOV_SAMPLE_WORK, 0))
		return false;
	return covers(self->area, WORK_FUNCTION);
}

/*
 * A request that keeps a worker of io_uring on the processor for a while, all of
 * it one section: reading zeroes, to the same memory a few times, so that softirqs
 * come in the middle of it on a fast machine, and all is recorded on any.
 */
#define READ_BYTES	(4UL << 20)
#define READ_TIMES	16
#define READ_FUNCTION	"read_iter_zero"
/* Executed after the read. */
#define READ_END	"kiocb_done"

struct reader {
	int ring;
	int file;
	char *target;
	char *queue;
	struct io_uring_params params;
	struct io_uring_sqe *sqe;
	struct iovec parts[READ_TIMES];
	unsigned int times;
};

static long reader_start(struct reader *reader)
{
	uint64_t processors = 1;
	void *queue, *sqe;
	int i;

	memset(reader, 0, sizeof(*reader));
	reader->file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	reader->ring = syscall(SYS_io_uring_setup, 1, &reader->params);
	if (reader->ring < 0 || reader->file < 0)
		return -errno;
	if (syscall(SYS_io_uring_register, reader->ring, IORING_REGISTER_IOWQ_AFF,
		    &processors, sizeof(processors)))
		return -errno;
	queue = mmap(NULL, reader->params.sq_off.array + sizeof(uint32_t),
		     PROT_READ | PROT_WRITE, MAP_SHARED, reader->ring, IORING_OFF_SQ_RING);
	sqe = mmap(NULL, sizeof(*reader->sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
		   reader->ring, IORING_OFF_SQES);
	reader->target = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (queue == MAP_FAILED || sqe == MAP_FAILED || reader->target == MAP_FAILED)
		return -errno;
	reader->queue = queue;
	reader->sqe = sqe;
	for (i = 0; i < READ_TIMES; i++)
		reader->parts[i] = (struct iovec){ reader->target, READ_BYTES };
	reader->times = 1;
	return 0;
}

static long reader_run(struct reader *reader)
{
	uint32_t *tail = (uint32_t *)(reader->queue + reader->params.sq_off.tail);
	uint32_t *head = (uint32_t *)(reader->queue + reader->params.cq_off.head);
	long ret;

	memset(reader->sqe, 0, sizeof(*reader->sqe));
	reader->sqe->opcode = IORING_OP_READV;
	reader->sqe->flags = IOSQE_ASYNC;
	reader->sqe->fd = reader->file;
	reader->sqe->addr = (unsigned long)reader->parts;
	reader->sqe->len = reader->times;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ret = syscall(SYS_io_uring_enter, reader->ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	/* The ring has one queue: the completions are in the same mapping. */
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return ret == 1 ? 0 : -errno;
}

/* The section is merged after its request has completed, so this waits for the merge. */
static bool appears(const uint64_t *area, const char *function)
{
	time_t since = 0;

	do {
		if (covers(area, function))
			return true;
		usleep(5000);
	} while (may_wait(&since));
	return false;
}

FIXTURE(section) {
	FIXTURE_DATA(history) history;
	struct softirqs softirqs;
	struct reader reader;
};

/* The number of softirqs that have to interrupt sections, and of sections for that. */
#define INTERRUPTIONS	50
#define SECTIONS	1000

FIXTURE_VARIANT(section) {
	bool collect;
};

/* The softirq saves and restores the recording of the task. */
FIXTURE_VARIANT_ADD(section, interrupted_by_a_collected_softirq) { .collect = true };
/* The softirq has not started a section; its stop must not stop the task's section. */
FIXTURE_VARIANT_ADD(section, interrupted_by_a_softirq_nobody_collects) { .collect = false };

FIXTURE_SETUP(section)
{
	const char *missing = sample_missing() ?: code_missing() ?: softirqs_apart();

	if (missing)
		SKIP(return, "%s", missing);
	if (syscall(SYS_io_uring_setup, 0, NULL) < 0 && errno == ENOSYS)
		SKIP(return, "no io_uring (CONFIG_IO_URING)");
	if (!symbol_exists(READ_FUNCTION) || !symbol_exists(READ_END))
		SKIP(return, "the compiler has left no %s or %s", READ_FUNCTION, READ_END);
	self->history.log = kmsg_open();
	ASSERT_LE(0, self->history.log);
	self->history.fd = kcov_open_mapped(WORDS, &self->history.area);
	ASSERT_LE(0, self->history.fd);
}

FIXTURE_TEARDOWN(section)
{
	char line[256];

	EXPECT_FALSE(kmsg_reports_bug(self->history.log, line, sizeof(line)))
		TH_LOG("%s", line);
	close(self->history.fd);
}

/*
 * The worker of io_uring is the only task that records, so each softirq that interrupts a recording
 * task interrupts this worker.
 */
TEST_F_TIMEOUT(section, goes_on_to_its_end, 300)
{
	uint64_t *area = self->history.area;
	uint64_t before, over = 0, more;
	int sections;

	ASSERT_EQ(0, kcov_remote_enable(self->history.fd, KCOV_TRACE_PC, WORDS, HANDLE, 0));
	ASSERT_EQ(0, reader_start(&self->reader));
	ASSERT_EQ(0, softirqs_start(&self->softirqs, variant->collect));
	ASSERT_LE(1, softirqs_wait(&self->softirqs, 1));
	before = interrupted(&self->softirqs).recording;
	for (sections = 0; sections < SECTIONS && over < INTERRUPTIONS; sections++) {
		cover_reset(area);
		ASSERT_EQ(0, reader_run(&self->reader));
		ASSERT_TRUE(appears(area, READ_END));
		ASSERT_TRUE(covers(area, READ_FUNCTION));
		ASSERT_FALSE(covers(area, SOFTIRQ_FUNCTION));
		more = interrupted(&self->softirqs).recording - before - over;
		over += more;
		/* The next one takes longer. */
		if (!more && self->reader.times < READ_TIMES)
			self->reader.times *= 2;
	}
	EXPECT_LE(INTERRUPTIONS, over)
		TH_LOG("of %d sections, so few softirqs have interrupted one", sections);
	EXPECT_LE(1, softirqs_wait(&self->softirqs, 1));
	if (variant->collect) {
		EXPECT_TRUE(covers(self->softirqs.area, SOFTIRQ_FUNCTION));
		EXPECT_FALSE(covers(self->softirqs.area, READ_FUNCTION));
		EXPECT_FALSE(covers(self->softirqs.area, READ_END));
	}
	EXPECT_EQ(0, softirqs_end(&self->softirqs));
}

/* The number of softirqs that must come during a switch of tasks. */
#define SWITCHES	3

/*
 * Returns whether interrupts can come before the mark is removed. On x86, they cannot before the
 * instruction that follows the one that enables them. In C, that instruction removes the mark; in
 * Rust, clang compiles two instructions.
 */
static bool interrupts_meet_switches(void)
{
	return kernel_option("CONFIG_X86") == OPTION_NO ||
	       (!statistics_missing() && !kernel_built_by_gcc());
}

static struct {
	volatile bool finished;
	int fd[4];
	uint64_t *area[4];
} switchers;

static void *keep_switching(void *number)
{
	long i = (long)number, ret;

	run_on(0);
	ret = kcov_enable(switchers.fd[i], KCOV_TRACE_PC);
	while (!ret && !switchers.finished) {
		if (cover_count(switchers.area[i]) > COVER_WORDS / 2)
			cover_reset(switchers.area[i]);
		mark_two();
		sched_yield();
	}
	/* This is recorded, whatever came before. */
	cover_reset(switchers.area[i]);
	mark_one();
	return (void *)(ret ? ret : kcov_disable(switchers.fd[i]));
}

/*
 * While the scheduler switches tasks, it marks their mode. A softirq that comes then finds the
 * mark, and must neither record with it nor lose it. Some of the softirqs here do: most switches of
 * tasks are those of recording threads, and an interrupt during a switch is delayed to the moment
 * before the mark is removed.
 */
TEST_F_TIMEOUT(history, softirq_in_a_switch_of_tasks, 300)
{
	pthread_t threads[ARRAY_SIZE(switchers.fd)];
	const bool switches_are_met = interrupts_meet_switches();
	struct softirqs softirqs;
	struct timespec start;
	uint64_t before, met = 0;
	long i;

	if (code_missing() || softirqs_apart())
		SKIP(return, "%s", code_missing() ?: softirqs_apart());
	for (i = 0; i < (long)ARRAY_SIZE(threads); i++) {
		switchers.fd[i] = kcov_open_mapped(COVER_WORDS, &switchers.area[i]);
		ASSERT_LE(0, switchers.fd[i]);
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, keep_switching, (void *)i));
	}
	ASSERT_EQ(0, softirqs_start(&softirqs, true));
	before = interrupted(&softirqs).switched;
	clock_gettime(CLOCK_MONOTONIC, &start);
	EXPECT_LE(10, softirqs_wait(&softirqs, 20));
	while (switches_are_met && met < SWITCHES && !softirqs.result &&
	       !time_is_over(&start, MOMENT_SECONDS)) {
		met = interrupted(&softirqs).switched - before;
		usleep(10000);
	}
	if (switches_are_met) {
		EXPECT_LE(SWITCHES, met)
			TH_LOG("in %d seconds, so few softirqs have come in a switch",
			       MOMENT_SECONDS);
	}
	EXPECT_TRUE(covers(softirqs.area, SOFTIRQ_FUNCTION));
	EXPECT_FALSE(covers_syscall(softirqs.area, MARK_TWO));
	switchers.finished = true;
	for (i = 0; i < (long)ARRAY_SIZE(threads); i++) {
		void *result;

		pthread_join(threads[i], &result);
		EXPECT_EQ(NULL, result);
		EXPECT_TRUE(covers_syscall(switchers.area[i], MARK_ONE));
		/* Nothing of the softirqs was recorded before either. */
		switchers.area[i][0] = COVER_WORDS / 2;
		EXPECT_FALSE(covers(switchers.area[i], SOFTIRQ_FUNCTION));
		close(switchers.fd[i]);
	}
	EXPECT_EQ(0, softirqs_end(&softirqs));
	/* The next sections are recorded completely. */
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, HANDLE, 0));
	EXPECT_TRUE(work_is_seen(self));
}

/*
 * Runs a section of the sample's worker handle. If sections nest, others inside it that no
 * descriptor collects make it long; if not, it has two records.
 */
static long run_section(int device)
{
	struct kcov_sample_sections one = { KCOV_SAMPLE_PREEMPTIBLE, 1 };

	return statistics_missing() ?
		kcov_ioctl(device, KCOV_SAMPLE_SECTIONS, (unsigned long)&one) :
		kcov_ioctl(device, KCOV_SAMPLE_IN_A_ROW, 1000);
}

/*
 * Returns a number that changes with the addresses of all areas of this size. Each is an allocation
 * of vmalloc() with a header, and freed addresses are not reused at once.
 */
static unsigned long places_of_areas(unsigned long words)
{
	unsigned long page = sysconf(_SC_PAGESIZE), sum = 0, bytes, i;
	char line[512], place[128];
	FILE *file = fopen("/proc/vmallocinfo", "r");

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%127s %lu", place, &bytes) != 2)
			continue;
		/* The length includes a guard page at the end. */
		if (bytes != words * sizeof(uint64_t) + 2 * page)
			continue;
		for (i = 0; place[i]; i++)
			sum = 31 * sum + place[i];
	}
	if (file)
		fclose(file);
	return sum;
}

/*
 * An area that was given back is used again, even for another size, and a section records as much
 * as its own size allows: the sizes shrink and grow in turns.
 */
TEST_F(history, area_is_used_again_after_the_size_changed)
{
	/* After this many rounds, this CPU has an area for each size. */
	enum { PREPARED = 4 };
	static const uint32_t words[] = { 4, WORDS, 4, WORDS, 2, WORDS, 500, 3, WORDS, 2, WORDS };
	const uint64_t whole = statistics_missing() ? 2 : 1000;
	uint64_t areas = 0, bytes = 0, places = 0, count;
	size_t i;

	run_on(0);
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, words[i], 0,
						self->handles.worker));
		if (i >= PREPARED) {
			EXPECT_EQ(areas, statistic("areas"));
			EXPECT_EQ(bytes, statistic("area_bytes"));
		}
		cover_reset(self->area);
		ASSERT_EQ(0, run_section(self->device));
		count = cover_count(self->area);
		if (words[i] <= whole) {
			EXPECT_EQ(words[i] - 1, count);
		} else {
			EXPECT_LE(whole, count);
		}
		if (i < PREPARED) {
			areas = statistic("areas");
			bytes = statistic("area_bytes");
			places = places_of_areas(WORDS);
			/* The areas were found on this CPU. */
			if (i == PREPARED - 1 && !statistics_missing() &&
			    !access("/proc/vmallocinfo", R_OK)) {
				EXPECT_NE(0, places);
			}
		} else {
			EXPECT_EQ(places, places_of_areas(WORDS));
			EXPECT_EQ(areas, statistic("areas"));
			EXPECT_EQ(bytes, statistic("area_bytes"));
		}
		ASSERT_EQ(0, kcov_disable(self->fd));
		/* The next section finds the area of this one. */
		EXPECT_EQ(areas, statistic("areas"));
		EXPECT_EQ(bytes, statistic("area_bytes"));
	}
}

/*
 * A child lives longer than the process from which it has inherited its handle. After that, its
 * work belongs to no process, not even to the next process that uses the same handle.
 */
TEST_F(history, handle_of_a_child_whose_parent_is_gone)
{
	int orders[2], answers[2], i;
	pid_t parent, child = 0;
	char byte = 0;

	ASSERT_EQ(0, pipe(orders));
	ASSERT_EQ(0, pipe(answers));
	parent = fork();
	ASSERT_LE(0, parent);
	if (!parent) {
		uint64_t *area;
		int fd = kcov_open_mapped(COVER_WORDS, &area);

		if (kcov_remote_enable(fd, KCOV_TRACE_PC, COVER_WORDS, HANDLE, 0))
			_exit(1);
		child = fork();
		if (child)
			_exit(child < 0);
		close(orders[1]);
		while (read(orders[0], &byte, 1) == 1) {
			byte = !kcov_ioctl(self->device, KCOV_SAMPLE_WORK, 0);
			if (write(answers[1], &byte, 1) != 1)
				break;
		}
		_exit(0);
	}
	ASSERT_EQ(0, exit_status(parent));
	close(answers[1]);
	for (i = 0; i < 4; i++) {
		if (i & 1) {
			ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS,
							HANDLE, 0));
		}
		cover_reset(self->area);
		ASSERT_EQ(1, write(orders[1], "x", 1));
		ASSERT_EQ(1, read(answers[0], &byte, 1));
		ASSERT_EQ(1, byte);
		EXPECT_EQ(i & 1, covers(self->area, WORK_FUNCTION));
		if (i & 1) {
			ASSERT_EQ(0, kcov_disable(self->fd));
		}
	}
	close(orders[1]);
}

/* One section inside another: each is recorded by its own descriptor, and none is lost. */
TEST_F(history, section_inside_a_section)
{
	uint64_t *outer;
	int fd, status;
	pid_t child;

	if (statistics_missing())
		SKIP(return, "this implementation warns about it");
	fd = kcov_open_mapped(COVER_WORDS, &outer);
	ASSERT_LE(0, fd);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		be_mortal(LIFETIME);
		if (kcov_remote_enable(fd, KCOV_TRACE_PC, COVER_WORDS, 0,
				       self->handles.worker))
			_exit(1);
		raise(SIGSTOP);
		_exit(2);
	}
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, HANDLE, 0));
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_NESTED, 0));
	EXPECT_TRUE(covers(self->area, INNER_FUNCTION));
	EXPECT_FALSE(covers(self->area, AFTER_FUNCTION));
	EXPECT_TRUE(covers(outer, AFTER_FUNCTION));
	EXPECT_FALSE(covers(outer, INNER_FUNCTION));
	kill(child, SIGKILL);
	EXPECT_EQ(SIGKILL, WTERMSIG(exit_status(child)));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
