// SPDX-License-Identifier: GPL-2.0
/*
 * Each edge once: pairs of consecutive PCs, in the order in which they first came, and that none is
 * lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "background.h"
#include "divided.h"
#include "edges.h"
#include "kcov.h"
#include "sample.h"
#include "symbols.h"

#define TABLE		4096UL
/* Whole pages. The header takes the space of two records. */
#define WORDS		(TABLE + (64UL << 10))
#define AREA_WORDS	16384
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5d0002)
#define DROPPED		"kcov-dropped-records"

TEST(commands)
{
	EXPECT_EQ(0x4008636a, KCOV_EDGE_ENABLE);
	EXPECT_EQ(4, KCOV_TRACE_EDGE);
}

static long enable(int fd, unsigned long table)
{
	return kcov_ioctl(fd, KCOV_EDGE_ENABLE, table);
}

FIXTURE(edge) {
	uint64_t *area;
	struct worker worker;
	int fd;
};

FIXTURE_SETUP(edge)
{
	const char *missing = traces_missing() ?: edges_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(edge)
{
	worker_end(&self->worker);
	close(self->fd);
}

/* Returns the edges of the buffer, without those that come after this call. */
static struct edges take(const uint64_t *area, unsigned long table)
{
	return edges_copy(area, table, edges_count(area));
}

static bool has_mark(const uint64_t *area, const char *name)
{
	struct edges edges = take(area, TABLE);
	uint64_t *pcs = edges_pcs(&edges);
	bool found = covers_syscall(pcs, name);

	free(pcs);
	edges_free(&edges);
	return found;
}

TEST_F(edge, refused)
{
	static const unsigned long tables[] = {
		0, 1, 2, 3, 5, 6, 12, TABLE - 1, TABLE + 1, 2 * EDGE_MOST, 1UL << 40, ~0UL
	};
	int bare = kcov_open(), other = kcov_open(), small = kcov_open();
	size_t i;

	EXPECT_EQ(-EINVAL, enable(bare, EDGE_LEAST));
	for (i = 0; i < ARRAY_SIZE(tables); i++)
		EXPECT_EQ(-EINVAL, enable(self->fd, tables[i])) TH_LOG("%lu words", tables[i]);
	/* These are modes of other commands. */
	EXPECT_EQ(-EINVAL, kcov_enable(self->fd, KCOV_TRACE_EDGE));
	EXPECT_EQ(-EINVAL, kcov_remote_divided(self->fd, KCOV_TRACE_EDGE, 5, 64, HANDLE, 0));
	/* A call that fails changes nothing. */
	for (i = 0; i < WORDS; i++)
		ASSERT_EQ(0, self->area[i]);
	/* The header, the table, and one record. */
	ASSERT_EQ(0, kcov_init(small, EDGE_HEADER + EDGE_LEAST + 1));
	EXPECT_EQ(-EINVAL, enable(small, EDGE_LEAST));
	ASSERT_EQ(0, kcov_init(other, EDGE_HEADER + EDGE_LEAST + 2));
	EXPECT_EQ(0, enable(other, EDGE_LEAST));
	EXPECT_EQ(-EINVAL, enable(other, EDGE_LEAST));
	EXPECT_EQ(-EBUSY, enable(self->fd, TABLE));
	EXPECT_EQ(0, kcov_disable(other));
	EXPECT_EQ(0, enable(self->fd, TABLE));
	EXPECT_EQ(0, kcov_disable(self->fd));
	close(bare);
	close(other);
	close(small);
}

TEST_F(edge, once)
{
	uint64_t first, all;
	struct edges edges;
	int call;

	ASSERT_EQ(0, enable(self->fd, TABLE));
	self->area[0] = 0;
	mark_one();
	mark_one();
	first = edges_count(self->area);
	for (call = 0; call < 50; call++)
		mark_one();
	all = edges_count(self->area);
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_TRUE(has_mark(self->area, MARK_ONE));
	/* Some are recorded again: the table forgets, and interrupts come. */
	EXPECT_LE(2, first);
	EXPECT_GT(2 * first + INTERRUPT_RECORDS, all);
	edges = edges_copy(self->area, TABLE, all);
	EXPECT_GT(first, edges_once(&edges));
	EXPECT_EQ(0, edges.edge[0].previous);
	edges_free(&edges);
	EXPECT_EQ(0, fdinfo(self->fd, DROPPED));
}

/* A store of 0 to the first word is a reset, and nothing else is. */
TEST_F(edge, reset_by_store)
{
	int round;

	ASSERT_EQ(0, enable(self->fd, TABLE));
	for (round = 0; round < 3; round++) {
		self->area[0] = 0;
		/* The first PC is recorded in any case. */
		syscall(SYS_getppid);
		mark_one();
		EXPECT_TRUE(has_mark(self->area, MARK_ONE));
		EXPECT_FALSE(has_mark(self->area, MARK_TWO));
	}
	mark_two();
	EXPECT_TRUE(has_mark(self->area, MARK_ONE));
	EXPECT_TRUE(has_mark(self->area, MARK_TWO));
	ASSERT_EQ(0, kcov_disable(self->fd));
}

/* A store of 0 to the count makes place: the edges stay known, and so does the PC before. */
TEST_F(edge, place_by_store)
{
	struct edges edges;
	uint64_t first;

	ASSERT_EQ(0, enable(self->fd, TABLE));
	self->area[0] = 0;
	mark_one();
	mark_one();
	first = edges_count(self->area);
	EXPECT_TRUE(has_mark(self->area, MARK_ONE));
	self->area[2] = 0;
	mark_one();
	/* Some are recorded again: the table forgets, and interrupts come. */
	EXPECT_GT(first, edges_count(self->area));
	mark_two();
	EXPECT_TRUE(has_mark(self->area, MARK_TWO));
	edges = take(self->area, TABLE);
	ASSERT_LT(0, edges.number);
	EXPECT_NE(0, edges.edge[0].previous);
	edges_free(&edges);
	ASSERT_EQ(0, kcov_disable(self->fd));
}

/* The command does the same, by any task, and with a mapping that is read-only. */
TEST_F(edge, reset_by_command)
{
	uint64_t *area = mmap(NULL, WORDS * 8, PROT_READ, MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, area);
	ASSERT_EQ(0, enable(self->fd, TABLE));
	mark_one();
	EXPECT_TRUE(has_mark(area, MARK_ONE));
	ASSERT_EQ(0, kcov_ioctl(self->fd, KCOV_RESET_TRACE, 0));
	EXPECT_FALSE(has_mark(area, MARK_ONE));
	mark_one();
	EXPECT_TRUE(has_mark(area, MARK_ONE));
	ASSERT_EQ(0, worker_ioctl(&self->worker, self->fd, KCOV_RESET_TRACE, 0));
	EXPECT_FALSE(has_mark(area, MARK_ONE));
	mark_one();
	EXPECT_TRUE(has_mark(area, MARK_ONE));
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, munmap(area, WORDS * 8));
}

