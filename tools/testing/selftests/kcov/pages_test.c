// SPDX-License-Identifier: GPL-2.0
/*
 * The pages of a mapping: those that a program finds without a page fault, and every way to access
 * the others for the first time.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"

/* The bytes at the start of a trace that are mapped without a page fault. */
#define AHEAD	(64UL << 10)
/* Several times as much, and less than the part of a page table that one page holds. */
#define WORDS	(64UL << 10)
#define BYTES	(WORDS * sizeof(uint64_t))
#define LAST	(WORDS - 1)
#define CHILD_FAILED	99

static size_t page_size;

FIXTURE(pages) {
	uint64_t *area;
	int fd;
};

FIXTURE_SETUP(pages)
{
	page_size = sysconf(_SC_PAGESIZE);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(pages)
{
	close(self->fd);
}

/* Returns the number of present pages among the pages of @bytes bytes. */
static long present(void *start, size_t bytes)
{
	static unsigned char vec[BYTES / 4096 + 1];
	size_t i;
	long count = 0;

	if (mincore(start, bytes, vec))
		return -errno;
	for (i = 0; i < bytes / page_size; i++)
		count += vec[i] & 1;
	return count;
}

static uint64_t content(size_t word)
{
	return 0x5a5a000000000000 + word;
}

static void fill(uint64_t *area)
{
	size_t i;

	for (i = 0; i < WORDS; i++)
		area[i] = content(i);
}

/* Returns the first word from @from on that differs from what fill() wrote, or WORDS. */
static size_t wrong(const volatile uint64_t *area, size_t from)
{
	for (; from < WORDS; from++)
		if (area[from] != content(from))
			break;
	return from;
}

/* Makes the buffer's content through a mapping that is gone afterwards. */
static void fill_through_another(struct __test_metadata *_metadata, int fd)
{
	uint64_t *area = kcov_map(fd, WORDS);

	ASSERT_NE(NULL, area);
	fill(area);
	kcov_unmap(area, WORDS);
}

FIXTURE(ahead) {
	int fd;
};

FIXTURE_VARIANT(ahead) {
	int prot;
};

FIXTURE_VARIANT_ADD(ahead, writable) { PROT_READ | PROT_WRITE };
FIXTURE_VARIANT_ADD(ahead, read_only) { PROT_READ };

FIXTURE_SETUP(ahead)
{
	page_size = sysconf(_SC_PAGESIZE);
	self->fd = kcov_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, kcov_init(self->fd, WORDS));
}

FIXTURE_TEARDOWN(ahead)
{
	close(self->fd);
}

/* The start of the trace is mapped by mmap(), and stays so in children of children. */
TEST_F(ahead, is_present)
{
	const long pages = AHEAD / page_size;
	uint64_t *area = mmap(NULL, BYTES, variant->prot, MAP_SHARED, self->fd, 0);
	uint64_t *copy = mmap(NULL, BYTES, variant->prot, MAP_PRIVATE, self->fd, 0);
	pid_t child;

	ASSERT_NE(MAP_FAILED, area);
	ASSERT_NE(MAP_FAILED, copy);
	EXPECT_EQ(pages, present(area, AHEAD));
	EXPECT_EQ(pages, present(copy, AHEAD));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		pid_t grandchild = fork();

		if (!grandchild)
			_exit(present(area, AHEAD) == pages ? 0 : CHILD_FAILED);
		_exit(present(area, AHEAD) == pages ? exit_status(grandchild) : CHILD_FAILED);
	}
	EXPECT_EQ(0, exit_status(child));
	kcov_unmap(area, WORDS);
}

TEST(small_buffer_is_present)
{
	uint64_t *area;
	int fd;

	page_size = sysconf(_SC_PAGESIZE);
	fd = kcov_open_mapped(page_size / sizeof(*area), &area);
	ASSERT_LE(0, fd);
	EXPECT_EQ(1, present(area, page_size));
	close(fd);
}

