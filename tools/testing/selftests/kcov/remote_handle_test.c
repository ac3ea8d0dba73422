// SPDX-License-Identifier: GPL-2.0
/*
 * Sections that are started with an invalid handle: nothing is recorded for them, and their stop
 * ends nothing else.
 */
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "sample.h"
#include "symbols.h"

#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e600001)
#define MALFORMED	12

FIXTURE(handle) {
	struct kcov_sample_handles handles;
	uint64_t malformed[MALFORMED];
	struct trace trace;
	int device;
	int log;
};

FIXTURE_VARIANT(handle) {
	uint32_t context;
	/* The number of times that a good section is recorded. */
	uint64_t recorded;
};

FIXTURE_VARIANT_ADD(handle, task) {
	.context = KCOV_SAMPLE_PREEMPTIBLE,
	.recorded = 1,
};

FIXTURE_VARIANT_ADD(handle, bh_disabled) {
	.context = KCOV_SAMPLE_BH_DISABLED,
	.recorded = 1,
};

FIXTURE_VARIANT_ADD(handle, softirq) {
	.context = KCOV_SAMPLE_IN_SOFTIRQ,
	.recorded = 1,
};

FIXTURE_VARIANT_ADD(handle, hard_interrupt) {
	.context = KCOV_SAMPLE_IN_HARD_INTERRUPT,
};

FIXTURE_SETUP(handle)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	/* An earlier test may have used up the warning. */
	ASSERT_EQ(0, warn_again());
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
	ASSERT_LE(0, trace_open(&self->trace));
	ASSERT_EQ(0, trace_collect(&self->trace, KCOV_TRACE_PC, COVER_WORDS, HANDLE,
				   self->handles.worker));

	{
		const uint64_t global = self->handles.worker;
		const uint64_t malformed[MALFORMED] = {
			/* Parts of these equal a handle that is collected. */
			global | 1ULL << 32, global | 1ULL << 55, global | 0xffffffULL << 32,
			global ^ 3ULL << 56, global | 0xffULL << 56, global | 1ULL << 63,
			HANDLE | 1ULL << 32, HANDLE | 1ULL << 55, HANDLE | 2ULL << 56,
			/* These resemble no valid handle. */
			1ULL << 32, 2ULL << 56, ~0ULL,
		};

		memcpy(self->malformed, malformed, sizeof(malformed));
	}
}

FIXTURE_TEARDOWN(handle)
{
	EXPECT_EQ(0, warn_again());
	close(self->log);
	close(self->device);
	trace_close(&self->trace);
}

/*
 * Runs a section of @handle; returns the number of times that its code was recorded, or ~0 if more
 * than that was recorded.
 */
static uint64_t alone(FIXTURE_DATA(handle) *self, uint32_t context, uint64_t handle)
{
	const struct kcov_sample_pair pair = {
		.inner = handle, .context = context, .flags = KCOV_SAMPLE_INNER,
	};

	trace_clear(&self->trace);
	if (sample_pair(self->device, &pair) != 1 ||
	    trace_times(&self->trace, BEFORE_FUNCTION) ||
	    trace_times(&self->trace, AFTER_FUNCTION) ||
	    trace_times(&self->trace, OUTSIDE_FUNCTION))
		return ~0ULL;
	return trace_times(&self->trace, INNER_FUNCTION);
}

TEST_F(handle, nothing_is_recorded)
{
	size_t i;

	ASSERT_EQ(variant->recorded, alone(self, variant->context, self->handles.worker));
	ASSERT_EQ(variant->recorded, alone(self, variant->context, HANDLE));
	/*
	 * This is not a handle, but it is not malformed either: it stands for work without a user.
	 */
	EXPECT_EQ(0, alone(self, variant->context, 0));
	EXPECT_EQ(0, trace_count(&self->trace));
	EXPECT_EQ(0, kmsg_count(self->log, "WARNING:"));
	for (i = 0; i < MALFORMED; i++) {
		EXPECT_EQ(0, alone(self, variant->context, self->malformed[i]))
			TH_LOG("handle %#lx", self->malformed[i]);
		EXPECT_EQ(0, trace_count(&self->trace));
		EXPECT_EQ(variant->recorded,
			  alone(self, variant->context, self->handles.worker));
	}
	/* The implementation in Rust warns of the first malformed handle, the one in C of each. */
	EXPECT_EQ(statistics_missing() ? MALFORMED : 1, kmsg_count(self->log, "WARNING:"));
	ASSERT_EQ(0, kcov_disable(self->trace.fd));
	if (!statistics_missing()) {
		EXPECT_EQ(0, fdinfo(self->trace.fd, "kcov-lost-sections"));
	}
}

/* The outer section goes on inside and after the inner one, and ends with its own stop. */
TEST_F(handle, inside_another_section)
{
	struct kcov_sample_pair pair = {
		.outer = self->handles.worker,
		.context = variant->context,
		.flags = KCOV_SAMPLE_OUTER | KCOV_SAMPLE_INNER,
	};
	size_t i;

	if (statistics_missing())
		SKIP(return, "this implementation warns about it, and ends the outer section");
	for (i = 0; i <= MALFORMED; i++) {
		pair.inner = i < MALFORMED ? self->malformed[i] : 0;
		trace_clear(&self->trace);
		ASSERT_EQ(1, sample_pair(self->device, &pair));
		EXPECT_EQ(variant->recorded, trace_times(&self->trace, BEFORE_FUNCTION))
			TH_LOG("handle %#llx", pair.inner);
		EXPECT_EQ(variant->recorded, trace_times(&self->trace, INNER_FUNCTION));
		EXPECT_EQ(variant->recorded, trace_times(&self->trace, AFTER_FUNCTION));
		EXPECT_EQ(0, trace_times(&self->trace, OUTSIDE_FUNCTION));
	}
	EXPECT_EQ(1, kmsg_count(self->log, "WARNING:"));
	EXPECT_EQ(variant->recorded, alone(self, variant->context, self->handles.worker));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
