// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of buffers. It is free when close() returns, or when the task has exited that had
 * enabled the descriptor. A request for too much memory fails, and has no other effect.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"
#include "realtime.h"

#include "kcov_sample.h"

#define WORDS		8192UL
#define AREA_WORDS	16384
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e610001)
#define MIB_WORDS	((1UL << 20) / sizeof(uint64_t))
/* The largest buffer that a program can request, in MiB. */
#define MAX_MIB		((unsigned long)INT_MAX >> 20)

#define SAMPLE		"/dev/kcov-sample"
#define SAMPLE_THREAD	"kcov_sample"

#define MIN_FREE_KIB	"/proc/sys/vm/min_free_kbytes"

/* Long enough for the deferred work of the kernel. */
#define LATER_US	300000

/* Real-time tasks end by themselves after this number of seconds. */
#define LIMIT		200

/*
 * The size of a buffer in MiB, the available memory, and the number of buffers that are made one
 * after the other. The kernel clears each; an emulated machine may need 10 seconds per GiB. The
 * memory is less than two buffers, because one takes 60 % of it.
 */
#define BUFFER_MIB	64
#define AVAILABLE_MIB	(BUFFER_MIB * 100 / 60)
#define ROUNDS		3

/* The memory that the kernel keeps free. */
static long min_free;

static void save_settings(void)
{
	min_free = read_number(MIN_FREE_KIB);
}

static void restore_settings(void)
{
	limit_realtime();
	write_number(MIN_FREE_KIB, min_free);
}

/*
 * Makes the kernel keep memory until about @mib are available. Allocating the memory would have the
 * same effect, but takes long.
 */
static long leave_available(long mib)
{
	long kept = read_number(MIN_FREE_KIB), more;
	int i;

	for (i = 0; i < 30; i++) {
		more = (long)memory_available() - mib;
		if (more >= -2 && more <= 2)
			return 0;
		/* The kernel tries to have half as much again free. */
		kept += (more << 10) * 2 / 3;
		if (write_number(MIN_FREE_KIB, kept))
			return -EIO;
	}
	return -ERANGE;
}

/* The use of a descriptor before it is closed. */
enum use { INITIALISED, LOCAL, REMOTE, REMOTE_WITH_SECTION };

/* The results of the real-time tasks, in memory that they share with the test. */
static struct {
	int rounds;
	const char *step;
	long error;
} *told;

static int sample = -1;
static struct kcov_sample_handles handles;

static long enable(int fd, enum use use)
{
	switch (use) {
	case LOCAL:
		return kcov_enable(fd, KCOV_TRACE_PC);
	case REMOTE:
		return kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, HANDLE, 0);
	case REMOTE_WITH_SECTION:
		return kcov_remote_enable(fd, KCOV_TRACE_PC, AREA_WORDS, 0, handles.worker) ?:
		       kcov_ioctl(sample, KCOV_SAMPLE_WORKER, 0);
	default:
		return 0;
	}
}

static long told_step(const char *step, long error)
{
	told->step = step;
	told->error = error;
	return error;
}

/* Uses one descriptor, and closes it or leaves it open and enabled. */
static long use_descriptor(unsigned long words, enum use use, bool leave)
{
	int fd = kcov_open();

	told_step("KCOV_INIT_TRACE", -EINTR);
	if (fd < 0 || told_step("KCOV_INIT_TRACE", kcov_init(fd, words)))
		return -1;
	if (told_step("enable", enable(fd, use)))
		return -1;
	if (leave)
		return 0;
	if (use != INITIALISED && told_step("KCOV_DISABLE", kcov_disable(fd)))
		return -1;
	close(fd);
	return 0;
}

/* Does the same in a task that exits together with its descriptor. */
static long use_in_child(unsigned long words, enum use use)
{
	pid_t child = fork();

	if (child < 0)
		return told_step("fork", -errno);
	if (!child) {
		be_mortal(LIMIT);
		_exit(use_descriptor(words, use, true) ? 1 : 0);
	}
	return exit_status(child);
}

/*
 * Returns an error if the memory is not free again. Less than half of it may be missing: each CPU
 * keeps some free pages, and KASAN keeps an eighth of a buffer until a worker runs.
 */
