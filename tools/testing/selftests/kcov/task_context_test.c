// SPDX-License-Identifier: GPL-2.0
/*
 * The effects of the context in which a task's code or an interrupt on top of it runs: whether it
 * is recorded for the task, and whether kcov_common_handle() returns the task's handle.
 */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "sample.h"
#include "symbols.h"

#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e610001)
#define OTHER_HANDLE	(KCOV_SUBSYSTEM_COMMON | 0x7e610002)
#define WORK_FUNCTION	"kcov_sample_work_code"
/* The number of times that an interrupt may hit another thread. */
#define ATTEMPTS	1000

FIXTURE(context) {
	struct trace trace;
	int device;
};

FIXTURE_VARIANT(context) {
	uint32_t context;
	/* The code is recorded for the task. */
	bool task;
};

#define CONTEXT(name, ...) FIXTURE_VARIANT_ADD(context, name) { __VA_ARGS__ }

CONTEXT(preemptible, KCOV_SAMPLE_PREEMPTIBLE, true);
CONTEXT(bh_disabled, KCOV_SAMPLE_BH_DISABLED, true);
CONTEXT(preempt_disabled, KCOV_SAMPLE_PREEMPT_DISABLED, true);
CONTEXT(irqs_disabled, KCOV_SAMPLE_IRQS_DISABLED, true);
CONTEXT(rcu_read, KCOV_SAMPLE_RCU_READ, true);
CONTEXT(softirq, KCOV_SAMPLE_IN_SOFTIRQ, false);
CONTEXT(hard_interrupt, KCOV_SAMPLE_IN_HARD_INTERRUPT, false);

FIXTURE_SETUP(context)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	self->device = open(SAMPLE_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->device);
	ASSERT_LE(0, trace_open(&self->trace));
}

FIXTURE_TEARDOWN(context)
{
	close(self->device);
	trace_close(&self->trace);
}

/* Returns whether the code ran in the context, in the calling thread or on top of it. */
static bool run_code(int device, uint32_t context)
{
	long ret = 0;
	int i;

	for (i = 0; i < ATTEMPTS && !ret; i++)
		ret = kcov_ioctl(device, KCOV_SAMPLE_CODE, context);
	return ret == 1;
}

TEST_F(context, code_is_recorded)
{
	uint32_t mode;

	for (mode = 0; mode < MODES; mode++) {
		if (mode_missing(mode))
			continue;
		ASSERT_EQ(0, trace_enable(&self->trace, mode));
		ASSERT_TRUE(run_code(self->device, variant->context));
		ASSERT_TRUE(run_code(self->device, KCOV_SAMPLE_PREEMPTIBLE));
		ASSERT_EQ(0, kcov_disable(self->trace.fd));
		/*
		 * The second run, in task context, is always recorded; the third mode records it
		 * once at most.
		 */
		EXPECT_EQ(mode == KCOV_TRACE_UNIQUE_PC ? 1 : 1 + variant->task,
			  trace_times(&self->trace, INNER_FUNCTION))
			TH_LOG("mode %s", mode_name(mode));
		ASSERT_EQ(0, trace_enable(&self->trace, mode));
		ASSERT_TRUE(run_code(self->device, variant->context));
		ASSERT_EQ(0, kcov_disable(self->trace.fd));
		EXPECT_EQ(variant->task, trace_times(&self->trace, INNER_FUNCTION))
			TH_LOG("mode %s", mode_name(mode));
	}
}

/* Returns the result of kcov_common_handle() in the context, or ~0. */
static uint64_t common_handle(int device, uint32_t context)
{
	struct kcov_sample_common common = { .context = context };
	long ret = 0;
	int i;

	for (i = 0; i < ATTEMPTS && !ret; i++) {
		common.handle = ~0ULL;
		ret = kcov_ioctl(device, KCOV_SAMPLE_COMMON_HANDLE, (unsigned long)&common);
	}
	return ret == 1 ? common.handle : ~0ULL;
}

TEST_F(context, common_handle)
{
	const uint64_t expected = variant->task ? HANDLE : 0;

	EXPECT_EQ(0, common_handle(self->device, variant->context));
	ASSERT_EQ(0, trace_collect(&self->trace, KCOV_TRACE_PC, COVER_WORDS, HANDLE, 0));
	EXPECT_EQ(expected, common_handle(self->device, variant->context));
	EXPECT_EQ(HANDLE, common_handle(self->device, KCOV_SAMPLE_PREEMPTIBLE));
	ASSERT_EQ(0, kcov_disable(self->trace.fd));
	EXPECT_EQ(0, common_handle(self->device, variant->context));
}

