// SPDX-License-Identifier: GPL-2.0
/* Each PC once: the set in front of the buffer, the records after it, and that no PC is lost. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#include "kcov_sample.h"

/* The trace after the set. */
#define TRACE_WORDS	16384UL
/* The plain trace of long calls. */
#define LONG_WORDS	(4UL << 20)

TEST(commands)
{
	EXPECT_EQ(0x40086367, KCOV_UNIQUE_ENABLE);
	EXPECT_EQ(0x6368, KCOV_RESET_TRACE);
	EXPECT_EQ(0x40086369, KCOV_PC_CMP_ENABLE);
	EXPECT_EQ(2, KCOV_TRACE_UNIQUE_PC);
	EXPECT_EQ(3, KCOV_TRACE_PC_CMP);
	EXPECT_EQ(12, offsetof(struct kcov_remote_arg, front_size));
}

static long unique(int fd, unsigned long words)
{
	return kcov_ioctl(fd, KCOV_UNIQUE_ENABLE, words);
}

FIXTURE(unique) {
	unsigned long set;	/* words of the set */
	unsigned long words;
	uint64_t *area;
	uint64_t *trace;	/* after the set */
	struct worker worker;
	int fd;
};

FIXTURE_SETUP(unique)
{
	const char *missing = traces_missing() ?: unique_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->set = set_words();
	ASSERT_LT(0, self->set);
	self->words = self->set + TRACE_WORDS;
	self->fd = kcov_open_mapped(self->words, &self->area);
	ASSERT_LE(0, self->fd);
	self->trace = self->area + self->set;
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(unique)
{
	worker_end(&self->worker);
	close(self->fd);
}

static void clear(FIXTURE_DATA(unique) *self)
{
	memset(self->area, 0, self->set * sizeof(*self->area));
	cover_reset(self->trace);
}

/* Returns the number of records of the most frequent PC of a system call in a trace. */
static uint64_t times_recorded(uint64_t *trace, const char *name)
{
	uint64_t i, j, count = cover_count(trace), most = 0;

	for (i = 1; i <= count; i++) {
		uint64_t one[2] = { 1, trace[i] }, times = 0;

		if (!covers_syscall(one, name))
			continue;
		for (j = 1; j <= count; j++)
			times += trace[j] == trace[i];
		if (times > most)
			most = times;
	}
	return most;
}

/* A set and a trace have space for a PC, or the call changes nothing. */
TEST_F(unique, sizes)
{
	const unsigned long bad[] = {
		0, self->words - 1, self->words, self->words + 1, 1UL << 31,
		1UL << 32, 1UL << 60, 1UL << 61, 1UL << 63, ~0UL,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, unique(self->fd, bad[i]))
			TH_LOG("%#lx words of %#lx", bad[i], self->words);
		EXPECT_EQ(-EINVAL, kcov_disable(self->fd));
	}
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
	EXPECT_EQ(0, unique(self->fd, self->words - 2));
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, unique(self->fd, 1));
	EXPECT_EQ(0, kcov_disable(self->fd));
}

/* The order of KCOV_ENABLE: the descriptor, then the thread, then the argument. */
TEST_F(unique, errors_in_order)
{
	int fresh = kcov_open(), other = kcov_open();

	ASSERT_EQ(0, kcov_init(other, 512));
	EXPECT_EQ(-EINVAL, unique(fresh, 1));
	ASSERT_EQ(0, unique(self->fd, self->set));
	EXPECT_EQ(-EINVAL, unique(self->fd, self->set));
	EXPECT_EQ(-EINVAL, kcov_enable(self->fd, KCOV_TRACE_PC));
	EXPECT_EQ(-EINVAL, unique(fresh, 1));
	EXPECT_EQ(-EBUSY, unique(other, 1));
	EXPECT_EQ(-EBUSY, unique(other, 0));
	EXPECT_EQ(-EBUSY, kcov_enable(other, KCOV_TRACE_PC));
	EXPECT_EQ(-EINVAL, worker_ioctl(&self->worker, self->fd, KCOV_UNIQUE_ENABLE, 1));
	EXPECT_EQ(-EINVAL, worker_ioctl(&self->worker, self->fd, KCOV_DISABLE, 0));
	EXPECT_EQ(0, kcov_disable(self->fd));
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	EXPECT_EQ(-EINVAL, unique(self->fd, self->set));
	EXPECT_EQ(-EBUSY, unique(other, 1));
	EXPECT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, unique(other, 1));
	EXPECT_EQ(0, kcov_disable(other));
	close(fresh);
	close(other);
}