static long use_and_look(enum use use, bool leave)
{
	const unsigned long words = BUFFER_MIB * MIB_WORDS;
	unsigned long before = memory_available(), after;

	if (leave ? use_in_child(words, use) : use_descriptor(words, use, false))
		return -1;
	after = memory_available();
	told_step("MiB not back", before - after);
	return after + BUFFER_MIB / 2 > before ? 0 : -1;
}

static void use_without_kworkers(enum use use, bool leave)
{
	pid_t spinners[CPU_SETSIZE];
	int count;

	be_mortal(LIMIT);
	if (told_step("sched_setaffinity", run_on(0)) ||
	    told_step("sched_setscheduler", be_realtime(0, 1)))
		_exit(1);
	count = start_spinners(1, 1, spinners, CPU_SETSIZE);
	if (count < 0 && told_step("start_spinners", count))
		_exit(1);
	if (told_step("leaving little memory", leave_available(AVAILABLE_MIB)))
		_exit(1);
	for (told->rounds = 0; told->rounds < ROUNDS; told->rounds++)
		if (use_and_look(use, leave))
			break;
	_exit(end_spinners(spinners, count) && told->rounds == ROUNDS ? 0 : 1);
}

/* Returns the thread of the sample module that runs its section, or 0. */
static pid_t sample_thread(void)
{
	char path[64], name[32] = "";
	long pid, max = read_number("/proc/sys/kernel/pid_max");

	for (pid = 1; pid < max && pid < 32768; pid++) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (!fgets(name, sizeof(name), file))
			name[0] = 0;
		fclose(file);
		if (!strcmp(name, SAMPLE_THREAD "\n"))
			return pid;
	}
	return 0;
}

FIXTURE(buffer) {
	pid_t thread;
};

FIXTURE_VARIANT(buffer) {
	enum use use;
	/* A task exits with the descriptor open and enabled. */
	bool leave;
};

FIXTURE_VARIANT_ADD(buffer, initialised) { INITIALISED, false };
FIXTURE_VARIANT_ADD(buffer, local) { LOCAL, false };
FIXTURE_VARIANT_ADD(buffer, remote) { REMOTE, false };
FIXTURE_VARIANT_ADD(buffer, remote_with_section) { REMOTE_WITH_SECTION, false };
FIXTURE_VARIANT_ADD(buffer, initialised_until_exit) { INITIALISED, true };
FIXTURE_VARIANT_ADD(buffer, local_until_exit) { LOCAL, true };
FIXTURE_VARIANT_ADD(buffer, remote_until_exit) { REMOTE, true };
FIXTURE_VARIANT_ADD(buffer, remote_with_section_until_exit) { REMOTE_WITH_SECTION, true };

/* The section must be recorded, and its thread must run before the test's own tasks. */
static void prepare_sections(struct __test_metadata *_metadata, FIXTURE_DATA(buffer) *self)
{
	uint64_t *area;
	int fd = kcov_open_mapped(WORDS, &area);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kcov_ioctl(sample, KCOV_SAMPLE_HANDLES, (unsigned long)&handles));
	ASSERT_EQ(0, enable(fd, REMOTE_WITH_SECTION));
	ASSERT_NE(0, cover_count(area));
	ASSERT_EQ(0, kcov_disable(fd));
	kcov_unmap(area, WORDS);
	close(fd);
	self->thread = sample_thread();
	ASSERT_NE(0, self->thread);
	ASSERT_EQ(0, be_realtime(self->thread, 2));
}

FIXTURE_SETUP(buffer)
{
	if (variant->use == REMOTE_WITH_SECTION) {
		sample = open(SAMPLE, O_RDWR | O_CLOEXEC);
		if (sample < 0)
			SKIP(return, "no " SAMPLE " (CONFIG_SAMPLE_KCOV_MODULE)");
	}
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, told);
	if (sample >= 0)
		prepare_sections(_metadata, self);
	ASSERT_EQ(0, unlimit_realtime());
}

FIXTURE_TEARDOWN(buffer)
{
	restore_settings();
	if (self->thread)
		be_realtime(self->thread, 0);
}

