// SPDX-License-Identifier: GPL-2.0
/*
 * Many nested sections, of which every second one runs other code than the rest: each stop ends the
 * section that was started last.
 */
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "sample.h"
#include "symbols.h"

#define LOST		"kcov-lost-sections"
#define DEPTH		1000
#define WORKER_FUNCTION	"kcov_sample_worker_code"

FIXTURE(order) {
	struct kcov_sample_handles handles;
	uint64_t *area;
	int device;
	int fd;
	int log;
};

FIXTURE_VARIANT(order) {
	uint32_t context;
	/*
	 * If no section is lost, the area must hold the code of one section, otherwise the code of
	 * many.
	 */
	uint32_t area_size;
};

FIXTURE_VARIANT_ADD(order, task) {
	.context = KCOV_SAMPLE_PREEMPTIBLE,
	.area_size = 128,
};

FIXTURE_VARIANT_ADD(order, softirq) {
	.context = KCOV_SAMPLE_IN_SOFTIRQ,
	.area_size = COVER_WORDS,
};

FIXTURE_SETUP(order)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	if (statistics_missing())
		SKIP(return, "this implementation warns about a section in a section");
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(order)
{
	char line[256];

	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	close(self->fd);
	close(self->device);
}

/*
 * Returns the function that contains @pc, among those that sections of KCOV_SAMPLE_ALTERNATING run.
 */
static int section_function(uint64_t pc)
{
	static const char * const names[] = {
		/* After the start and before the stop of the first section and every second one. */
		INNER_FUNCTION, AFTER_FUNCTION,
		/* The same for the others. */
		BEFORE_FUNCTION, WORKER_FUNCTION,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (covers((uint64_t[]){ 1, pc }, names[i]))
			return i;
	return -1;
}

/*
 * Returns the length of the part of a trace that matches @depth nested sections, of which the
 * innermost ends first: each piece of code is where its section puts it. The innermost @lost
 * sections were not recorded, and their code belongs to the enclosing one.
 */
static uint64_t in_order(const uint64_t *area, unsigned long depth, unsigned long lost)
{
	uint64_t i, entries[4] = { 0 }, found = 0, total = 2 * depth;
	long recorded = depth - lost;

	for (i = 1; i <= cover_count(area); i++) {
		int function = section_function(area[i]);
		uint64_t starts = lost + 1, expected;

		/* The first record of a function is that of its entry. */
		if (function < 0 || (entries[function] && entries[function] != area[i]))
			continue;
		entries[function] = area[i];
		if (found < starts) {
			/* The innermost recorded section, with the code of the lost ones. */
			expected = recorded - 1 + found;
			if (function != (expected & 1 ? 2 : 0))
				break;
		} else if (found < 2 * starts) {
			expected = depth - 1 - (found - starts);
			if (function != (expected & 1 ? 3 : 1))
				break;
		} else {
			expected = recorded - 2 - (found - 2 * starts) / 2;
			if (function != (expected & 1 ? 2 : 0) + (int)(found & 1))
				break;
		}
		found++;
	}
	return i > cover_count(area) && found == total ? total : found;
}

TEST_F_TIMEOUT(order, last_started_first_stopped, 120)
{
	const struct kcov_sample_sections sections = { variant->context, DEPTH };
	uint64_t lost;

	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, variant->area_size, 0,
					self->handles.worker));
	ASSERT_EQ(0, kcov_ioctl(self->device, KCOV_SAMPLE_ALTERNATING, (unsigned long)&sections));
	ASSERT_EQ(0, kcov_disable(self->fd));
	lost = fdinfo(self->fd, LOST);
	/* A section is lost if it finds no area and cannot allocate one. */
	ASSERT_GT(DEPTH, lost);
	if (variant->context == KCOV_SAMPLE_PREEMPTIBLE) {
		EXPECT_EQ(0, lost);
	}
	EXPECT_EQ(2 * DEPTH, in_order(self->area, DEPTH, lost))
		TH_LOG("%lu sections were lost", lost);
	EXPECT_FALSE(covers(self->area, OUTSIDE_FUNCTION));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
