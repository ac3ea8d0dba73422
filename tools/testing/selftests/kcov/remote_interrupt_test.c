// SPDX-License-Identifier: GPL-2.0
/*
 * Hard interrupts that come while a section of a softirq runs, and that start and
 * stop sections themselves: they record nothing, and the softirq's section goes on.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../../../samples/kcov/kcov_sample.h"
#include "kselftest_harness.h"
#include "kcov.h"
#include "symbols.h"

#define DEVICE		"/dev/kcov-sample"
#define HARD_FUNCTION	"kcov_sample_hard_code"
/* 100,000 interrupts, in sections that are short enough for slow machines. */
#define SECTIONS	100
#define TIMES		1000

FIXTURE(interrupt) {
	struct kcov_sample_handles handles;
	uint64_t *softirq, *hard;
	int device, softirq_fd, hard_fd, log;
	struct worker worker;
};

FIXTURE_SETUP(interrupt)
{
	const char *missing = symbols_missing();

	if (access(DEVICE, R_OK | W_OK))
		SKIP(return, "no " DEVICE " (CONFIG_SAMPLE_KCOV_MODULE)");
	if (missing)
		SKIP(return, "%s", missing);
	if (kernel_option("CONFIG_HIGH_RES_TIMERS") == OPTION_NO)
		SKIP(return, "timers are not exact enough (CONFIG_HIGH_RES_TIMERS)");
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = open(DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, ioctl(self->device, KCOV_SAMPLE_HANDLES, &self->handles));
	ASSERT_EQ(0, worker_start(&self->worker));
	self->softirq_fd = kcov_open_mapped(COVER_WORDS, &self->softirq);
	self->hard_fd = kcov_open_mapped(COVER_WORDS, &self->hard);
	ASSERT_LE(0, self->softirq_fd);
	ASSERT_LE(0, self->hard_fd);
}

FIXTURE_TEARDOWN(interrupt)
{
	char line[256];

	worker_end(&self->worker);
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line))) TH_LOG("%s", line);
	close(self->device);
}

TEST_F_TIMEOUT(interrupt, over_a_section_of_a_softirq, 300)
{
	struct kcov_remote_arg *arg = calloc(1, sizeof(*arg) + sizeof(uint64_t));
	int i;

	ASSERT_NE(NULL, arg);
	arg->trace_mode = KCOV_TRACE_PC;
	arg->area_size = COVER_WORDS;
	arg->num_handles = 1;
	arg->handles[0] = self->handles.worker;
	ASSERT_EQ(0, kcov_remote_enable(self->softirq_fd, KCOV_TRACE_PC, COVER_WORDS, 0,
					self->handles.softirq));
	ASSERT_EQ(0, worker_ioctl(&self->worker, self->hard_fd, KCOV_REMOTE_ENABLE,
				  (unsigned long)arg));
	free(arg);
	for (i = 0; i < SECTIONS; i++) {
		cover_reset(self->softirq);
		ASSERT_EQ(TIMES, ioctl(self->device, KCOV_SAMPLE_HARD_TIMER, TIMES));
		ASSERT_TRUE(covers(self->softirq, "kcov_sample_softirq_code"));
		ASSERT_TRUE(covers(self->softirq, "kcov_sample_after_code"));
		ASSERT_FALSE(covers(self->softirq, HARD_FUNCTION));
		ASSERT_EQ(0, cover_count(self->hard));
	}
	close(self->softirq_fd);
	close(self->hard_fd);
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