/* A program that maps all pages when it starts pays for none later. */
TEST_F(ahead, populate_maps_all)
{
	uint64_t *area = mmap(NULL, BYTES, variant->prot, MAP_SHARED | MAP_POPULATE, self->fd, 0);

	ASSERT_NE(MAP_FAILED, area);
	EXPECT_EQ(BYTES / page_size, present(area, BYTES));
}

/* Children have the same memory, also where no process had touched it before. */
TEST_F(pages, fork)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		fill(self->area);
		_exit(0);
	}
	ASSERT_EQ(0, exit_status(child));
	EXPECT_EQ(WORDS, wrong(self->area, 0));
}

/* Whichever page comes first. */
TEST_F(pages, in_any_order)
{
	const size_t words = page_size / sizeof(uint64_t);
	size_t pages = WORDS / words, i;
	uint64_t *other = kcov_map(self->fd, WORDS);

	ASSERT_NE(NULL, other);
	/* An odd step visits each page of a power of two. */
	for (i = 0; i < pages; i++) {
		size_t word = (i * 37 + 5) % pages * words + i;

		self->area[word] = content(word);
		ASSERT_EQ(content(word), other[word]);
	}
	for (i = WORDS; i-- > 0;)
		other[i] = content(i);
	EXPECT_EQ(WORDS, wrong(self->area, 0));
}

struct toucher {
	struct worker worker;
	volatile uint64_t *area;
	uint64_t wrong;
};

static long touch_all(void *data)
{
	struct toucher *toucher = data;

	toucher->wrong = wrong(toucher->area, 0);
	return 0;
}

/* Threads that access the same pages at the same time. */
TEST_F(pages, threads)
{
	enum { ROUNDS = 50, THREADS = 2 };
	struct toucher touchers[THREADS];
	int round, i;

	fill(self->area);
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, worker_start(&touchers[i].worker));
	for (round = 0; round < ROUNDS; round++) {
		uint64_t *area = kcov_map(self->fd, WORDS);

		ASSERT_NE(NULL, area);
		for (i = 0; i < THREADS; i++) {
			touchers[i].area = area;
			touchers[i].worker.function = touch_all;
			touchers[i].worker.argument = &touchers[i];
			sem_post(&touchers[i].worker.request);
		}
		for (i = 0; i < THREADS; i++) {
			sem_wait(&touchers[i].worker.done);
			EXPECT_EQ(WORDS, touchers[i].wrong);
		}
		kcov_unmap(area, WORDS);
	}
	for (i = 0; i < THREADS; i++)
		worker_end(&touchers[i].worker);
}

/* The mapping alone keeps the memory of pages that it does not have yet. */
TEST_F(pages, after_close)
{
	fill_through_another(_metadata, self->fd);
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(WORDS, wrong(self->area, 0));
	self->area[LAST] = 1;
	EXPECT_EQ(1, *(volatile uint64_t *)&self->area[LAST]);
}

