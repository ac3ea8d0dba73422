// SPDX-License-Identifier: GPL-2.0
/*
 * The filter: calls of hooks that it does not select are NOPs for every task. One system call is
 * recorded again and again. Its function calls another one, directly.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "filter.h"
#include "kcov.h"
#include "symbols.h"

/* getpriority(), by the names that its parts have, and the function that it calls. */
#define CALLER		"*getpriority*"
#define CALLER_WORD	"getpriority"
#define CALLED		"find_task_by_vpid"
/* Another system call, mark_two(). */
#define OTHER		"*sys_getsid*"
/* A start without many calls. */
#define START		"callers=0\n" CALLER "\n" CALLED "\n" OTHER "\n"
#define MODULE		"rust_kcov_sample"
#define MODULE_FILE	"/modules/" MODULE ".ko"

#define STATISTICS	"/sys/kernel/debug/kcov_statistics/"
#define CALL_SIZE	5
/* The number of times that a change may end before its task is killed. */
#define ATTEMPTS	10
/* Changing all calls takes long in an emulated guest. */
#define PATIENCE_MS	120000

static const unsigned char nop[CALL_SIZE] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };

FIXTURE(filter) {
	uint64_t *area;
	int fd;
};

FIXTURE_SETUP(filter)
{
	self->fd = -1;
	if (filter_missing())
		SKIP(return, "%s", filter_missing());
	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	ASSERT_EQ(0, filter_replace(START));
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

/* Waits until the hooks are off, so that the end of the filter changes no code. */
static void wait_for_hooks(void)
{
	char state[8] = "";
	time_t since = 0;
	int fd;

	do {
		fd = open(STATISTICS "hooks", O_RDONLY);
		if (read(fd, state, sizeof(state) - 1) < 0)
			state[0] = 0;
		close(fd);
	} while (strncmp(state, "off", 3) && may_wait(&since));
}

FIXTURE_TEARDOWN(filter)
{
	if (self->fd < 0)
		return;
	kcov_unmap(self->area, COVER_WORDS);
	close(self->fd);
	wait_for_hooks();
	filter_replace("");
}

static void call(void)
{
	syscall(SYS_getpriority, PRIO_PROCESS, getpid());
}

/* Records the system call; returns the number of records. */
static uint64_t record(FIXTURE_DATA(filter) *self)
{
	if (kcov_enable(self->fd, KCOV_TRACE_PC))
		return 0;
	cover_reset(self->area);
	call();
	kcov_disable(self->fd);
	return cover_count(self->area);
}

static bool is_caller(uint64_t pc)
{
	return strstr(symbol_at(pc - 1), CALLER_WORD);
}

static bool is_called(uint64_t pc)
{
	return !strcmp(symbol_at(pc - 1), CALLED);
}

/* The number of records in each of the functions, and elsewhere. */
struct counts {
	uint64_t caller, called, other;
};

static struct counts count(FIXTURE_DATA(filter) *self)
{
	struct counts counts = {};
	uint64_t i, records = record(self);

	for (i = 1; i <= records; i++) {
		if (is_caller(self->area[i]))
			counts.caller++;
		else if (is_called(self->area[i]))
			counts.called++;
		else
			counts.other++;
	}
	return counts;
}

/* GCC also makes jumps to hooks, at the end of functions, which no filter removes. */
static bool has_jumps(void)
{
	return statistic("sites_jumps") > 0;
}

#define EXPECT_COUNTS(in_caller, in_called, elsewhere)				\
do {										\
	struct counts counts = count(self);					\
										\
	EXPECT_EQ(in_caller, !!counts.caller) TH_LOG("%lu", counts.caller);	\
	EXPECT_EQ(in_called, !!counts.called) TH_LOG("%lu", counts.called);	\
	if (elsewhere || !has_jumps())						\
		EXPECT_EQ(elsewhere, !!counts.other) TH_LOG("%lu", counts.other); \
} while (0)

/* The last change is complete when the file is closed, and the statistics agree. */
#define EXPECT_COMPLETE() EXPECT_EQ(statistic("sites_selected"), statistic("sites_on"))

TEST_F_TIMEOUT(filter, functions, 600)
{
	EXPECT_COUNTS(true, true, false);
	ASSERT_EQ(0, filter_replace("callers=0\n" CALLED "\n"));
	EXPECT_COUNTS(false, true, false);
	EXPECT_COMPLETE();
	ASSERT_EQ(0, filter_append(CALLER "\n"));
	EXPECT_COUNTS(true, true, false);
	EXPECT_COMPLETE();
	ASSERT_EQ(0, filter_replace("callers=0\n" OTHER "\n"));
	EXPECT_COUNTS(false, false, false);
	EXPECT_COMPLETE();
	ASSERT_EQ(0, filter_replace(""));
	EXPECT_COUNTS(true, true, true);
	EXPECT_EQ(statistic("sites"), statistic("sites_selected"));
	EXPECT_COMPLETE();
}

/* Returns whether some code of the function at @pc calls @name. */
static bool function_calls(uint64_t pc, const char *name)
{
	char function[256];
	uint64_t address;

	snprintf(function, sizeof(function), "%s", symbol_at(pc - 1));
	address = symbol_address(function);
	while (address && !strcmp(symbol_at(address), function))
		if (called_before(++address, name))
			return true;
	return false;
}

/* Callers are kept without being asked for, and the record of one is in front of the called. */
TEST_F_TIMEOUT(filter, callers, 600)
{
	uint64_t i, records;

	if (text_missing())
		SKIP(return, "%s", text_missing());
	ASSERT_EQ(0, filter_replace(CALLED "\n"));
	records = record(self);
	ASSERT_LT(1, records);
	EXPECT_TRUE(is_caller(self->area[1])) TH_LOG("%s", symbol_at(self->area[1] - 1));
	for (i = 1; i <= records; i++)
		if (!is_called(self->area[i]))
			EXPECT_TRUE(function_calls(self->area[i], CALLED))
				TH_LOG("%s", symbol_at(self->area[i] - 1));
	EXPECT_COUNTS(true, true, false);
	ASSERT_EQ(0, filter_append("callers=0\n"));
	EXPECT_COUNTS(false, true, false);
	ASSERT_EQ(0, filter_append("callers=1\n"));
	EXPECT_COUNTS(true, true, false);
}

TEST_F_TIMEOUT(filter, taken_away, 600)
{
	ASSERT_EQ(0, filter_replace(CALLED "\n" CALLER "\n"));
	EXPECT_COUNTS(true, true, false);
	/* It takes away a caller of what stays, too. */
	ASSERT_EQ(0, filter_append("!" CALLER "\n"));
	EXPECT_COUNTS(false, true, false);
	/* The last line decides. */
	ASSERT_EQ(0, filter_append(CALLER "\n!" CALLED "\n"));
	EXPECT_COUNTS(true, false, false);
	/* Without a line that selects, all others stay. */
	ASSERT_EQ(0, filter_replace("!" CALLED "\n"));
	EXPECT_COUNTS(true, false, true);
}

/* The lines are shown as they were written, with the numbers of their sites. */
TEST_F_TIMEOUT(filter, read_back, 600)
{
	uint64_t start = symbol_address(CALLED), end = start;
	char line[80];
	long called;

	ASSERT_EQ(0, filter_replace("# a comment\n\ncallers=0 # without\n\t" CALLED "   # it\n"));
	called = filter_matched(CALLED);
	EXPECT_LT(0, called);
	EXPECT_EQ(called, statistic("sites_selected"));
	EXPECT_NE(NULL, strstr(filter_text(), "\ncallers=0\n"));
	while (!strcmp(symbol_at(end), CALLED))
		end++;
	/* The range of the function has the same sites. The end does not belong to it. */
	snprintf(line, sizeof(line), "%s\n", filter_range(start, end));
	ASSERT_EQ(0, filter_replace("callers=0\n"));
	ASSERT_EQ(0, filter_append(line));
	EXPECT_EQ(called, filter_matched(filter_range(start, end)));
	EXPECT_EQ(called, statistic("sites_selected"));
	EXPECT_COUNTS(false, true, false);
	ASSERT_EQ(0, filter_append("!find_task_by_vpi?\nfind_task_by_vpi[a-d]\n"));
	EXPECT_EQ(called, filter_matched("!find_task_by_vpi?"));
	EXPECT_EQ(called, filter_matched("find_task_by_vpi[a-d]"));
	EXPECT_COUNTS(false, true, false);
	/* The text of a read can be written. */
	ASSERT_EQ(0, filter_replace(filter_text()));
	EXPECT_EQ(called, filter_matched("find_task_by_vpi[a-d]"));
	EXPECT_EQ(called, statistic("sites_selected"));
}

/* A range that has the first byte of a site has the site. */
TEST_F_TIMEOUT(filter, one_site, 600)
{
	uint64_t pc, start, records, i, found = 0;

	ASSERT_LT(0, record(self));
	pc = self->area[1];
	start = pc - CALL_SIZE;
	ASSERT_EQ(0, filter_replace("callers=0\n"));
	ASSERT_EQ(0, filter_append(filter_range(start, start + 1)));
	EXPECT_EQ(1, filter_matched(filter_range(start, start + 1)));
	EXPECT_EQ(1, statistic("sites_selected"));
	records = record(self);
	for (i = 1; i <= records; i++)
		found += self->area[i] == pc;
	EXPECT_EQ(1, found);
	if (!has_jumps())
		EXPECT_EQ(1, records);
	EXPECT_COMPLETE();
}

/* The code of a site that is not selected is a NOP while a buffer exists. */
TEST_F_TIMEOUT(filter, code, 600)
{
	unsigned char code[CALL_SIZE];
	uint64_t i, records, selected = 0;

	if (text_missing())
		SKIP(return, "%s", text_missing());
	records = record(self);
	ASSERT_LT(0, records);
	ASSERT_EQ(0, filter_replace("callers=0\n" CALLED "\n"));
	for (i = 1; i <= records; i++) {
		ASSERT_TRUE(text_read(self->area[i] - CALL_SIZE, code, CALL_SIZE));
		selected += is_called(self->area[i]);
		/* The PC of a jump is behind the call of the function that has it. */
		if (!is_called(self->area[i]) && has_jumps())
			continue;
		EXPECT_EQ(is_called(self->area[i]), !!memcmp(code, nop, CALL_SIZE))
			TH_LOG("%s: %#x", symbol_at(self->area[i] - 1), code[0]);
	}
	EXPECT_LT(0, selected);
}

/* Lines are in force when the file is closed. A write may end in the middle of a line. */
TEST_F_TIMEOUT(filter, when_closed, 600)
{
	uint64_t sites = statistic("sites_selected");
	int fd = filter_open(O_TRUNC);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, filter_write(fd, "callers=0\nfind_task"));
	EXPECT_EQ(0, filter_write(fd, "_by_vpid\n*sys_getsi"));
	EXPECT_EQ(0, filter_write(fd, "d*"));
	EXPECT_EQ(sites, statistic("sites_selected"));
	EXPECT_COUNTS(true, true, false);
	close(fd);
	EXPECT_COUNTS(false, true, false);
	EXPECT_LT(0, filter_matched(CALLED));
	EXPECT_LT(0, filter_matched(OTHER));
	/* An error of the last line comes too late for write(). */
	EXPECT_EQ(0, filter_append("no_such_function"));
	EXPECT_NE(NULL, strstr(filter_text(), "# refused: \"no_such_function\""));
	EXPECT_EQ(-1, filter_matched("no_such_function"));
	EXPECT_LT(0, filter_matched(CALLED));
}

