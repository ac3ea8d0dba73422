// SPDX-License-Identifier: GPL-2.0
/*
 * Most tests end with a search of the kernel's log for the report of a bug. These tests check that
 * the search finds one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"

/* Puts a line into the kernel's log, of a level that does not go to the console. */
static bool log_line(const char *text)
{
	char record[256];
	int size = snprintf(record, sizeof(record), "<7>kcov log_test: %s\n", text);
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, record, size) == size;

	if (fd >= 0)
		close(fd);
	return written;
}

FIXTURE(log) {
	int log;
};

FIXTURE_SETUP(log)
{
	/* The part of the log from before it was opened is ignored. */
	ASSERT_TRUE(log_line("BUG: this one is too old"));
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
}

FIXTURE_TEARDOWN(log)
{
	close(self->log);
}

TEST_F(log, reports_are_found)
{
	static const char * const reports[] = {
		"a line with WARNING: in it", "a line with BUG: in it",
		"a line with Oops in it", "a line with KASAN in it",
		"a line with UBSAN in it", "a general protection fault of a test",
		"a line with refcount_t: in it", "a vmalloc error of a test",
		"a page allocation failure of a test", "a test invoked oom-killer",
	};
	char line[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(reports); i++) {
		ASSERT_TRUE(log_line("a line before it"));
		ASSERT_TRUE(log_line(reports[i]));
		ASSERT_TRUE(log_line("a line behind it"));
		strcpy(line, "");
		EXPECT_TRUE(kmsg_reports_bug(self->log, line, sizeof(line)))
			TH_LOG("not found: %s", reports[i]);
		EXPECT_NE(NULL, strstr(line, reports[i]));
		/* One report, up to this point. */
		EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
			TH_LOG("%s", line);
	}
}

TEST_F(log, other_lines_are_no_report)
{
	char line[256];

	ASSERT_TRUE(log_line("a warning, a bug, an oops: nothing of the kernel"));
	EXPECT_FALSE(kmsg_reports_bug(self->log, line, sizeof(line)))
		TH_LOG("%s", line);
}

TEST_F(log, lines_are_counted)
{
	ASSERT_TRUE(log_line("one of two"));
	ASSERT_TRUE(log_line("another line"));
	ASSERT_TRUE(log_line("two of two"));
	EXPECT_EQ(2, kmsg_count(self->log, "of two"));
	EXPECT_EQ(0, kmsg_count(self->log, "of two"));
}

/* A log that cannot be read does not count as a log without a report. */
TEST_F(log, unreadable)
{
	char line[256] = "";

	EXPECT_TRUE(kmsg_reports_bug(-1, line, sizeof(line)));
	EXPECT_NE(NULL, strstr(line, "cannot be read"));
	EXPECT_EQ(-EBADF, kmsg_count(-1, "of two"));
}

TEST_HARNESS_MAIN
