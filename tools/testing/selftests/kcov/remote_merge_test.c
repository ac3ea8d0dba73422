// SPDX-License-Identifier: GPL-2.0
/*
 * A descriptor that is reset, disabled or enabled again between the ends of two sections, or while
 * one of them waits for its next piece to be merged.
 */
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "realtime.h"
#include "sample.h"
#include "symbols.h"

#define NANOSECONDS		1000000000L
/* Milliseconds that a section may take to come to where it waits. */
#define MOST_MILLISECONDS	5000

enum event { RESET, DISABLE, DISABLE_AND_COLLECT, DISABLE_AND_ENABLE };

FIXTURE(ends) {
	struct kcov_sample_handles handles;
	struct trace trace;
	struct worker worker;
	int device;
	int log;
};

FIXTURE_VARIANT(ends) {
	enum event event;
};

FIXTURE_VARIANT_ADD(ends, reset) { .event = RESET };
FIXTURE_VARIANT_ADD(ends, disabled) { .event = DISABLE };
FIXTURE_VARIANT_ADD(ends, collecting_again) { .event = DISABLE_AND_COLLECT };
FIXTURE_VARIANT_ADD(ends, enabled_for_the_task) { .event = DISABLE_AND_ENABLE };

FIXTURE_SETUP(ends)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	if (variant->event == RESET && reset_missing())
		SKIP(return, "%s", reset_missing());
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
	ASSERT_LE(0, trace_open(&self->trace));
	ASSERT_EQ(0, worker_start(&self->worker));
}

FIXTURE_TEARDOWN(ends)
{
	char line[256];

	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	worker_end(&self->worker);
	trace_close(&self->trace);
	close(self->device);
}

/* A thread with a section that waits. */
struct waiting {
	pthread_t thread;
	struct kcov_sample_pair pair;
	int device;
	long result;
};

static void *wait_in_section(void *data)
{
	struct waiting *waiting = data;

	waiting->result = kcov_ioctl(waiting->device, KCOV_SAMPLE_PAIR,
				     (unsigned long)&waiting->pair);
	return NULL;
}

/* Returns 0 when the section waits. */
static long waiting_start(struct waiting *waiting)
{
	int i;

	if (pthread_create(&waiting->thread, NULL, wait_in_section, waiting))
		return -1;
	for (i = 0; i < MOST_MILLISECONDS; i++) {
		if (kcov_ioctl(waiting->device, KCOV_SAMPLE_LET_GO, 0) == 1)
			return 0;
		usleep(1000);
	}
	pthread_join(waiting->thread, NULL);
	return -1;
}

/* Returns 1 if the section waited until it was released, and has ended. */
static long waiting_end(struct waiting *waiting)
{
	long waited = kcov_ioctl(waiting->device, KCOV_SAMPLE_LET_GO, 1);

	pthread_join(waiting->thread, NULL);
	return waited == 1 ? waiting->result : -1;
}

static long collect(FIXTURE_DATA(ends) *self, uint32_t mode)
{
	return trace_collect(&self->trace, mode, COVER_WORDS, 0, self->handles.worker);
}

/* Runs a whole section in this thread. */
static long section(FIXTURE_DATA(ends) *self)
{
	const struct kcov_sample_pair pair = {
		.inner = self->handles.worker, .flags = KCOV_SAMPLE_INNER,
	};

	return kcov_ioctl(self->device, KCOV_SAMPLE_PAIR, (unsigned long)&pair);
}

#define EXPECT_TIMES(times, function) \
	EXPECT_RECORDED(times, &self->trace, function, "mode %s", mode_name(self->trace.mode))

/*
 * The waiting section had another one inside, which has ended and is in the buffer; the records of
 * the waiting section follow when it ends. The implementation in C does not nest sections, so there
 * the one in the buffer ran before.
 */