static long replace(void *text)
{
	return filter_replace(text);
}

/* A change is complete for a task that records when the file is closed. */
TEST_F_TIMEOUT(filter, while_collecting, 600)
{
	struct worker worker;
	int i;

	ASSERT_EQ(0, worker_start(&worker));
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, worker_run(&worker, replace, "callers=0\n" OTHER "\n"));
		cover_reset(self->area);
		call();
		EXPECT_EQ(0, cover_count(self->area));
		mark_two();
		EXPECT_LT(0, cover_count(self->area));
		EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
		EXPECT_EQ(0, worker_run(&worker, replace, START));
		cover_reset(self->area);
		call();
		EXPECT_TRUE(covers(self->area, CALLED));
	}
	EXPECT_EQ(0, kcov_disable(self->fd));
	worker_end(&worker);
}

/* Without a buffer, a change is complete, too, and the next buffer has only what is selected. */
TEST_F_TIMEOUT(filter, without_buffer, 600)
{
	kcov_unmap(self->area, COVER_WORDS);
	close(self->fd);
	ASSERT_EQ(0, filter_replace("callers=0\n" CALLED "\n"));
	EXPECT_GE(statistic("sites_selected"), statistic("sites_on"));
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	EXPECT_COUNTS(false, true, false);
	EXPECT_COMPLETE();
}