/* Parts of a mapping show the same part of the buffer as before. */
TEST_F(pages, parts)
{
	const size_t words = page_size / sizeof(uint64_t), half = WORDS / 2;
	uint64_t *moved, *rest;

	fill_through_another(_metadata, self->fd);
	/* A hole near the end of what is present, and the upper half elsewhere. */
	ASSERT_EQ(0, munmap(self->area + words, page_size));
	EXPECT_EQ(content(0), self->area[0]);
	EXPECT_EQ(content(2 * words), self->area[2 * words]);
	moved = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, moved);
	ASSERT_EQ(moved + half, mremap(self->area + half, BYTES / 2, BYTES / 2,
				       MREMAP_MAYMOVE | MREMAP_FIXED, moved + half));
	EXPECT_EQ(WORDS, wrong(moved, half));
	/* The lower half becomes smaller. */
	rest = self->area + 2 * words;
	ASSERT_EQ(rest, mremap(rest, BYTES / 2 - 2 * page_size, AHEAD, 0));
	EXPECT_EQ(content(2 * words + AHEAD / 8 - 1), rest[AHEAD / 8 - 1]);
	EXPECT_EQ(MAP_FAILED, mremap(rest, AHEAD, AHEAD + page_size, MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
}

/* Runs @access in a child; returns its signal, or 0. */
static int signal_of(void (*access)(volatile uint64_t *word), uint64_t *word)
{
	int status;
	pid_t child = fork();

	if (!child) {
		access(word);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void load(volatile uint64_t *word)
{
	(void)*word;
}

static void store(volatile uint64_t *word)
{
	*word = 1;
}

TEST_F(pages, protection)
{
	ASSERT_EQ(0, mprotect(self->area, BYTES, PROT_READ));
	EXPECT_EQ(SIGSEGV, signal_of(store, &self->area[LAST]));
	EXPECT_EQ(0, signal_of(load, &self->area[LAST]));
	ASSERT_EQ(0, mprotect(self->area, BYTES, PROT_NONE));
	EXPECT_EQ(SIGSEGV, signal_of(load, &self->area[LAST]));
	ASSERT_EQ(0, mprotect(self->area, BYTES, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, signal_of(store, &self->area[LAST]));
	EXPECT_EQ(1, self->area[LAST]);
}

/* A page that another key guards has the key also if it is mapped later. */
TEST_F(pages, protection_key)
{
	int key = syscall(SYS_pkey_alloc, 0, 0);

	if (key < 0)
		SKIP(return, "no protection keys");
	fill_through_another(_metadata, self->fd);
	ASSERT_EQ(0, syscall(SYS_pkey_mprotect, self->area, BYTES, PROT_READ | PROT_WRITE, key));
	EXPECT_EQ(WORDS, wrong(self->area, 0));
	syscall(SYS_pkey_free, key);
	/* No access with this key. */
	key = syscall(SYS_pkey_alloc, 0, 1);
	ASSERT_LT(0, key);
	self->area = kcov_map(self->fd, WORDS);
	ASSERT_NE(NULL, self->area);
	ASSERT_EQ(0, syscall(SYS_pkey_mprotect, self->area, BYTES, PROT_READ | PROT_WRITE, key));
	EXPECT_EQ(SIGSEGV, signal_of(load, &self->area[LAST]));
	EXPECT_EQ(SIGSEGV, signal_of(load, &self->area[0]));
}

/* A private mapping copies a page at the first write, also if the page was never read. */
TEST_F(pages, private)
{
	const size_t word = WORDS / 2 + 3, words = page_size / sizeof(uint64_t);
	uint64_t *copy = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);

	ASSERT_NE(MAP_FAILED, copy);
	fill(self->area);
	copy[word] = 1;
	EXPECT_EQ(content(word), *(volatile uint64_t *)&self->area[word]);
	EXPECT_EQ(content(word + 1), copy[word + 1]);
	/* Only this page is a copy. */
	self->area[word + 1] = 2;
	self->area[word + words] = 3;
	EXPECT_EQ(content(word + 1), *(volatile uint64_t *)&copy[word + 1]);
	EXPECT_EQ(3, *(volatile uint64_t *)&copy[word + words]);
	/* The copy stays what it is when more pages around it are mapped. */
	self->area[word + words] = content(word + words);
	EXPECT_EQ(WORDS, wrong(copy, word + 1));
	EXPECT_EQ(1, copy[word]);
}

/* Afterwards, the mapping shows the buffer again, and a private mapping has lost its copy. */
TEST_F(pages, come_back_after_dontneed)
{
	uint64_t *copy = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);

	ASSERT_NE(MAP_FAILED, copy);
	fill(self->area);
	copy[0] = 1;
	ASSERT_EQ(0, madvise(self->area, BYTES, MADV_DONTNEED));
	ASSERT_EQ(0, madvise(copy, BYTES, MADV_DONTNEED));
	ASSERT_EQ(0, signal_of(load, self->area));
	EXPECT_EQ(WORDS, wrong(self->area, 0));
	EXPECT_EQ(WORDS, wrong(copy, 0));
}

/* The kernel accesses the memory of the caller: system calls copy from and to it. */
TEST_F(pages, system_calls)
{
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	fill_through_another(_metadata, self->fd);
	ASSERT_EQ(8, write(pipes[1], &self->area[LAST], 8));
	ASSERT_EQ(8, read(pipes[0], &self->area[LAST / 2], 8));
	EXPECT_EQ(content(LAST), self->area[LAST / 2]);
	close(pipes[0]);
	close(pipes[1]);
}

/* The kernel takes references to pages of the caller. */
TEST_F(pages, get_user_pages)
{
	struct iovec pages = { &self->area[WORDS / 2], AHEAD / 2 };
	static uint64_t seen[AHEAD / 2 / 8];
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	fill_through_another(_metadata, self->fd);
	ASSERT_EQ(AHEAD / 2, vmsplice(pipes[1], &pages, 1, SPLICE_F_NONBLOCK));
	/* The pipe has the page itself. */
	self->area[WORDS / 2 + 1] = 7;
	ASSERT_EQ(AHEAD / 2, read(pipes[0], seen, AHEAD / 2));
	EXPECT_EQ(content(WORDS / 2), seen[0]);
	EXPECT_EQ(7, seen[1]);
	close(pipes[0]);
	close(pipes[1]);
}

/* A child that waits, with the mapping as it was. */
static pid_t waiting_child(void)
{
	pid_t child = fork();

	if (!child) {
		be_mortal(LIFETIME);
		for (;;)
			pause();
	}
	return child;
}

/* A tracer accesses the memory of another process. */
TEST_F(pages, memory_file)
{
	const off_t last = (uintptr_t)&self->area[LAST];
	char path[64];
	uint64_t word = 0;
	pid_t child;
	int mem;

	child = waiting_child();
	ASSERT_LT(0, child);
	fill_through_another(_metadata, self->fd);
	snprintf(path, sizeof(path), "/proc/%d/mem", child);
	mem = open(path, O_RDWR);
	ASSERT_LE(0, mem);
	EXPECT_EQ(8, pread(mem, &word, 8, last));
	EXPECT_EQ(content(LAST), word);
	word = 3;
	EXPECT_EQ(8, pwrite(mem, &word, 8, last - AHEAD));
	EXPECT_EQ(3, *(uint64_t *)((char *)&self->area[LAST] - AHEAD));
	close(mem);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/*
 * A debugger reads what the program has not touched. It may also write to memory that is read-only
 * for the program, which then has a copy.
 */
TEST_F(pages, debugger)
{
	uint64_t *copy = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, self->fd, 0);
	pid_t child;
	int status;

	ASSERT_NE(MAP_FAILED, copy);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(copy[LAST] != 3 || copy[LAST - 1] != content(LAST - 1));
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	fill_through_another(_metadata, self->fd);
	EXPECT_EQ(content(LAST), ptrace(PTRACE_PEEKDATA, child, &self->area[LAST], NULL));
	EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, child, &copy[LAST], (void *)3));
	EXPECT_EQ(3, ptrace(PTRACE_PEEKDATA, child, &copy[LAST], NULL));
	EXPECT_EQ(content(LAST), self->area[LAST]);
	EXPECT_EQ(0, ptrace(PTRACE_CONT, child, NULL, NULL));
	EXPECT_EQ(0, exit_status(child));
}