TEST_F_TIMEOUT(ends, of_two_sections, 120)
{
	struct waiting waiting = {
		.pair.outer = self->handles.worker,
		.pair.inner = self->handles.worker,
		.pair.flags = KCOV_SAMPLE_OUTER | KCOV_SAMPLE_WAIT,
		.device = self->device,
	};
	uint32_t mode;

	if (!statistics_missing())
		waiting.pair.flags |= KCOV_SAMPLE_INNER;
	for (mode = 0; mode < MODES; mode++) {
		const uint64_t inner = waiting.pair.flags & KCOV_SAMPLE_INNER ? 2 : 1;
		uint64_t count;

		if (mode_missing(mode))
			continue;
		trace_clear(&self->trace);
		ASSERT_EQ(0, collect(self, mode));
		ASSERT_EQ(1, section(self));
		ASSERT_EQ(0, waiting_start(&waiting));
		EXPECT_TIMES(0, BEFORE_FUNCTION);
		EXPECT_TIMES(inner, INNER_FUNCTION);
		count = trace_count(&self->trace);

		switch (variant->event) {
		case RESET:
			/*
			 * The records of the section that ended before are gone; those of the later
			 * section are in the buffer.
			 */
			ASSERT_EQ(0, kcov_ioctl(self->trace.fd, KCOV_RESET_TRACE, 0));
			EXPECT_EQ(0, trace_count(&self->trace));
			ASSERT_EQ(1, waiting_end(&waiting));
			EXPECT_TIMES(1, BEFORE_FUNCTION);
			EXPECT_TIMES(0, INNER_FUNCTION);
			EXPECT_TIMES(1, AFTER_FUNCTION);
			if (mode == KCOV_TRACE_UNIQUE_PC) {
				EXPECT_TRUE(trace_set_agrees(&self->trace));
			}
			ASSERT_EQ(1, section(self));
			EXPECT_TIMES(1, INNER_FUNCTION);
			ASSERT_EQ(0, kcov_disable(self->trace.fd));
			break;
		case DISABLE:
			ASSERT_EQ(0, kcov_disable(self->trace.fd));
			ASSERT_EQ(1, waiting_end(&waiting));
			EXPECT_EQ(count, trace_count(&self->trace));
			EXPECT_TIMES(0, BEFORE_FUNCTION);
			EXPECT_TIMES(inner, INNER_FUNCTION);
			EXPECT_TIMES(0, AFTER_FUNCTION);
			break;
		case DISABLE_AND_COLLECT:
			ASSERT_EQ(0, kcov_disable(self->trace.fd));
			ASSERT_EQ(0, collect(self, mode));
			ASSERT_EQ(1, waiting_end(&waiting));
			EXPECT_EQ(count, trace_count(&self->trace));
			trace_clear(&self->trace);
			ASSERT_EQ(1, section(self));
			EXPECT_TIMES(0, BEFORE_FUNCTION);
			EXPECT_TIMES(1, INNER_FUNCTION);
			EXPECT_TIMES(0, AFTER_FUNCTION);
			ASSERT_EQ(0, kcov_disable(self->trace.fd));
			break;
		case DISABLE_AND_ENABLE:
			ASSERT_EQ(0, kcov_disable(self->trace.fd));
			ASSERT_EQ(0, trace_enable(&self->trace, mode));
			ASSERT_EQ(1, waiting_end(&waiting));
			mark_one();
			ASSERT_EQ(0, kcov_disable(self->trace.fd));
			if (!code_missing()) {
				EXPECT_LT(0, trace_count(&self->trace));
			}
			EXPECT_TIMES(0, BEFORE_FUNCTION);
			EXPECT_TIMES(0, INNER_FUNCTION);
			EXPECT_TIMES(0, AFTER_FUNCTION);
			break;
		}
	}
}

/* The number of times that each half of a long section runs its code: hundreds of pieces. */
#define ROUNDS		100000
/* Space for the entries of the functions, and as many other records for each of them. */
#define WORDS		(1UL << 20)
/* The number of sections that must be cut, and the number that may end completely. */
#define CUTS		5
#define ATTEMPTS	500

/* The PCs of the entries of the functions of both halves. */
struct halves {
	uint64_t first, second;
};

/* A section in a thread that the test thread interrupts: it has the same CPU, and priority. */
struct long_section {
	pthread_t thread;
	int device;
	volatile bool ended;
	long result;
};

FIXTURE(pieces) {
	struct kcov_sample_handles handles;
	struct long_section section;
	struct halves halves;
	/* Nanoseconds until a section is interrupted. */
	long delay;
	uint64_t *area;
	int device;
	int fd;
	int log;
};

/* The call that comes between two pieces. */
FIXTURE_VARIANT(pieces) {
	bool reset;
};

FIXTURE_VARIANT_ADD(pieces, reset) { .reset = true };
FIXTURE_VARIANT_ADD(pieces, disabled) { .reset = false };

static void *run_long_section(void *data)
{
	struct long_section *section = data;

	be_realtime(0, 0);
	section->result = kcov_ioctl(section->device, KCOV_SAMPLE_LONG, ROUNDS);
	section->ended = true;
	return NULL;
}

/* Returns the first PC of a trace that is in the function. */
static uint64_t first_of(const uint64_t *area, const char *function)
{
	uint64_t i;

	for (i = 1; i <= cover_count(area); i++)
		if (covers((uint64_t[]){ 1, area[i] }, function))
			return area[i];
	return 0;
}

/* Returns whether the first half is before the second; and how often each. */
static bool in_order(const uint64_t *area, const struct halves *halves, uint64_t *first,
		     uint64_t *second)
{
	uint64_t i;

	*first = *second = 0;
	for (i = 1; i <= cover_count(area); i++) {
		*first += area[i] == halves->first;
		*second += area[i] == halves->second;
		if (*second && area[i] == halves->first)
			return false;
	}
	return true;
}