/* Workers of the kernel, which could free the memory later, do not run. */
TEST_F_TIMEOUT(buffer, is_free_again, 2 * LIMIT)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child)
		use_without_kworkers(variant->use, variant->leave);
	EXPECT_EQ(0, exit_status(child))
		TH_LOG("round %d of %d, %s: %ld", told->rounds + 1, ROUNDS, told->step,
		       told->error);
}

static unsigned long oom_kills(void)
{
	unsigned long count = 0;
	char line[128];
	FILE *file = fopen("/proc/vmstat", "r");

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "oom_kill ", 9))
			count = strtoul(line + 9, NULL, 10);
	fclose(file);
	return count;
}

/* The OOM killer takes the task with the highest score first; 1000 is the highest. */
static void be_victim(int score)
{
	write_number("/proc/self/oom_score_adj", score);
}

FIXTURE(memory) {
	unsigned long words;
	/* A task that holds some of the memory. */
	pid_t holder;
	int log;
};

FIXTURE_VARIANT(memory) {
	/* The request is for more than the memory of the machine. */
	bool all;
};

FIXTURE_VARIANT_ADD(memory, of_the_machine) { true };
FIXTURE_VARIANT_ADD(memory, that_is_left) { false };

#define HELD_MIB	100
/* Includes the memory that the kernel and the tasks use already. */
#define USABLE_MIB	400UL

static void hold_memory(int ready)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	be_victim(500);
	if (mmap(NULL, HELD_MIB << 20, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0) == MAP_FAILED)
		_exit(1);
	if (write(ready, "", 1) != 1)
		_exit(2);
	for (;;)
		pause();
}

static pid_t start_holder(void)
{
	int ready[2];
	pid_t child;
	char byte;

	if (pipe(ready))
		return -errno;
	child = fork();
	if (!child) {
		close(ready[0]);
		hold_memory(ready[1]);
	}
	close(ready[1]);
	return child > 0 && read(ready[0], &byte, 1) == 1 ? child : -ENOMEM;
}

/* Makes the kernel keep all memory but USABLE_MIB. */
static int reserve_memory(void)
{
	return write_number(MIN_FREE_KIB, (memory_total() - USABLE_MIB) << 10);
}

FIXTURE_SETUP(memory)
{
	if (variant->all && memory_total() > MAX_MIB)
		SKIP(return, "there is more memory than a buffer can take");
	/* More than would be available without the holder. */
	self->words = variant->all ? INT_MAX / sizeof(uint64_t) :
				     (USABLE_MIB - HELD_MIB / 2) * MIB_WORDS;
	self->holder = start_holder();
	ASSERT_LT(0, self->holder);
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	if (!variant->all)
		ASSERT_EQ(0, reserve_memory());
}

FIXTURE_TEARDOWN(memory)
{
	restore_settings();
	if (self->holder > 0) {
		kill(self->holder, SIGKILL);
		exit_status(self->holder);
	}
}

/*
 * Returns the status of a task that requests @words words. The OOM killer would kill this task
 * first and then the holder, and none that the guest needs.
 */
static int ask_for(unsigned long words)
{
	pid_t child = fork();
	int status;

	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		be_victim(1000);
		/* From here on, the task needs no more memory. */
		mlockall(MCL_CURRENT);
		_exit(-kcov_init(kcov_open(), words));
	}
	status = exit_status(child);
	/* A failing vmalloc() leaves it to a worker to free the pages that it has obtained. */
	usleep(LATER_US);
	return status;
}

TEST_F_TIMEOUT(memory, is_not_enough, 3 * LIMIT)
{
	unsigned long kills = oom_kills();
	int status = ask_for(self->words);
	char line[256];

	EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == ENOMEM)
		TH_LOG("%lu MiB: status %#x", self->words / MIB_WORDS, status);
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	EXPECT_EQ(kills, oom_kills());
	EXPECT_EQ(0, waitpid(self->holder, NULL, WNOHANG));
	restore_settings();
	EXPECT_EQ(0, kcov_answer(KCOV_ENABLE, KCOV_TRACE_PC));
}

int main(int argc, char **argv)
{
	/* Making the first buffer of a system may wait for a kernel thread. */
	kcov_init(kcov_open(), WORDS);
	save_settings();
	/* Also runs after a test that was killed. */
	atexit(restore_settings);
	return test_harness_run(argc, argv);
}