FIXTURE(common) {
	struct trace trace;
	struct trace other;
	struct worker worker;	/* has enabled @other */
	int device;
};

FIXTURE_SETUP(common)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	self->device = open(SAMPLE_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->device);
	ASSERT_LE(0, trace_open(&self->trace));
	ASSERT_LE(0, trace_open(&self->other));
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(common)
{
	worker_end(&self->worker);
	close(self->device);
	trace_close(&self->other);
	trace_close(&self->trace);
}

static long collect_other(void *data)
{
	return trace_collect(data, KCOV_TRACE_PC, COVER_WORDS, HANDLE, 0);
}

/*
 * Returns the number of times that the work of a system call of this thread is recorded in a trace.
 */
static uint64_t work_in(FIXTURE_DATA(common) *self, struct trace *trace)
{
	trace_clear(trace);
	if (kcov_ioctl(self->device, KCOV_SAMPLE_WORK, 0))
		return ~0ULL;
	return trace_times(trace, WORK_FUNCTION);
}

/*
 * After a disable the task has no handle: if another task collects by it later, it does not collect
 * the work of this task.
 */
TEST_F(common, gone_after_a_disable)
{
	pid_t child;

	ASSERT_EQ(0, trace_collect(&self->trace, KCOV_TRACE_PC, COVER_WORDS, HANDLE, 0));
	EXPECT_EQ(1, work_in(self, &self->trace));
	ASSERT_EQ(0, kcov_disable(self->trace.fd));
	EXPECT_EQ(0, common_handle(self->device, KCOV_SAMPLE_PREEMPTIBLE));
	EXPECT_EQ(0, work_in(self, &self->trace));

	ASSERT_EQ(0, worker_run(&self->worker, collect_other, &self->other));
	EXPECT_EQ(0, work_in(self, &self->other));
	EXPECT_EQ(0, trace_count(&self->other));
	/* Children that are made later do not inherit it either. */
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(common_handle(self->device, KCOV_SAMPLE_PREEMPTIBLE) ||
		      work_in(self, &self->other));
	EXPECT_EQ(0, exit_status(child));
	ASSERT_EQ(0, worker_ioctl(&self->worker, self->other.fd, KCOV_DISABLE, 0));
	/* With a handle of its own, the task is collected again. */
	ASSERT_EQ(0, trace_collect(&self->trace, KCOV_TRACE_PC, COVER_WORDS, OTHER_HANDLE, 0));
	EXPECT_EQ(OTHER_HANDLE, common_handle(self->device, KCOV_SAMPLE_PREEMPTIBLE));
	EXPECT_EQ(1, work_in(self, &self->trace));
}

/* A disable that fails, and one of another descriptor, do not change the handle. */
TEST_F(common, there_after_another_disable)
{
	ASSERT_EQ(0, trace_collect(&self->trace, KCOV_TRACE_PC, COVER_WORDS, HANDLE, 0));
	EXPECT_EQ(-EINVAL, kcov_ioctl(self->trace.fd, KCOV_DISABLE, 1));
	EXPECT_EQ(-EINVAL, kcov_disable(self->other.fd));
	EXPECT_EQ(-EINVAL, worker_ioctl(&self->worker, self->trace.fd, KCOV_DISABLE, 0));
	EXPECT_EQ(HANDLE, common_handle(self->device, KCOV_SAMPLE_PREEMPTIBLE));
	ASSERT_EQ(0, trace_enable(&self->other, KCOV_TRACE_PC));
	EXPECT_EQ(HANDLE, common_handle(self->device, KCOV_SAMPLE_PREEMPTIBLE));
	ASSERT_EQ(0, kcov_disable(self->other.fd));
	EXPECT_EQ(HANDLE, common_handle(self->device, KCOV_SAMPLE_PREEMPTIBLE));
	EXPECT_EQ(1, work_in(self, &self->trace));
	ASSERT_EQ(0, kcov_disable(self->trace.fd));
	EXPECT_EQ(0, common_handle(self->device, KCOV_SAMPLE_PREEMPTIBLE));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
