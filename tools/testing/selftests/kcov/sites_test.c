// SPDX-License-Identifier: GPL-2.0
/*
 * The calls of the hooks: they are in the running kernel while a buffer exists, and NOPs some time
 * after the last one. Checked with the running code, and with the numbers that the kernel reports.
 */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define CALL_SIZE	5
/* The kernel waits five seconds before it removes the calls. */
#define PATIENCE_MS	120000

static const unsigned char nop[CALL_SIZE] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };

static bool wait_for_calls(uint64_t number)
{
	int i;

	for (i = 0; i < PATIENCE_MS / 10 && statistic("sites_on") != number; i++)
		usleep(10000);
	return statistic("sites_on") == number;
}

TEST(numbers)
{
	if (kernel_option("CONFIG_KCOV_SITES") != OPTION_YES)
		SKIP(return, "the calls of this kernel are not known (no CONFIG_KCOV_SITES)");
	EXPECT_LT(1000, statistic("sites"));
	EXPECT_GE(statistic("sites"), statistic("sites_on"));
	/* Most functions that end with a call of a hook still return. */
	EXPECT_GT(statistic("sites") / 10, statistic("sites_jumps"));
}

FIXTURE(removed)
{
	uint64_t *area;
	int fd;
};

FIXTURE_SETUP(removed)
{
	if (kernel_option("CONFIG_KCOV_SITES") != OPTION_YES)
		SKIP(return, "the calls of this kernel are not known (no CONFIG_KCOV_SITES)");
	if (!on_command_line("kcov_hooks=sites"))
		SKIP(return, "the calls stay in this kernel (kcov_hooks=)");
	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	self->fd = -1;
	ASSERT_TRUE(wait_for_calls(0)) TH_LOG("%lu are left", statistic("sites_on"));
}

FIXTURE_TEARDOWN(removed)
{
	if (self->fd >= 0)
		close(self->fd);
}

/* Returns the number of records of a system call. */
static uint64_t record(FIXTURE_DATA(removed) *self)
{
	if (kcov_enable(self->fd, KCOV_TRACE_PC))
		return 0;
	cover_reset(self->area);
	syscall(SYS_getpriority, 0, 0);
	kcov_disable(self->fd);
	return cover_count(self->area);
}

/* Makes a buffer for a first record. */
static uint64_t trace(FIXTURE_DATA(removed) *self)
{
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	return self->fd < 0 ? 0 : record(self);
}

/* Does the same until two traces are equal. Another task may run during one of them. */
static uint64_t steady_trace(FIXTURE_DATA(removed) *self, uint64_t *pcs, uint64_t most)
{
	uint64_t before = 0, count = trace(self);
	int attempts;

	for (attempts = 0; attempts < 100 && count && count <= most; attempts++) {
		if (count == before && !memcmp(pcs, self->area + 1, count * sizeof(*pcs)))
			return count;
		before = count;
		memcpy(pcs, self->area + 1, count * sizeof(*pcs));
		count = record(self);
	}
	return 0;
}

static void forget(FIXTURE_DATA(removed) *self)
{
	kcov_unmap(self->area, COVER_WORDS);
	close(self->fd);
	self->fd = -1;
}

TEST_F_TIMEOUT(removed, code, 600)
{
	unsigned char code[CALL_SIZE];
	uint64_t pc, count;

	if (text_missing())
		SKIP(return, "%s", text_missing());
	count = trace(self);
	ASSERT_LT(0, count);
	EXPECT_EQ(statistic("sites"), statistic("sites_on"));
	pc = self->area[1];
	EXPECT_TRUE(called_before(pc, "__sanitizer_cov_trace_pc"));
	forget(self);

	ASSERT_TRUE(wait_for_calls(0)) TH_LOG("%lu are left", statistic("sites_on"));
	ASSERT_TRUE(text_read(pc - CALL_SIZE, code, CALL_SIZE));
	EXPECT_EQ(0, memcmp(code, nop, CALL_SIZE)) TH_LOG("%#x", code[0]);
}

TEST_F_TIMEOUT(removed, trace_is_the_same, 600)
{
	uint64_t first[256], second[256], count = steady_trace(self, first, ARRAY_SIZE(first));

	ASSERT_LT(0, count);
	forget(self);
	ASSERT_TRUE(wait_for_calls(0)) TH_LOG("%lu are left", statistic("sites_on"));
	ASSERT_EQ(count, steady_trace(self, second, ARRAY_SIZE(second)));
	EXPECT_EQ(0, memcmp(first, second, count * sizeof(*first)));
}

/* A buffer that is made while the calls are being removed gets all of them. */
TEST_F_TIMEOUT(removed, made_during_the_removal, 600)
{
	uint64_t on, sites = statistic("sites");
	int fd, attempts;

	for (attempts = 0; attempts < 5; attempts++) {
		fd = kcov_open();
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, kcov_init(fd, 512));
		close(fd);
		do
			on = statistic("sites_on");
		while (on == sites);
		if (on)
			break;
	}
	ASSERT_NE(0, on) TH_LOG("the removal was never seen");
	ASSERT_LT(0, trace(self));
	EXPECT_EQ(sites, statistic("sites_on"));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