/* Returns whether a section is recorded to its end when nothing comes between. */
static bool whole_section(FIXTURE_DATA(pieces) *self)
{
	uint64_t first, second;
	struct timespec start, end;

	cover_reset(self->area);
	if (kcov_ioctl(self->device, KCOV_SAMPLE_LONG, 1))
		return false;
	self->halves.first = first_of(self->area, BEFORE_FUNCTION);
	self->halves.second = first_of(self->area, AFTER_FUNCTION);
	cover_reset(self->area);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (kcov_ioctl(self->device, KCOV_SAMPLE_LONG, ROUNDS))
		return false;
	clock_gettime(CLOCK_MONOTONIC, &end);
	self->delay = (end.tv_sec - start.tv_sec) * NANOSECONDS + end.tv_nsec - start.tv_nsec;
	return in_order(self->area, &self->halves, &first, &second) &&
	       first == ROUNDS && second == ROUNDS;
}

FIXTURE_SETUP(pieces)
{
	if (sample_missing())
		SKIP(return, "%s", sample_missing());
	if (statistics_missing())
		SKIP(return, "this implementation appends a section in one piece");
	if (kernel_option("CONFIG_PREEMPTION") == OPTION_NO)
		SKIP(return, "nothing comes between two pieces (CONFIG_PREEMPTION)");
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = sample_open(&self->handles);
	ASSERT_LE(0, self->device);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, WORDS, 0,
					self->handles.worker));
	ASSERT_TRUE(whole_section(self));
	ASSERT_EQ(0, run_on(0));
	ASSERT_EQ(0, be_realtime(0, 1));
}

FIXTURE_TEARDOWN(pieces)
{
	char line[256];

	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	close(self->fd);
	close(self->device);
}

/*
 * Starts a section and interrupts it when it should be between two pieces.  Returns how
 * much of it is there, or -1.
 */
static int64_t meet_section(FIXTURE_DATA(pieces) *self)
{
	const struct timespec delay = {
		self->delay / NANOSECONDS, self->delay % NANOSECONDS,
	};

	memset(&self->section, 0, sizeof(self->section));
	self->section.device = self->device;
	cover_reset(self->area);
	if (pthread_create(&self->section.thread, NULL, run_long_section, &self->section))
		return -1;
	nanosleep(&delay, NULL);
	return cover_count(self->area);
}

/* Makes the next section be interrupted later or earlier than the last one was. */
static void adapt_delay(FIXTURE_DATA(pieces) *self, int64_t met)
{
	if (met)
		self->delay -= self->delay / 16;
	else
		self->delay += self->delay / 16;
}

/* Returns 0 when the rest of the section is appended, or would be. */
static long let_section_end(FIXTURE_DATA(pieces) *self)
{
	pthread_join(self->section.thread, NULL);
	return self->section.result;
}

/* Of a section that is reset, the rest follows, and nothing of what came before is in front. */
static bool reset_section(struct __test_metadata *_metadata, FIXTURE_DATA(pieces) *self)
{
	uint64_t first, second, count;

	EXPECT_EQ(0, kcov_ioctl(self->fd, KCOV_RESET_TRACE, 0));
	EXPECT_EQ(0, let_section_end(self));
	EXPECT_TRUE(in_order(self->area, &self->halves, &first, &second));
	count = cover_count(self->area);
	if (!count)
		return false;
	/* The end of it is there. */
	EXPECT_TRUE(second == ROUNDS || (!first && second < ROUNDS));
	EXPECT_TRUE(in_kernel_text(self->area[1] - 1) || in_module_text(self->area[1] - 1));
	return first < ROUNDS;
}

/* Of one that is disabled, what is there stays, and nothing follows. */
static bool disable_section(struct __test_metadata *_metadata, FIXTURE_DATA(pieces) *self)
{
	uint64_t first, second, count;

	EXPECT_EQ(0, kcov_disable(self->fd));
	count = cover_count(self->area);
	/* Nor does anything when it collects again. */
	EXPECT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, WORDS, 0,
					self->handles.worker));
	EXPECT_EQ(0, let_section_end(self));
	EXPECT_EQ(count, cover_count(self->area));
	EXPECT_TRUE(in_order(self->area, &self->halves, &first, &second));
	EXPECT_TRUE(first == ROUNDS || !second);
	return count && second < ROUNDS;
}

TEST_F_TIMEOUT(pieces, cut, 300)
{
	int attempt, cuts = 0;

	for (attempt = 0; attempt < ATTEMPTS && cuts < CUTS; attempt++) {
		int64_t met = meet_section(self);
		bool cut;

		ASSERT_LE(0, met);
		cut = variant->reset ? reset_section(_metadata, self) :
				       disable_section(_metadata, self);
		if (_metadata->exit_code)
			return;
		cuts += cut;
		if (!cut)
			adapt_delay(self, met);
	}
	ASSERT_EQ(CUTS, cuts)
		TH_LOG("of %d sections, so many were interrupted between two pieces", attempt);
	ASSERT_EQ(0, be_realtime(0, 0));
	EXPECT_TRUE(whole_section(self));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