TEST_F(pages, process_vm)
{
	uint64_t word = 0;
	struct iovec local = { &word, 8 }, remote = { &self->area[LAST], 8 };
	pid_t child;
	ssize_t ret;

	child = waiting_child();
	ASSERT_LT(0, child);
	fill_through_another(_metadata, self->fd);
	ret = process_vm_readv(child, &local, 1, &remote, 1, 0);
	if (ret < 0 && errno == ENOSYS) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		SKIP(return, "no process_vm_readv() (CONFIG_CROSS_MEMORY_ATTACH)");
	}
	EXPECT_EQ(8, ret);
	EXPECT_EQ(content(LAST), word);
	word = 5;
	remote.iov_base = &self->area[WORDS / 2];
	EXPECT_EQ(8, process_vm_writev(child, &local, 1, &remote, 1, 0));
	EXPECT_EQ(5, self->area[WORDS / 2]);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* Writes @text to a file of procfs; returns the old content in @old, if it is not NULL. */
static int setting(const char *path, const char *text, char *old, size_t size)
{
	int fd = open(path, O_RDWR);
	ssize_t ret = -1;

	if (fd < 0)
		return -errno;
	if (old) {
		ret = read(fd, old, size - 1);
		old[ret < 0 ? 0 : ret] = 0;
	}
	ret = pwrite(fd, text, strlen(text), 0);
	close(fd);
	return ret == (ssize_t)strlen(text) ? 0 : -EIO;
}