/* Waits until the number of selected sites, or of calls, is @number. */
static bool wait_for(const char *name, uint64_t number)
{
	int i;

	for (i = 0; i < PATIENCE_MS / 10 && statistic(name) != number; i++)
		usleep(10000);
	return statistic(name) == number;
}

/* The rest of a change that is cut off by a signal is done later. */
TEST_F_TIMEOUT(filter, killed, 600)
{
	uint64_t sites = statistic("sites");
	int attempts, status = 0;
	pid_t child;

	for (attempts = 0; attempts < ATTEMPTS && !WIFSIGNALED(status); attempts++) {
		ASSERT_EQ(0, filter_replace(START));
		child = fork();
		ASSERT_LE(0, child);
		if (!child)
			exit(filter_replace(""));
		/* From then on, the child only changes code. */
		EXPECT_TRUE(wait_for("sites_selected", sites));
		kill(child, SIGKILL);
		status = exit_status(child);
	}
	ASSERT_TRUE(WIFSIGNALED(status)) TH_LOG("no change was cut off");
	EXPECT_TRUE(wait_for("sites_on", sites)) TH_LOG("%lu", statistic("sites_on"));
	EXPECT_COUNTS(true, true, true);
}

/* Loads the module and records that; returns the number of records outside the image, or -1. */
static long load_module(FIXTURE_DATA(filter) *self, uint64_t *in_image)
{
	int ret, file = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);
	uint64_t i, records;
	long outside = 0;

	if (syscall(SYS_delete_module, MODULE, 0) || kcov_enable(self->fd, KCOV_TRACE_PC))
		return -1;
	cover_reset(self->area);
	ret = syscall(SYS_finit_module, file, "", 0);
	kcov_disable(self->fd);
	close(file);
	records = cover_count(self->area);
	for (i = 1; i <= records; i++)
		outside += !in_kernel_text(self->area[i]);
	*in_image = records - outside;
	return ret ? -1 : outside;
}

