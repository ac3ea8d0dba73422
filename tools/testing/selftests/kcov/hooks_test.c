// SPDX-License-Identifier: GPL-2.0
/*
 * The first buffer of the system switches the hooks on, and after the last one they are switched
 * off. Checked with the code of the hooks, and with the state that the kernel reports.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "realtime.h"
#include "symbols.h"

#define STATISTICS	"/sys/kernel/debug/kcov_statistics/"
/* The kernel waits a second before it switches the hooks off. */
#define PATIENCE_MS	20000
/* Enough bytes of a hook for its entry and a jump label after it. */
#define CODE		32

static const char * const hooks[] = {
	"__sanitizer_cov_trace_pc",
	"__sanitizer_cov_trace_cmp1",
	"__sanitizer_cov_trace_cmp2",
	"__sanitizer_cov_trace_cmp4",
	"__sanitizer_cov_trace_cmp8",
	"__sanitizer_cov_trace_const_cmp1",
	"__sanitizer_cov_trace_const_cmp2",
	"__sanitizer_cov_trace_const_cmp4",
	"__sanitizer_cov_trace_const_cmp8",
	"__sanitizer_cov_trace_switch",
};

#define HOOKS	ARRAY_SIZE(hooks)

static char *hooks_state(void)
{
	static char state[16];
	FILE *file = fopen(STATISTICS "hooks", "r");

	state[0] = 0;
	if (file) {
		if (fscanf(file, "%15s", state) != 1)
			state[0] = 0;
		fclose(file);
	}
	return state;
}

static bool is_state(const char *state)
{
	return !strcmp(hooks_state(), state);
}

static bool becomes(const char *state)
{
	int i;

	for (i = 0; i < PATIENCE_MS / 10 && !is_state(state); i++)
		usleep(10000);
	return is_state(state);
}

static bool switches_are_requested(void)
{
	return on_command_line("kcov_hooks=switched") || on_command_line("kcov_hooks=sites");
}

static const char *switches_missing(void)
{
	if (!hooks_state()[0])
		return "the hooks of this kernel are never switched (CONFIG_KCOV_C)";
	if (is_state("always") && !switches_are_requested())
		return "the hooks of this kernel stay switched on (kcov_hooks=)";
	if (is_state("always") && kernel_option("CONFIG_JUMP_LABEL") != OPTION_YES)
		return "the hooks of this kernel cannot be switched (no CONFIG_JUMP_LABEL)";
	return NULL;
}

/* The state of the hooks is the one that the boot parameter requests. */
TEST(command_line)
{
	if (!hooks_state()[0])
		SKIP(return, "the hooks of this kernel are never switched (CONFIG_KCOV_C)");
	if (on_command_line("kcov_hooks=always")) {
		EXPECT_STREQ("always", hooks_state());
	} else if (switches_are_requested() &&
		   kernel_option("CONFIG_JUMP_LABEL") == OPTION_YES) {
		EXPECT_TRUE(becomes("off")) TH_LOG("they are %s", hooks_state());
	} else {
		EXPECT_LT(0, strlen(hooks_state()));
	}
}

FIXTURE(switched)
{
	uint64_t before;
};

FIXTURE_SETUP(switched)
{
	const char *missing = switches_missing();

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_TRUE(becomes("off")) TH_LOG("they are %s", hooks_state());
	self->before = statistic("hook_switches");
}

FIXTURE_TEARDOWN(switched)
{
	limit_realtime();
}

TEST_F(switched, first_and_last_buffer)
{
	int first = kcov_open(), second = kcov_open();

	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	EXPECT_TRUE(is_state("off"));
	ASSERT_EQ(0, kcov_init(first, 512));
	EXPECT_STREQ("on", hooks_state());
	ASSERT_EQ(0, kcov_init(second, 512));
	close(first);
	sleep(2);
	EXPECT_STREQ("on", hooks_state());
	EXPECT_EQ(self->before + 1, statistic("hook_switches"));
	close(second);
	EXPECT_TRUE(becomes("off"));
	EXPECT_EQ(self->before + 2, statistic("hook_switches"));
}

/* Fuzzers close one buffer and set up the next one at once. */
TEST_F(switched, not_between_buffers)
{
	int i, fd;

	for (i = 0; i < 50; i++) {
		fd = kcov_open();
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, kcov_init(fd, 512));
		close(fd);
	}
	EXPECT_EQ(self->before + 1, statistic("hook_switches"));
}

static bool read_hooks(unsigned char code[HOOKS][CODE])
{
	size_t i;

	for (i = 0; i < HOOKS; i++) {
		uint64_t address = symbol_address(hooks[i]);

		if (address && !text_read(address, code[i], CODE))
			return false;
	}
	return true;
}

TEST_F(switched, code_of_all_hooks)
{
	static unsigned char off[HOOKS][CODE], on[HOOKS][CODE], again[HOOKS][CODE];
	int fd;
	size_t i;

	if (text_missing())
		SKIP(return, "%s", text_missing());
	ASSERT_NE(0, symbol_address(hooks[0]));
	ASSERT_TRUE(read_hooks(off));
	fd = kcov_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kcov_init(fd, 512));
	ASSERT_TRUE(read_hooks(on));
	close(fd);
	ASSERT_TRUE(becomes("off"));
	ASSERT_TRUE(read_hooks(again));
	for (i = 0; i < HOOKS; i++) {
		if (!symbol_address(hooks[i])) {
			/* Only the hooks of comparisons may be configured out. */
			EXPECT_NE(OPTION_YES, kernel_option("CONFIG_KCOV_ENABLE_COMPARISONS"));
			continue;
		}
		EXPECT_NE(0, memcmp(off[i], on[i], CODE)) TH_LOG("%s", hooks[i]);
		EXPECT_EQ(0, memcmp(off[i], again[i], CODE)) TH_LOG("%s", hooks[i]);
	}
}

/*
 * Real-time tasks that never sleep keep the worker from running that switches the hooks. A task
 * that waits for it can be killed, and the next one does not wait for ever.
 */
static int wait_for_worker(void)
{
	int fd;

	be_realtime(0, 15);
	fd = kcov_open();
	return fd < 0 || kcov_init(fd, 512) ? 1 : 0;
}

TEST_F(switched, waiting_task_can_be_killed)
{
	pid_t spinners[CPU_SETSIZE], waiting;
	int status = 0, count, fd;

	ASSERT_EQ(0, unlimit_realtime());
	ASSERT_EQ(0, be_realtime(0, 20));
	count = start_spinners(0, 10, spinners, CPU_SETSIZE);
	ASSERT_LT(0, count);

	waiting = fork();
	if (!waiting)
		_exit(wait_for_worker());
	usleep(500000);
	EXPECT_EQ(0, waitpid(waiting, &status, WNOHANG)) TH_LOG("it did not wait");
	EXPECT_STREQ("off", hooks_state());
	kill(waiting, SIGKILL);
	usleep(500000);
	EXPECT_EQ(waiting, waitpid(waiting, &status, WNOHANG)) TH_LOG("it did not die");
	EXPECT_TRUE(WIFSIGNALED(status));

	EXPECT_TRUE(end_spinners(spinners, count));
	limit_realtime();

	fd = kcov_open();
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, kcov_init(fd, 512));
	EXPECT_STREQ("on", hooks_state());
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