TEST_F(unique, each_pc_once)
{
	uint64_t i, count, *seen = calloc(self->set, sizeof(*seen));
	int call;

	ASSERT_EQ(0, unique(self->fd, self->set));
	for (call = 0; call < 100; call++) {
		mark_one();
		mark_two();
	}
	ASSERT_EQ(0, kcov_disable(self->fd));
	count = cover_count(self->trace);
	ASSERT_LT(0, count);
	for (i = 1; i <= count; i++)
		ASSERT_TRUE(in_kernel_text(self->trace[i] - 1));
	EXPECT_EQ(0, set_add(seen, self->set, self->trace));
	EXPECT_EQ(1, times_recorded(self->trace, MARK_ONE));
	EXPECT_EQ(1, times_recorded(self->trace, MARK_TWO));
}

/* The set has exactly the bits of the recorded PCs, at the right positions. */
TEST_F(unique, positions)
{
	uint64_t *expected = calloc(self->set, sizeof(*expected));

	EXPECT_EQ(0, set_size(self->area, self->set));
	ASSERT_EQ(0, unique(self->fd, self->set));
	mark_one();
	mark_two();
	ASSERT_EQ(0, kcov_disable(self->fd));
	ASSERT_EQ(0, set_add(expected, self->set, self->trace));
	EXPECT_EQ(cover_count(self->trace), set_size(self->area, self->set));
	EXPECT_EQ(0, memcmp(expected, self->area, self->set * sizeof(*expected)));
	/* The first bit belongs to the start of the kernel's code. */
	EXPECT_EQ(kernel_text_start(), statistic("set_start"));
	/* The last word belongs to the end of the kernel's code. */
	EXPECT_EQ((kernel_text_size() + 255) / 256, statistic("set_words"));
	/* The code of modules follows. */
	if (kernel_option("CONFIG_MODULES") == OPTION_YES && set_modules()) {
		EXPECT_EQ(set_modules(), statistic("set_modules"));
	}
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
	(void)signal;
	alarms++;
}

/* The number of calls in which one interrupt must come. */
#define MOST_CALLS	1000000

/*
 * The exit code of an interrupt is recorded too, and the interrupt may come while a hook works on
 * the set: no bit may be without its record, and no PC may be recorded twice. In each round, an
 * interrupt comes while the thread records. The set is emptied before each call, because the hooks
 * do nothing for a PC that the set has.
 */
TEST_F_TIMEOUT(unique, positions_under_interrupts, 300)
{
	const struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	const struct itimerval never = { 0 };
	uint64_t *expected = calloc(self->set, sizeof(*expected));
	int round, call;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	for (round = 0; round < 2000; round++) {
		const struct itimerval soon = { .it_value.tv_usec = 1 + round % 300 };
		int before;

		clear(self);
		memset(expected, 0, self->set * sizeof(*expected));
		ASSERT_EQ(0, unique(self->fd, self->set));
		before = alarms;
		ASSERT_EQ(0, setitimer(ITIMER_REAL, &soon, NULL));
		for (call = 0; call < MOST_CALLS && alarms == before; call++) {
			ASSERT_EQ(0, kcov_ioctl(self->fd, KCOV_RESET_TRACE, 0));
			mark_one();
			mark_two();
		}
		ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
		ASSERT_EQ(0, kcov_disable(self->fd));
		ASSERT_NE(before, alarms)
			TH_LOG("no interrupt has come in %d calls", MOST_CALLS);
		ASSERT_EQ(0, set_add(expected, self->set, self->trace));
		ASSERT_EQ(cover_count(self->trace), set_size(self->area, self->set))
			TH_LOG("round %d", round);
	}
	ASSERT_EQ(0, memcmp(expected, self->area, self->set * sizeof(*expected)));
}