/* Returns the offset in the core file of the word at @address, or -1. */
static off_t in_core(int core, uintptr_t address)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	int i;

	if (pread(core, &header, sizeof(header), 0) != sizeof(header))
		return -1;
	for (i = 0; i < header.e_phnum; i++) {
		if (pread(core, &segment, sizeof(segment),
			  header.e_phoff + i * sizeof(segment)) != sizeof(segment))
			return -1;
		if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
		    address < segment.p_vaddr + segment.p_filesz)
			return segment.p_offset + (address - segment.p_vaddr);
	}
	return -1;
}

/* A core dump that includes shared mappings has the whole buffer; the usual one has none of it. */
TEST_F(pages, core_dump)
{
	static const char pattern[] = "/proc/sys/kernel/core_pattern", name[] = "/tmp/kcov-core";
	static const char * const filters[] = { "0x33", "0x3f" };
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	char old[256];
	size_t i;

	if (setting(pattern, name, old, sizeof(old)))
		SKIP(return, "core dumps have no pattern");
	fill_through_another(_metadata, self->fd);
	for (i = 0; i < ARRAY_SIZE(filters); i++) {
		uint64_t word = 0;
		int status, core;
		off_t offset;
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			setrlimit(RLIMIT_CORE, &unlimited);
			if (setting("/proc/self/coredump_filter", filters[i], NULL, 0))
				_exit(CHILD_FAILED);
			signal(SIGABRT, SIG_DFL);
			kill(getpid(), SIGABRT);
			_exit(CHILD_FAILED);
		}
		EXPECT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status) && WCOREDUMP(status));
		core = open(name, O_RDONLY);
		EXPECT_LE(0, core);
		offset = in_core(core, (uintptr_t)&self->area[LAST]);
		if (!i) {
			EXPECT_EQ(-1, offset);
		} else {
			EXPECT_LT(0, offset);
			EXPECT_EQ(8, pread(core, &word, 8, offset));
			EXPECT_EQ(content(LAST), word);
		}
		close(core);
		unlink(name);
	}
	setting(pattern, old, NULL, 0);
}

/* A trace of mark_one() with a reset before it and a look at the count after it. */
#define FRONT	(WORDS / 2)
#define MOST	2048

FIXTURE(fork_trace) {
	int fd, practice;
	uint64_t *area, *practice_area;
};

FIXTURE_VARIANT(fork_trace) {
	unsigned long cmd, arg;
	/* The positions of the traces in words; the second is 0 if there is one trace. */
	size_t first, second;
	bool read_only, command;
};

#define TRACE(name, ...) FIXTURE_VARIANT_ADD(fork_trace, name) { __VA_ARGS__ }