TEST_F(edge, full)
{
	uint64_t *area;
	int fd = kcov_open_mapped(512, &area);
	uint64_t space = (512 - EDGE_HEADER - 256) / 2;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, enable(fd, 256));
	while (edges_count(area) < space) {
		uint64_t before = edges_count(area);

		close(dup(0));
		mark_one();
		mark_two();
		uname(&(struct utsname){});
		ASSERT_TRUE(edges_count(area) > before || fdinfo(fd, DROPPED));
	}
	mark_one();
	EXPECT_EQ(space, edges_count(area));
	EXPECT_LT(0, fdinfo_by(&self->worker, fd, DROPPED));
	area[0] = 0;
	mark_one();
	EXPECT_GT(space, edges_count(area));
	ASSERT_EQ(0, kcov_disable(fd));
	close(fd);
}

/* A child does not record. It can enable what the parent has disabled, and both see the records. */
TEST_F(edge, child)
{
	uint64_t before;
	pid_t child;

	ASSERT_EQ(0, enable(self->fd, TABLE));
	child = fork();
	if (!child) {
		before = edges_count(self->area);
		mark_two();
		_exit(edges_count(self->area) != before || has_mark(self->area, MARK_TWO));
	}
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, exit_status(child));
	self->area[0] = 0;
	child = fork();
	if (!child) {
		if (enable(self->fd, TABLE))
			_exit(1);
		mark_two();
		_exit(0);
	}
	EXPECT_EQ(0, exit_status(child));
	EXPECT_TRUE(has_mark(self->area, MARK_TWO));
}

TEST_F(edge, fdinfo)
{
	char path[64], text[512];
	ssize_t length;
	int file;

	ASSERT_EQ(0, enable(self->fd, TABLE));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->fd);
	file = open(path, O_RDONLY);
	ASSERT_LE(0, file);
	length = read(file, text, sizeof(text) - 1);
	ASSERT_LT(0, length);
	text[length] = 0;
	EXPECT_NE(NULL, strstr(text, "kcov-mode:\tedge\n"));
	ASSERT_EQ(0, kcov_disable(self->fd));
	close(file);
}

