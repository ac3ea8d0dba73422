// SPDX-License-Identifier: GPL-2.0
/*
 * Sections that a task starts where it must not sleep, as mac80211 does with softirqs disabled.
 * They cannot allocate an area. Enabling a descriptor prepares one. A section that finds none is
 * lost, and causes an area to be added for later sections.
 *
 * A kernel with CONFIG_DEBUG_ATOMIC_SLEEP reports a start or a stop that sleeps.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kcov_sample.h"
#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define DEVICE		"/dev/kcov-sample"
#define WORDS		(512UL << 10)
/* More than the areas of other tests have. */
#define FIRST_AREA	(128U << 10)
#define AREA_STEP	(4U << 10)
/* More nested sections than areas of a size that is new. */
#define DEPTH		16

#define INNER_FUNCTION	"kcov_sample_inner_code"
#define AFTER_FUNCTION	"kcov_sample_after_code"
#define OUTSIDE_FUNCTION "kcov_sample_outside_code"

/*
 * The number of tests so far. Each requests larger areas than the previous one, so areas that are
 * left from another test are too small for it.
 */
static uint32_t *tests;

FIXTURE(atomic) {
	struct kcov_sample_handles handles;
	uint64_t *area;
	uint32_t area_size;
	int device;
	int fd;
	int log;
};

FIXTURE_VARIANT(atomic) {
	uint32_t context;
	/* A kernel without CONFIG_PREEMPT_COUNT does not know that it must not sleep. */
	bool hidden;
	/* With CONFIG_PREEMPT_RT, spin locks sleep: a section must not stop here. */
	bool no_locks;
};

FIXTURE_VARIANT_ADD(atomic, bh_disabled) {
	.context = KCOV_SAMPLE_BH_DISABLED,
};

FIXTURE_VARIANT_ADD(atomic, preempt_disabled) {
	.context = KCOV_SAMPLE_PREEMPT_DISABLED,
	.hidden = true,
	.no_locks = true,
};

FIXTURE_VARIANT_ADD(atomic, irqs_disabled) {
	.context = KCOV_SAMPLE_IRQS_DISABLED,
	.no_locks = true,
};

FIXTURE_VARIANT_ADD(atomic, rcu_read) {
	.context = KCOV_SAMPLE_RCU_READ,
	.hidden = true,
};

FIXTURE_SETUP(atomic)
{
	if (access(DEVICE, R_OK | W_OK))
		SKIP(return, "no " DEVICE " (CONFIG_SAMPLE_KCOV_MODULE)");
	if (symbols_missing())
		SKIP(return, "%s", symbols_missing());
	if (variant->no_locks && kernel_option("CONFIG_PREEMPT_RT") == OPTION_YES)
		SKIP(return, "a section must not stop in this context (CONFIG_PREEMPT_RT)");
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = open(DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, ioctl(self->device, KCOV_SAMPLE_HANDLES, &self->handles));
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	self->area_size = FIRST_AREA + AREA_STEP * (*tests)++;
}

FIXTURE_TEARDOWN(atomic)
{
	char line[256];

	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	close(self->fd);
	close(self->device);
}

static long sections(FIXTURE_DATA(atomic) *self, uint32_t context, uint32_t depth)
{
	struct kcov_sample_sections sections = { context, depth };

	cover_reset(self->area);
	return kcov_ioctl(self->device, KCOV_SAMPLE_SECTIONS, (unsigned long)&sections);
}

static long enable(FIXTURE_DATA(atomic) *self)
{
	return kcov_remote_enable(self->fd, KCOV_TRACE_PC, self->area_size, 0,
				  self->handles.worker);
}

static uint64_t losses(FIXTURE_DATA(atomic) *self)
{
	return fdinfo(self->fd, "kcov-lost-sections");
}

/* Returns whether all code of the sections was recorded, and no code after them. */
static bool all_recorded(FIXTURE_DATA(atomic) *self, uint32_t depth)
{
	return times_covered(self->area, INNER_FUNCTION) == depth &&
	       times_covered(self->area, AFTER_FUNCTION) == depth &&
	       !covers(self->area, OUTSIDE_FUNCTION);
}

TEST_F(atomic, first_section_is_recorded)
{
	ASSERT_EQ(0, enable(self));
	if (statistics_missing()) {
		/*
		 * The implementation in C prepares nothing, but keeps the areas that it has
		 * allocated.
		 */
		ASSERT_EQ(0, sections(self, KCOV_SAMPLE_PREEMPTIBLE, 1));
		ASSERT_TRUE(all_recorded(self, 1));
	}
	ASSERT_EQ(0, sections(self, variant->context, 1));
	EXPECT_TRUE(all_recorded(self, 1));
	ASSERT_EQ(0, sections(self, variant->context, 1));
	EXPECT_TRUE(all_recorded(self, 1));
	ASSERT_EQ(0, kcov_disable(self->fd));
	if (!statistics_missing()) {
		EXPECT_EQ(0, losses(self));
	}
}

/* Returns NULL if sections are lost in this context, or the reason why not. */
static const char *loss_missing(const FIXTURE_VARIANT(atomic) *variant)
{
	if (variant->hidden && kernel_option("CONFIG_PREEMPT_COUNT") == OPTION_NO)
		return "this kernel does not know that it must not sleep (CONFIG_PREEMPT_COUNT)";
	return statistics_missing();
}

/*
 * The outer section records the code that runs in a lost one, and the stop of the lost one ends
 * nothing else.
 */
TEST_F(atomic, section_without_an_area_is_lost)
{
	uint64_t before;

	if (loss_missing(variant))
		SKIP(return, "%s", loss_missing(variant));
	ASSERT_EQ(0, enable(self));
	before = statistic("lost_sections");
	ASSERT_EQ(0, sections(self, variant->context, DEPTH));
	EXPECT_TRUE(all_recorded(self, DEPTH));
	EXPECT_LT(0, losses(self));
	EXPECT_GT(DEPTH, losses(self));
	EXPECT_EQ(before + losses(self), statistic("lost_sections"));
}

/* Returns whether each of @depth sections finds an area, within five seconds. */
static bool comes_to_hold(FIXTURE_DATA(atomic) *self, uint32_t context, uint32_t depth)
{
	int i;

	for (i = 0; i < 500; i++) {
		uint64_t before = losses(self);

		if (sections(self, context, depth) || !all_recorded(self, depth))
			return false;
		if (losses(self) == before)
			return true;
		usleep(10000);
	}
	return false;
}

/* Waits until the areas are freed that another run of this program has left. */
static void wait_for_no_areas(void)
{
	uint64_t before = statistic("areas");
	int i;

	for (i = 0; i < 300 && statistic("areas") >= before; i++)
		usleep(100000);
}

/* Two nested sections find one area first, and two areas later. */
TEST_F_TIMEOUT(atomic, lost_section_brings_an_area, 60)
{
	if (loss_missing(variant))
		SKIP(return, "%s", loss_missing(variant));
	ASSERT_EQ(0, enable(self));
	ASSERT_EQ(0, sections(self, variant->context, 2));
	if (!losses(self)) {
		ASSERT_EQ(0, kcov_disable(self->fd));
		wait_for_no_areas();
		ASSERT_EQ(0, enable(self));
		ASSERT_EQ(0, sections(self, variant->context, 2));
	}
	EXPECT_EQ(1, losses(self));
	EXPECT_TRUE(comes_to_hold(self, variant->context, 2));
}

int main(int argc, char **argv)
{
	tests = mmap(NULL, sizeof(*tests), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tests == MAP_FAILED)
		return KSFT_FAIL;
	symbols_load();
	return test_harness_run(argc, argv);
}