TRACE(pc_store, KCOV_ENABLE, KCOV_TRACE_PC, 0, 0, false, false);
TRACE(pc_command, KCOV_ENABLE, KCOV_TRACE_PC, 0, 0, true, true);
TRACE(cmp_store, KCOV_ENABLE, KCOV_TRACE_CMP, 0, 0, false, false);
TRACE(cmp_command, KCOV_ENABLE, KCOV_TRACE_CMP, 0, 0, true, true);
TRACE(unique_store, KCOV_UNIQUE_ENABLE, FRONT, FRONT, 0, false, false);
TRACE(unique_command, KCOV_UNIQUE_ENABLE, FRONT, FRONT, 0, true, true);
TRACE(both_store, KCOV_PC_CMP_ENABLE, FRONT, 0, FRONT, false, false);
TRACE(both_command, KCOV_PC_CMP_ENABLE, FRONT, 0, FRONT, true, true);

FIXTURE_SETUP(fork_trace)
{
	const int prot = PROT_READ | (variant->read_only ? 0 : PROT_WRITE);
	const char *missing = code_missing();
	long ret;

	if (!missing && (variant->command || variant->cmd != KCOV_ENABLE))
		missing = reset_missing();
	if (!missing && variant->cmd == KCOV_ENABLE && variant->arg == KCOV_TRACE_CMP)
		missing = comparisons_missing();
	if (missing)
		SKIP(return, "%s", missing);
	page_size = sysconf(_SC_PAGESIZE);
	ret = kcov_answer(variant->cmd, variant->cmd == KCOV_ENABLE ? variant->arg : 128);
	if (ret == -ENOTSUPP)
		SKIP(return, "this mode is configured out");
	self->fd = kcov_open();
	self->practice = kcov_open();
	ASSERT_LE(0, self->fd);
	ASSERT_LE(0, self->practice);
	ASSERT_EQ(0, kcov_init(self->fd, WORDS));
	ASSERT_EQ(0, kcov_init(self->practice, WORDS));
	self->practice_area = mmap(NULL, BYTES, prot, MAP_SHARED, self->practice, 0);
	ASSERT_NE(MAP_FAILED, self->practice_area);
	self->area = mmap(NULL, BYTES, prot, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->area);
}

FIXTURE_TEARDOWN(fork_trace)
{
	close(self->fd);
	close(self->practice);
}

struct traced {
	uint64_t counts[2];
	uint64_t words[2][MOST];
};

/* A copy of each word, without a call of the C library that could be bound at its first use. */
static void copy_trace(volatile uint64_t *trace, bool pcs, uint64_t *count, uint64_t *words)
{
	uint64_t i, size;

	*count = trace[0];
	size = *count * (pcs ? 1 : WORDS_PER_CMP);
	for (i = 0; i < size && i < MOST; i++)
		words[i] = trace[i + 1];
}

static bool record(const FIXTURE_VARIANT(fork_trace) *variant, int fd, volatile uint64_t *area,
		   struct traced *traced)
{
	const bool cmp_only = variant->cmd == KCOV_ENABLE && variant->arg == KCOV_TRACE_CMP;
	size_t i;

	if (kcov_ioctl(fd, variant->cmd, variant->arg))
		return false;
	if (variant->command) {
		if (kcov_ioctl(fd, KCOV_RESET_TRACE, 0))
			return false;
	} else {
		if (variant->second)
			area[variant->second] = 0;
		for (i = 0; i < variant->first; i++)
			area[i] = 0;
		area[variant->first] = 0;
	}
	mark_one();
	copy_trace(area + variant->first, !cmp_only, &traced->counts[0], traced->words[0]);
	if (variant->second)
		copy_trace(area + variant->second, false, &traced->counts[1], traced->words[1]);
	return !kcov_disable(fd);
}

/* Returns the number of page faults of the calling process. */
static long page_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/*
 * Returns whether the first store to a present page, or the first load of a child, is a page fault,
 * in which the kernel takes note of the access. On other architectures the processor does.
 */