/* Modules that are loaded later are filtered before they run. */
TEST_F_TIMEOUT(filter, module, 600)
{
	uint64_t in_image, selected;

	if (!module_loaded(MODULE) || access(MODULE_FILE, R_OK))
		SKIP(return, "no module " MODULE_FILE " (CONFIG_SAMPLE_KCOV_RUST_MODULE)");
	ASSERT_EQ(0, filter_replace("callers=0\n" CALLED "\n"));
	selected = statistic("sites_selected");
	EXPECT_EQ(0, load_module(self, &in_image));
	EXPECT_EQ(selected, statistic("sites_selected"));
	EXPECT_COMPLETE();

	/* The module need not be loaded, but if it is, some function has to match. */
	EXPECT_EQ(-ENOENT, filter_replace("no_such_function:mod:" MODULE "\n"));
	EXPECT_EQ(0, filter_replace("callers=0\n*:mod:no_such_module\n"));
	EXPECT_EQ(0, filter_matched("*:mod:no_such_module"));
	EXPECT_EQ(0, statistic("sites_selected"));
	ASSERT_EQ(0, filter_replace("callers=0\n:mod:" MODULE "\n"));
	EXPECT_LT(0, filter_matched(":mod:" MODULE));
	EXPECT_LT(0, load_module(self, &in_image));
	if (!has_jumps())
		EXPECT_EQ(0, in_image);
	EXPECT_LT(0, filter_matched(":mod:" MODULE));
	EXPECT_COMPLETE();
}

TEST_F(filter, permissions)
{
	struct stat status;

	ASSERT_EQ(0, stat(FILTER_FILE, &status));
	EXPECT_EQ(0600, status.st_mode & 0777);
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