/* If a set is large enough for them, PCs of modules have bits after those of the image. */
TEST_F(unique, positions_of_modules)
{
	static const struct kcov_sample_operands operands;
	const char *sample = module_loaded("kcov_sample") ? "/dev/kcov-sample" :
							    "/dev/rust-kcov-sample";
	uint64_t *area, *trace, i, found = 0;
	unsigned long set;
	int device, fd;

	if (!module_loaded("kcov_sample") && !module_loaded("rust_kcov_sample"))
		SKIP(return, "no sample is a loadable module (CONFIG_SAMPLE_KCOV_MODULE=m)");
	device = open(sample, O_RDWR);
	ASSERT_LE(0, device);
	if (!set_modules())
		SKIP(return, "where modules are loaded to is not known here");
	/* Whole pages of words, with a bit for the last byte of code. */
	set = (set_position(module_text_end()) / 64 / 512 + 1) * 512;
	fd = kcov_open_mapped(set + TRACE_WORDS, &area);
	ASSERT_LE(0, fd);
	trace = area + set;
	ASSERT_EQ(0, unique(fd, set));
	ASSERT_EQ(0, ioctl(device, KCOV_SAMPLE_COMPARE, &operands));
	ASSERT_EQ(0, ioctl(device, KCOV_SAMPLE_COMPARE, &operands));
	ASSERT_EQ(0, kcov_disable(fd));
	for (i = 1; i <= cover_count(trace); i++) {
		found += in_module_text(trace[i] - 1);
		EXPECT_TRUE(set_has(area, set_position(trace[i])))
			TH_LOG("%#lx", trace[i]);
		/* Its bit is above all bits of the image. */
		if (in_module_text(trace[i] - 1)) {
			EXPECT_LE(modules_start(), trace[i]);
			EXPECT_LE(kernel_text_size() / 4, set_position(trace[i]));
		}
	}
	EXPECT_LT(0, found);
	/* Each PC has a bit of its own. */
	EXPECT_EQ(cover_count(trace), set_size(area, set));
	close(fd);
	close(device);
}

/* If the user has set the bit of a PC, it counts as recorded. */
TEST_F(unique, the_set_is_the_users)
{
	unsigned long i;

	memset(self->area, 0xff, self->set * sizeof(*self->area));
	ASSERT_EQ(0, unique(self->fd, self->set));
	mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, cover_count(self->trace));
	for (i = 0; i < self->set; i++)
		ASSERT_EQ(~0ULL, self->area[i]);
	EXPECT_EQ(0, fdinfo(self->fd, "kcov-dropped-records"));
}

TEST_F(unique, reset_by_user_space)
{
	ASSERT_EQ(0, unique(self->fd, self->set));
	mark_one();
	mark_one();
	/* A PC whose bit is set is not recorded, wherever the trace begins. */
	cover_reset(self->trace);
	mark_one();
	EXPECT_EQ(0, times_recorded(self->trace, MARK_ONE));
	clear(self);
	mark_one();
	mark_one();
	EXPECT_EQ(1, times_recorded(self->trace, MARK_ONE));
	ASSERT_EQ(0, kcov_disable(self->fd));
}

/* A PC without a bit in the set is recorded every time, and not dropped. */
TEST_F(unique, small_set)
{
	enum { CALLS = 10 };
	int call;

	ASSERT_EQ(0, unique(self->fd, 1));
	cover_reset(self->area + 1);
	for (call = 0; call < CALLS; call++)
		mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(CALLS, times_recorded(self->area + 1, MARK_ONE));
	EXPECT_EQ(0, fdinfo(self->fd, "kcov-dropped-records"));
}