static bool accesses_are_noted(bool store)
{
	volatile char *page = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	volatile char *private = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool noted;
	long before;
	pid_t child;

	(void)page[0];
	page_faults();
	before = page_faults();
	page[0] = 1;
	noted = store && page_faults() != before;
	private[0] = 1;
	child = fork();
	if (!child) {
		page_faults();
		before = page_faults();
		(void)private[0];
		_exit(page_faults() != before);
	}
	noted |= exit_status(child) != 0;
	munmap((void *)private, page_size);
	munmap((void *)page, page_size);
	return noted;
}

/*
 * Records in a child that has all its memory but the pages of @fd's mapping, and returns whether it
 * had a page fault while it recorded.
 */
static bool record_in_child(FIXTURE_DATA(fork_trace) *self,
			    const FIXTURE_VARIANT(fork_trace) *variant, struct traced *traced,
			    bool *fault)
{
	volatile uint64_t *area = self->area;
	pid_t child = fork();
	long before;

	if (!child) {
		memset(traced, 0, sizeof(*traced));
		if (!record(variant, self->practice, self->practice_area, traced))
			_exit(CHILD_FAILED);
		memset(traced, 0, sizeof(*traced));
		*fault = true;
		page_faults();
		before = page_faults();
		if (!record(variant, self->fd, area, traced))
			_exit(CHILD_FAILED);
		*fault = page_faults() != before;
		_exit(0);
	}
	return child > 0 && !exit_status(child);
}

/*
 * A fork does not change what a program records: its accesses to its own mapping leave no trace. An
 * interrupt leaves records, so several children try.
 */
TEST_F(fork_trace, is_that_of_the_parent)
{
	enum { ATTEMPTS = 40 };
	const size_t shared = sizeof(struct traced);
	struct traced *mine, *theirs;
	bool equal = false, *fault;
	uint64_t i;
	int attempt;

	if (accesses_are_noted(!variant->read_only))
		SKIP(return, "on this architecture, the first access to a present page is a fault");
	mine = mmap(NULL, shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	theirs = mmap(NULL, shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fault = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mine);
	ASSERT_NE(MAP_FAILED, theirs);
	ASSERT_NE(MAP_FAILED, fault);
	for (attempt = 0; attempt < ATTEMPTS && !equal; attempt++) {
		ASSERT_TRUE(record(variant, self->practice, self->practice_area, mine));
		memset(mine, 0, shared);
		ASSERT_TRUE(record(variant, self->practice, self->practice_area, mine));
		ASSERT_TRUE(record_in_child(self, variant, theirs, fault));
		ASSERT_FALSE(*fault);
		equal = !memcmp(mine, theirs, shared);
	}
	EXPECT_LT(0, mine->counts[0]);
	EXPECT_TRUE(equal) {
		TH_LOG("%lu and %lu records here, %lu and %lu in a child",
		       (long)mine->counts[0], (long)mine->counts[1],
		       (long)theirs->counts[0], (long)theirs->counts[1]);
		for (i = 0; i < MOST && mine->words[0][i] == theirs->words[0][i]; i++)
			;
		if (i < MOST)
			TH_LOG("word %lu is %#lx here and %#lx there", (long)i,
			       (long)mine->words[0][i], (long)theirs->words[0][i]);
	}
}

/*
 * The pages that a program accesses while it records are present in a child, wherever the traces
 * are in the buffer.
 */
TEST_F(fork_trace, is_mapped)
{
	uint64_t *areas[2] = { self->area + variant->first, self->area + variant->second };
	const long pages = AHEAD / page_size;
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		if (kcov_ioctl(self->fd, variant->cmd, variant->arg))
			_exit(CHILD_FAILED);
		if (present(areas[0], AHEAD) != pages)
			_exit(1);
		if (variant->second && present(areas[1], AHEAD) != pages)
			_exit(2);
		if (variant->cmd == KCOV_UNIQUE_ENABLE &&
		    present(self->area, FRONT * 8) != FRONT * 8 / (long)page_size)
			_exit(3);
		_exit(kcov_disable(self->fd) ? CHILD_FAILED : 0);
	}
	EXPECT_EQ(0, exit_status(child));
}

TEST_HARNESS_MAIN
