// SPDX-License-Identifier: GPL-2.0
/*
 * A KCOV_REMOTE_ENABLE that fails takes no handle, not even while it checks them.
 *
 * A thread makes such a call again and again. Another one runs sections with one of its handles
 * inside a section that is recorded. If one of the inner sections were recognised as collected, the
 * outer recording would miss its code. With one CPU, only a preemptible kernel could fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kcov_sample.h"
#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define DEVICE		"/dev/kcov-sample"
#define INNER_FUNCTION	"kcov_sample_inner_code"
#define USB(instance)	(KCOV_SUBSYSTEM_USB | (uint64_t)(instance))
#define COMMON		(KCOV_SUBSYSTEM_COMMON | 0x7e5f0001)
#define FIRST		0x7e5f0000
/* The records of this many sections fit into the buffer. */
#define SECTIONS	4000

#define MOST		KCOV_REMOTE_MAX_HANDLES
/* The number of calls that must be made, the time for them, and the time for the whole test. */
#define CALLS		3000
#define SECONDS		3
#define TOO_LONG	20

/* A thread that makes a call which fails, again and again. */
struct refused {
	pthread_t thread;
	struct kcov_remote_arg *arg;
	int fd;
	long expected;
	volatile long result;
	volatile unsigned long calls;
	volatile bool finished;
};

static void *refused_main(void *data)
{
	struct refused *refused = data;
	long result;

	do {
		result = kcov_ioctl(refused->fd, KCOV_REMOTE_ENABLE, (unsigned long)refused->arg);
		refused->calls++;
	} while (result == refused->expected && !refused->finished);
	refused->result = result;
	return NULL;
}

FIXTURE(refused) {
	struct kcov_sample_handles handles;
	struct refused refused;
	uint64_t *area;
	uint64_t *other;
	int device;
	int fd;
	int log;
};

enum fault { TWICE, MALFORMED, TAKEN, MALFORMED_COMMON, TAKEN_COMMON };

FIXTURE_VARIANT(refused) {
	enum fault fault;
	long result;
};

FIXTURE_VARIANT_ADD(refused, given_twice) { .fault = TWICE, .result = -EEXIST };
FIXTURE_VARIANT_ADD(refused, malformed) { .fault = MALFORMED, .result = -EINVAL };
FIXTURE_VARIANT_ADD(refused, taken) { .fault = TAKEN, .result = -EEXIST };
FIXTURE_VARIANT_ADD(refused, malformed_common) {
	.fault = MALFORMED_COMMON,
	.result = -EINVAL,
};

FIXTURE_VARIANT_ADD(refused, taken_common) { .fault = TAKEN_COMMON, .result = -EEXIST };

/*
 * Fills in the largest number of handles: the handle of the inner sections first, and a wrong one
 * last.
 */
static void fill(FIXTURE_DATA(refused) *self, enum fault fault)
{
	struct kcov_remote_arg *arg = self->refused.arg;
	int i;

	arg->area_size = COVER_WORDS;
	arg->num_handles = MOST;
	arg->handles[0] = self->handles.softirq;
	for (i = 1; i < MOST; i++)
		arg->handles[i] = USB(FIRST + i);
	switch (fault) {
	case TWICE:
		arg->handles[MOST - 1] = arg->handles[0];
		break;
	case MALFORMED:
		arg->handles[MOST - 1] = USB(1ULL << 32);
		break;
	case TAKEN:
		arg->handles[MOST - 1] = self->handles.worker;
		break;
	case MALFORMED_COMMON:
		arg->common_handle = USB(FIRST);
		break;
	case TAKEN_COMMON:
		arg->common_handle = COMMON;
		break;
	}
}

FIXTURE_SETUP(refused)
{
	if (access(DEVICE, R_OK | W_OK))
		SKIP(return, "no " DEVICE " (CONFIG_SAMPLE_KCOV_MODULE)");
	if (statistics_missing())
		SKIP(return, "this implementation warns about sections inside each other");
	if (symbols_missing())
		SKIP(return, "%s", symbols_missing());
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->device = open(DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, ioctl(self->device, KCOV_SAMPLE_HANDLES, &self->handles));
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	self->refused.fd = kcov_open_mapped(COVER_WORDS, &self->other);
	ASSERT_LE(0, self->refused.fd);
	self->refused.arg = calloc(1, sizeof(*self->refused.arg) + MOST * sizeof(uint64_t));
	ASSERT_NE(NULL, self->refused.arg);
	self->refused.expected = variant->result;
	fill(self, variant->fault);
}

FIXTURE_TEARDOWN(refused)
{
	char line[256];

	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
	free(self->refused.arg);
	close(self->refused.fd);
	close(self->fd);
	close(self->device);
}

/* Returns the number of inner sections that the outer one has recorded. */
static uint64_t sections_recorded(FIXTURE_DATA(refused) *self)
{
	cover_reset(self->area);
	if (kcov_ioctl(self->device, KCOV_SAMPLE_IN_A_ROW, SECTIONS))
		return 0;
	return times_covered(self->area, INNER_FUNCTION);
}

TEST_F_TIMEOUT(refused, is_never_seen, 60)
{
	struct refused *refused = &self->refused;
	struct timespec start, now;
	uint64_t recorded;

	ASSERT_EQ(0, kcov_remote_enable(self->fd, KCOV_TRACE_PC, COVER_WORDS, COMMON,
					self->handles.worker));
	ASSERT_EQ(SECTIONS, sections_recorded(self));
	clock_gettime(CLOCK_MONOTONIC, &start);
	ASSERT_EQ(0, pthread_create(&refused->thread, NULL, refused_main, refused));
	do {
		recorded = sections_recorded(self);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (recorded == SECTIONS && !refused->result &&
		 now.tv_sec - start.tv_sec < TOO_LONG &&
		 (now.tv_sec - start.tv_sec < SECONDS || refused->calls < CALLS));
	refused->finished = true;
	pthread_join(refused->thread, NULL);

	EXPECT_EQ(SECTIONS, recorded)
		TH_LOG("after %lu calls", refused->calls);
	EXPECT_EQ(variant->result, refused->result);
	EXPECT_EQ(0, cover_count(self->other));
	if (recorded == SECTIONS) {
		EXPECT_LE(CALLS, refused->calls);
	}
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