/* Each signal is that of the plain trace. */

static int file = -1;
static int channel[2] = { -1, -1 };
static char data[8192];

static void prepare_programs(void)
{
	file = memfd_create("edges", MFD_CLOEXEC);
	if (file < 0 || socketpair(AF_UNIX, SOCK_DGRAM, 0, channel) || ftruncate(file, 65536))
		abort();
}

static void expect(bool good)
{
	if (!good)
		abort();
}

#define PROGRAM(name, ...) static void name(void) { __VA_ARGS__; }
PROGRAM(get_pid, syscall(SYS_getppid))
PROGRAM(bad_read, expect(read(-1, data, 1) < 0))
PROGRAM(write_file, expect(pwrite(file, data, 100, 10) == 100))
PROGRAM(write_pages, expect(pwrite(file, data, sizeof(data), 100) == sizeof(data)))
PROGRAM(read_file, expect(pread(file, data, 5000, 0) == 5000))
PROGRAM(seek_file, lseek(file, 100, SEEK_SET))
PROGRAM(status_of_file, fstat(file, &(struct stat){}))
PROGRAM(open_file, close(open("/proc/self/status", O_RDONLY)))
PROGRAM(open_nothing, open("/nothing", O_RDONLY))
PROGRAM(duplicate, close(dup(file)))
PROGRAM(make_pipe, int ends[2]; expect(!pipe(ends)); close(ends[0]); close(ends[1]))
PROGRAM(make_socket, close(socket(AF_UNIX, SOCK_STREAM, 0)))
PROGRAM(send_message, expect(send(channel[0], data, 64, 0) == recv(channel[1], data, 64, 0)))
PROGRAM(poll_nothing, poll(&(struct pollfd){ channel[0], POLLIN }, 1, 0))
PROGRAM(map_memory, munmap(mmap(NULL, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 65536))
PROGRAM(protect_memory, mprotect(NULL, 4096, PROT_NONE))
PROGRAM(system_name, uname(&(struct utsname){}))
PROGRAM(limits, getrlimit(RLIMIT_NOFILE, &(struct rlimit){}))
PROGRAM(affinity, sched_getaffinity(0, sizeof(cpu_set_t), &(cpu_set_t){}))
PROGRAM(working_directory, syscall(SYS_getcwd, data, sizeof(data)))
PROGRAM(signal_mask, sigset_t set; sigemptyset(&set); sigprocmask(SIG_BLOCK, &set, NULL))
PROGRAM(timers, getitimer(ITIMER_REAL, &(struct itimerval){}))
PROGRAM(control_file, fcntl(file, F_GETFL); fcntl(file, F_GETFD))
PROGRAM(several, get_pid(); bad_read(); duplicate(); system_name(); get_pid(); bad_read())

static const struct program {
	const char *name;
	void (*run)(void);
} programs[] = {
#define ENTRY(name) { #name, name }
	ENTRY(get_pid), ENTRY(bad_read), ENTRY(write_file), ENTRY(write_pages), ENTRY(read_file),
	ENTRY(seek_file), ENTRY(status_of_file), ENTRY(open_file), ENTRY(open_nothing),
	ENTRY(duplicate), ENTRY(make_pipe), ENTRY(make_socket), ENTRY(send_message),
	ENTRY(poll_nothing), ENTRY(map_memory), ENTRY(protect_memory), ENTRY(system_name),
	ENTRY(limits), ENTRY(affinity), ENTRY(working_directory), ENTRY(signal_mask),
	ENTRY(timers), ENTRY(control_file), ENTRY(several),
};

FIXTURE(signal) {
	uint64_t *area;
	int fd;
};

FIXTURE_VARIANT(signal) {
	unsigned long table;
};

FIXTURE_VARIANT_ADD(signal, table_of_2) { .table = EDGE_LEAST };
FIXTURE_VARIANT_ADD(signal, table_of_32) { .table = 64 };
FIXTURE_VARIANT_ADD(signal, table_of_512) { .table = 1024 };
FIXTURE_VARIANT_ADD(signal, table_of_65536) { .table = EDGE_MOST };

FIXTURE_SETUP(signal)
{
	const char *missing = code_missing() ?: edges_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->fd = kcov_open_mapped(EDGE_MOST + COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	prepare_programs();
}

FIXTURE_TEARDOWN(signal)
{
	close(self->fd);
}

/* Records a program. The count is taken before the trace has the end of the recording. */
static struct edges record(int fd, uint64_t *area, unsigned long table, void (*run)(void))
{
	uint64_t number;

	if (table ? enable(fd, table) : kcov_enable(fd, KCOV_TRACE_PC))
		abort();
	cover_reset(area);
	run();
	number = table ? edges_count(area) : cover_count(area);
	if (kcov_disable(fd))
		abort();
	return table ? edges_copy(area, table, number) :
		edges_of_plain(area, number);
}

/*
 * A trace of edges is that of a plain trace, in the same order, and so is the signal. One trace is
 * not always like the next, so the kinds take turns until two are equal.
 */
TEST_F_TIMEOUT(signal, equal, 300)
{
	enum { MOST = 200 };
	uint64_t plain = 0, once = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(programs); i++) {
		bool equal = false;
		int turn;

		for (turn = 0; turn < MOST && !equal; turn++) {
			struct edges all = record(self->fd, self->area, 0, programs[i].run);
			struct edges edges = record(self->fd, self->area, variant->table,
						    programs[i].run);
			uint64_t *expected = edges_signal(&all), *signal = edges_signal(&edges);

			plain += all.number;
			once += edges.number;
			ASSERT_LE(edges.number, COVER_WORDS / 2);
			edges_once(&all);
			edges_once(&edges);
			equal = edges_equal(&all, &edges);
			if (equal)
				EXPECT_EQ(0, memcmp(expected, signal, (1 + *signal) * 8));
			free(expected);
			free(signal);
			edges_free(&all);
			edges_free(&edges);
		}
		EXPECT_TRUE(equal) TH_LOG("%s: no two traces were equal", programs[i].name);
	}
	TH_LOG("%lu PCs, %lu edges", plain, once);
}

/* A long call has ten times fewer records, and its buffer has space for them. */
TEST_F(edge, long_call)
{
	static struct iovec vectors[1024];
	struct edges edges;
	uint64_t number;
	size_t i;

	prepare_programs();
	for (i = 0; i < ARRAY_SIZE(vectors); i++)
		vectors[i] = (struct iovec){ data, 64 };
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	cover_reset(self->area);
	ASSERT_EQ(65536, pwritev(file, vectors, ARRAY_SIZE(vectors), 0));
	number = cover_count(self->area);
	ASSERT_EQ(0, kcov_disable(self->fd));
	/* The words after the plain count are no header. */
	self->area[0] = 0;
	ASSERT_EQ(0, enable(self->fd, TABLE));
	ASSERT_EQ(65536, pwritev(file, vectors, ARRAY_SIZE(vectors), 0));
	ASSERT_EQ(0, kcov_disable(self->fd));
	edges = take(self->area, TABLE);
	TH_LOG("%lu PCs, %lu edges", number, edges.number);
	EXPECT_GT(number, 10 * edges.number);
	EXPECT_EQ(0, fdinfo(self->fd, DROPPED));
	edges_free(&edges);
}

/* Sections. */

FIXTURE(remote) {
	uint64_t *area;
	int fd;
};

FIXTURE_SETUP(remote)
{
	const char *missing = traces_missing() ?: background_missing() ?: edges_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(remote)
{
	close(self->fd);
}

static size_t starts(const struct edges *edges)
{
	size_t i, number = 0;

	for (i = 0; i < edges->number; i++)
		number += !edges->edge[i].previous;
	return number;
}

/* Each edge is recorded once in all sections together. Each section begins without a PC. */
TEST_F(remote, once)
{
	struct edges edges;
	uint64_t *pcs, first;
	int run;

	ASSERT_EQ(0, kcov_remote_divided(self->fd, KCOV_TRACE_EDGE, TABLE, AREA_WORDS, HANDLE, 0));
	ASSERT_EQ(0, edges_count(self->area));
	ASSERT_EQ(0, background_run());
	first = edges_count(self->area);
	edges = take(self->area, TABLE);
	pcs = edges_pcs(&edges);
	EXPECT_TRUE(covers(pcs, BACKGROUND_FUNCTION));
	EXPECT_LE(1, starts(&edges));
	EXPECT_GT(edges.number / 2 + 2, edges_once(&edges));
	free(pcs);
	edges_free(&edges);
	for (run = 0; run < 10; run++)
		ASSERT_EQ(0, background_run());
	EXPECT_LE(first, edges_count(self->area));
	EXPECT_GT(5 * first, edges_count(self->area));
	EXPECT_EQ(0, fdinfo(self->fd, DROPPED));
	ASSERT_EQ(0, kcov_disable(self->fd));
}

/* Sections that end after a reset are all that is there, whether by store or by command. */
TEST_F(remote, reset)
{
	int round;

	ASSERT_EQ(0, kcov_remote_divided(self->fd, KCOV_TRACE_EDGE, TABLE, AREA_WORDS, HANDLE, 0));
	for (round = 0; round < 4; round++) {
		struct edges edges;
		uint64_t *pcs;

		ASSERT_EQ(0, background_run());
		edges = take(self->area, TABLE);
		pcs = edges_pcs(&edges);
		EXPECT_TRUE(covers(pcs, BACKGROUND_FUNCTION));
		free(pcs);
		edges_free(&edges);
		if (round % 2)
			self->area[0] = 0;
		else
			ASSERT_EQ(0, kcov_ioctl(self->fd, KCOV_RESET_TRACE, 0));
		EXPECT_EQ(0, edges_count(self->area));
	}
	ASSERT_EQ(0, kcov_disable(self->fd));
}

/* Edges that do not fit into an area are counted. */
TEST_F(remote, dropped)
{
	ASSERT_EQ(0, kcov_remote_divided(self->fd, KCOV_TRACE_EDGE, TABLE, 24, HANDLE, 0));
	ASSERT_EQ(0, background_run());
	EXPECT_LT(0, fdinfo(self->fd, DROPPED));
	EXPECT_LT(0, edges_count(self->area));
	ASSERT_EQ(0, kcov_disable(self->fd));
}

FIXTURE(sample) {
	struct kcov_sample_handles handles;
	uint64_t *area, *own;
	int device, fd, own_fd;
};

FIXTURE_SETUP(sample)
{
	const char *missing = sample_missing() ?: edges_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	self->own_fd = kcov_open_mapped(WORDS, &self->own);
	ASSERT_LE(0, self->fd);
	ASSERT_LE(0, self->own_fd);
	ASSERT_EQ(0, kcov_remote_divided(self->fd, KCOV_TRACE_EDGE, TABLE, 64, 0,
					 self->handles.softirq));
}

FIXTURE_TEARDOWN(sample)
{
	kcov_disable(self->fd);
	close(self->own_fd);
	close(self->fd);
	close(self->device);
}

static bool has_function(const uint64_t *area, const char *name)
{
	struct edges edges = take(area, TABLE);
	uint64_t *pcs = edges_pcs(&edges);
	bool found = covers(pcs, name);

	free(pcs);
	edges_free(&edges);
	return found;
}

/*
 * Sections of softirqs, on top of any task. Those in the calling thread suspend its own recording,
 * which goes on after them.
 */
TEST_F(sample, sections_inside_a_recording)
{
	enum { SECTIONS = 10 };
	struct edges edges;

	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_SOFTIRQ, 0));
	EXPECT_TRUE(has_function(self->area, "kcov_sample_softirq_code"));
	EXPECT_FALSE(has_function(self->area, INNER_FUNCTION));
	self->area[0] = 0;
	ASSERT_EQ(0, enable(self->own_fd, TABLE));
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_IN_A_ROW, SECTIONS));
	mark_one();
	ASSERT_EQ(0, kcov_disable(self->own_fd));
	EXPECT_TRUE(has_function(self->area, INNER_FUNCTION));
	EXPECT_FALSE(has_function(self->own, INNER_FUNCTION));
	/* All sections are alike, so they have the edges of one. */
	edges = take(self->area, TABLE);
	EXPECT_EQ(1, starts(&edges));
	EXPECT_EQ(0, edges_once(&edges));
	edges_free(&edges);
	EXPECT_EQ(0, fdinfo(self->fd, DROPPED));
}

static void *hold(void *device)
{
	run_on(sysconf(_SC_NPROCESSORS_ONLN) - 1);
	return (void *)kcov_ioctl(*(int *)device, KCOV_SAMPLE_HOLD, 0);
}

/* A loop in a section does not fill the area, however long it takes. */
TEST_F_TIMEOUT(sample, long_loop, 60)
{
	pthread_t thread;
	void *result;
	int i;

	run_on(0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, hold, &self->device));
	/* With one CPU, this thread continues when the section has ended. */
	for (i = 0; i < 1000 && ioctl(self->device, KCOV_SAMPLE_LET_GO, 0) == 0; i++)
		usleep(10000);
	sleep(1);
	ioctl(self->device, KCOV_SAMPLE_LET_GO, 1);
	pthread_join(thread, &result);
	ASSERT_EQ(NULL, result);
	EXPECT_LT(2, edges_count(self->area));
	EXPECT_GT(1000, edges_count(self->area));
	EXPECT_EQ(0, fdinfo(self->fd, DROPPED));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
