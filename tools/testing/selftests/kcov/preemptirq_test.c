// SPDX-License-Identifier: GPL-2.0
/*
 * The tracepoints of disabled interrupts and of disabled preemption, with perf, while a task
 * records itself in each mode. Every hook may run inside perf's handlers, and every call of the
 * recorded code raises events: neither may recurse into the other.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define TRACEFS		"/sys/kernel/tracing"
#define EVENTS		TRACEFS "/events/preemptirq/"
#define TRACE_WORDS	(4 * COVER_WORDS)
/* System calls that are recorded in each mode, and those that perf may be slow for. */
#define CALLS		2000
#define MOST_CALLS	(50 * CALLS)
/* irq_disable, irq_enable, preempt_disable, preempt_enable. */
#define MOST_EVENTS	8
/* A buffer of perf: one descriptive page, and a power of two of pages with records. */
#define PERF_PAGES	9

struct event {
	int fd;
	void *buffer;
	char name[64];
};

/* Returns NULL, or the reason why there is nothing to trace. */
static const char *events_missing(void)
{
	if (access(EVENTS, F_OK))
		return "no tracepoints of disabled interrupts (CONFIG_PREEMPTIRQ_TRACEPOINTS)";
	if (access("/proc/sys/kernel/perf_event_paranoid", F_OK))
		return "no perf (CONFIG_PERF_EVENTS)";
	return NULL;
}

static uint64_t event_number(const char *name)
{
	char path[512];
	uint64_t number = 0;
	FILE *file;

	snprintf(path, sizeof(path), EVENTS "%s/id", name);
	file = fopen(path, "r");
	if (file && fscanf(file, "%lu", &number) != 1)
		number = 0;
	if (file)
		fclose(file);
	return number;
}

/* Makes perf count and record every event of a tracepoint in this task. */
static int event_open(struct event *event, uint64_t number)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = number,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_RAW,
	};

	event->fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (event->fd < 0)
		return -errno;
	/* The mapping is read-only, so perf starts again at the front when it is full. */
	event->buffer = mmap(NULL, PERF_PAGES * sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED,
			     event->fd, 0);
	return event->buffer == MAP_FAILED ? -errno : 0;
}

FIXTURE(preemptirq) {
	struct event events[MOST_EVENTS];
	/* Words in front of the trace; the argument of the commands that have one. */
	unsigned long front;
	uint64_t *area, *trace;
	int count, fd, log;
};

FIXTURE_VARIANT(preemptirq) {
	uint32_t mode;
};

FIXTURE_VARIANT_ADD(preemptirq, pc) { .mode = KCOV_TRACE_PC };
FIXTURE_VARIANT_ADD(preemptirq, comparisons) { .mode = KCOV_TRACE_CMP };
FIXTURE_VARIANT_ADD(preemptirq, unique) { .mode = KCOV_TRACE_UNIQUE_PC };
FIXTURE_VARIANT_ADD(preemptirq, both) { .mode = KCOV_TRACE_PC_CMP };

FIXTURE_SETUP(preemptirq)
{
	const char *missing = traces_missing() ?: events_missing() ?: mode_missing(variant->mode);
	struct dirent *entry;
	DIR *directory;

	if (missing)
		SKIP(return, "%s", missing);
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
	self->front = variant->mode == KCOV_TRACE_UNIQUE_PC ? set_words() : TRACE_WORDS;
	self->fd = kcov_open_mapped(self->front + TRACE_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	self->trace = variant->mode == KCOV_TRACE_UNIQUE_PC ? self->area + self->front : self->area;
	directory = opendir(EVENTS);
	ASSERT_NE(NULL, directory);
	while ((entry = readdir(directory))) {
		uint64_t number = event_number(entry->d_name);

		if (!number)
			continue;
		ASSERT_GT(MOST_EVENTS, self->count);
		snprintf(self->events[self->count].name, sizeof(self->events->name), "%.63s",
			 entry->d_name);
		ASSERT_EQ(0, event_open(&self->events[self->count], number))
			TH_LOG("%s", entry->d_name);
		self->count++;
	}
	closedir(directory);
	ASSERT_LT(0, self->count);
}

FIXTURE_TEARDOWN(preemptirq)
{
	char line[256];
	int i;

	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line))) TH_LOG("%s", line);
	for (i = 0; i < self->count; i++) {
		munmap(self->events[i].buffer, PERF_PAGES * sysconf(_SC_PAGESIZE));
		close(self->events[i].fd);
	}
	close(self->fd);
	close(self->log);
}

static long enable(FIXTURE_DATA(preemptirq) *self, uint32_t mode)
{
	switch (mode) {
	case KCOV_TRACE_UNIQUE_PC:
		memset(self->area, 0, self->front * sizeof(*self->area));
		return kcov_ioctl(self->fd, KCOV_UNIQUE_ENABLE, self->front);
	case KCOV_TRACE_PC_CMP:
		return kcov_ioctl(self->fd, KCOV_PC_CMP_ENABLE, self->front);
	default:
		return kcov_enable(self->fd, mode);
	}
}

/* Returns how many of the events have come, or ~0. */
static uint64_t events_of(const struct event *event)
{
	uint64_t count;

	return read(event->fd, &count, sizeof(count)) == sizeof(count) ? count : ~0ULL;
}

/* Returns the first event that has come less often than it should, or NULL. */
static const struct event *rare_event(FIXTURE_DATA(preemptirq) *self, const uint64_t *wanted)
{
	int i;

	for (i = 0; i < self->count; i++)
		if (events_of(&self->events[i]) < wanted[i])
			return &self->events[i];
	return NULL;
}

/*
 * Each call disables interrupts or preemption at least once.  Where perf stops an event
 * that comes too often, until the next tick of the clock, more calls are made.
 */
TEST_F_TIMEOUT(preemptirq, records_while_perf_does, 300)
{
	const struct event *rare;
	uint64_t wanted[MOST_EVENTS];
	int i;

	for (i = 0; i < self->count; i++) {
		wanted[i] = events_of(&self->events[i]);
		ASSERT_NE(~0ULL, wanted[i]);
		wanted[i] += CALLS;
	}
	for (i = 0; i < MOST_CALLS && (i < CALLS || rare_event(self, wanted)); i++) {
		ASSERT_EQ(0, enable(self, variant->mode));
		cover_reset(self->trace);
		mark_one();
		ASSERT_EQ(0, kcov_disable(self->fd));
	}
	if (variant->mode == KCOV_TRACE_CMP) {
		EXPECT_LT(0, cover_count(self->trace));
	} else {
		EXPECT_TRUE(covers_syscall(self->trace, MARK_ONE));
	}
	rare = rare_event(self, wanted);
	EXPECT_EQ(NULL, rare)
		TH_LOG("in %d calls, %s came less than %d times", i, rare->name, CALLS);
}

static void unmount_tracefs(void)
{
	umount(TRACEFS);
}

/* Mounts tracefs where it is not, for as long as this program runs. */
static void mount_tracefs(void)
{
	if (access(EVENTS, F_OK) && !mount("tracefs", TRACEFS, "tracefs", 0, NULL))
		atexit(unmount_tracefs);
}

int main(int argc, char **argv)
{
	mount_tracefs();
	symbols_load();
	return test_harness_run(argc, argv);
}