/* A set that covers a part of the code: PCs in it are recorded once, others every time. */
TEST_F(unique, set_of_a_part)
{
	enum { CALLS = 10 };
	uint64_t i, part, below = 0, above = 0, one[2] = { 1 }, first = ~0ULL;
	uint64_t *trace, *seen = calloc(self->set, sizeof(*seen));
	int call;

	/* The set ends with the word of the first PC of the call. */
	ASSERT_EQ(0, unique(self->fd, self->set));
	mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	for (i = 1; i <= cover_count(self->trace); i++) {
		one[1] = self->trace[i];
		if (covers_syscall(one, MARK_ONE) && one[1] < first)
			first = one[1];
	}
	ASSERT_NE(~0ULL, first);
	part = set_position(first) / 64;
	ASSERT_LT(0, part);

	memset(self->area, 0, self->words * sizeof(*self->area));
	trace = self->area + part;
	ASSERT_EQ(0, unique(self->fd, part));
	for (call = 0; call < CALLS; call++)
		mark_one();
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_EQ(0, set_add(seen, part, trace));
	for (i = 1; i <= cover_count(trace); i++)
		*(set_position(trace[i]) < part * 64 ? &below : &above) += 1;
	EXPECT_EQ(below, set_size(self->area, part));
	EXPECT_LE((uint64_t)CALLS, above);
	EXPECT_EQ(CALLS, times_recorded(trace, MARK_ONE));
}

/* A PC that did not fit is recorded when it fits. */
TEST_F(unique, full_trace)
{
	unsigned long set = self->words - 2;
	uint64_t *trace = self->area + set;

	ASSERT_LE(self->set, set);
	ASSERT_EQ(0, unique(self->fd, set));
	mark_one();
	mark_one();
	EXPECT_EQ(1, cover_count(trace));
	ASSERT_EQ(0, kcov_disable(self->fd));
	EXPECT_LT(0, fdinfo(self->fd, "kcov-dropped-records"));
	/* Only recorded PCs have their bits set. */
	EXPECT_EQ(1, set_size(self->area, self->set));
	EXPECT_TRUE(set_has(self->area, set_position(trace[1])));
}

/* The user can only read; the kernel still records. */
TEST(read_only_mapping)
{
	const char *missing = unique_missing() ?: traces_missing();
	unsigned long set, words;
	uint64_t *area;
	pid_t child;
	int fd;

	if (missing)
		SKIP(return, "%s", missing);
	set = set_words();
	words = set + TRACE_WORDS;
	fd = open(KCOV_DEVICE, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kcov_init(fd, words));
	area = mmap(NULL, words * 8, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, area);
	EXPECT_EQ(-1, mprotect(area, words * 8, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	child = fork();
	if (!child) {
		*(volatile uint64_t *)area = 1;
		_exit(0);
	}
	EXPECT_TRUE(WIFSIGNALED(exit_status(child)));

	ASSERT_EQ(0, unique(fd, set));
	mark_one();
	EXPECT_EQ(1, times_recorded(area + set, MARK_ONE));
	EXPECT_EQ(0, kcov_ioctl(fd, KCOV_RESET_TRACE, 0));
	EXPECT_EQ(0, times_recorded(area + set, MARK_ONE));
	mark_one();
	EXPECT_EQ(1, times_recorded(area + set, MARK_ONE));
	ASSERT_EQ(0, kcov_disable(fd));
	close(fd);
}

/* Long calls. */

static int visit(const char *path, const struct stat *stat, int type, struct FTW *place)
{
	return 0;
}

static void walk_directories(void)
{
	nftw("/sys/kernel", visit, 16, FTW_PHYS);
}

static void write_vectors(void)
{
	static char data[64];
	static struct iovec vectors[1024];
	static int file;
	size_t i;

	if (!file)
		file = memfd_create("vectors", MFD_CLOEXEC);
	for (i = 0; i < ARRAY_SIZE(vectors); i++)
		vectors[i] = (struct iovec){ data, sizeof(data) };
	if (pwritev(file, vectors, ARRAY_SIZE(vectors), 0) != sizeof(data) * ARRAY_SIZE(vectors))
		abort();
}

/* A process with many mappings. */
static void fork_process(void)
{
	static char *memory;
	pid_t child;
	size_t i;

	if (!memory) {
		memory = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (i = 0; i < 512; i++) {
			memory[i * 65536] = 1;
			mprotect(memory + i * 65536 + 4096, 4096, PROT_READ);
		}
	}
	child = fork();
	if (!child)
		_exit(0);
	exit_status(child);
}

FIXTURE(long_call) {
	unsigned long set;
	uint64_t *area;
	int fd;
};

FIXTURE_VARIANT(long_call) {
	void (*run)(void);
};

FIXTURE_VARIANT_ADD(long_call, directories) { .run = walk_directories };
FIXTURE_VARIANT_ADD(long_call, vectors) { .run = write_vectors };
FIXTURE_VARIANT_ADD(long_call, fork) { .run = fork_process };

FIXTURE_SETUP(long_call)
{
	const char *missing = unique_missing() ?: code_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->set = set_words();
	self->fd = kcov_open_mapped(LONG_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	/* Otherwise fork() copies the mapping. */
	ASSERT_EQ(0, madvise(self->area, LONG_WORDS * 8, MADV_DONTFORK));
}

FIXTURE_TEARDOWN(long_call)
{
	close(self->fd);
}

/*
 * Returns the PCs of one word of the sets that are in every trace of one kind and in none of the
 * other.
 */
static uint64_t only_one_kind(uint64_t *const *always, uint64_t *const *ever, int kind,
			      unsigned long word)
{
	return always[kind][word] & ~ever[!kind][word];
}

static bool kinds_differ(uint64_t *const *always, uint64_t *const *ever, unsigned long words)
{
	unsigned long word;

	for (word = 0; word < words; word++)
		if (only_one_kind(always, ever, 0, word) || only_one_kind(always, ever, 1, word))
			return true;
	return false;
}

/*
 * The trace is at least ten times shorter and has the same PCs: none that is in every trace of one
 * kind is missing in all of the other. Two traces of calls as long as these are never quite equal.
 * On a busy machine, interrupts hit the calls that take longer each time, so more traces of the
 * others are needed to have the same code; a PC that one kind really loses is missing in any
 * number.
 */
TEST_F_TIMEOUT(long_call, shorter_with_the_same_pcs, 300)
{
	enum { RUNS = 10, MOST_RUNS = 100 };
	size_t bytes = self->set * sizeof(uint64_t);
	uint64_t *always[2], *ever[2], *seen = malloc(bytes);
	uint64_t length[2] = { 0 }, repeated;
	unsigned long word;
	int run, turn, kind;

	for (kind = 0; kind < 2; kind++) {
		always[kind] = malloc(bytes);
		ever[kind] = calloc(1, bytes);
		memset(always[kind], 0xff, bytes);
	}
	for (run = -2; run < RUNS ||
	     (run < MOST_RUNS && kinds_differ(always, ever, self->set)); run++) {
		/*
		 * The code of a call may depend on the number of calls before, so the two kinds
		 * take turns.
		 */
		for (turn = 0; turn < 2; turn++) {
			uint64_t *trace;

			kind = turn ^ (run & 1);
			trace = self->area + (kind ? self->set : 0);
			memset(self->area, 0, bytes);
			cover_reset(trace);
			ASSERT_EQ(0, kind ? unique(self->fd, self->set) :
				  kcov_enable(self->fd, KCOV_TRACE_PC));
			variant->run();
			ASSERT_EQ(0, kcov_disable(self->fd));
			ASSERT_EQ(0, fdinfo(self->fd, "kcov-dropped-records"));
			if (run < 0)
				continue;
			memset(seen, 0, bytes);
			repeated = set_add(seen, self->set, trace);
			if (kind)
				ASSERT_EQ(0, repeated);
			length[kind] += cover_count(trace);
			for (word = 0; word < self->set; word++) {
				always[kind][word] &= seen[word];
				ever[kind][word] |= seen[word];
			}
		}
	}
	TH_LOG("%lu PCs on average, %lu with each once", length[0] / run, length[1] / run);
	EXPECT_LE(10 * length[1], length[0]);
	EXPECT_LT(0, set_size(always[0], self->set));
	for (word = 0; word < self->set; word++) {
		EXPECT_EQ(0, only_one_kind(always, ever, 0, word))
			TH_LOG("lost: bits of word %lu", word);
		EXPECT_EQ(0, only_one_kind(always, ever, 1, word))
			TH_LOG("only there with each PC once: bits of word %lu", word);
	}
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
