// SPDX-License-Identifier: GPL-2.0
/* Lines that the filter refuses: the error, the reason in the file, and the filter that stays. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "filter.h"
#include "kcov.h"
#include "symbols.h"

#define CALLED		"find_task_by_vpid"
/* Lines that the kernel accepts, and bytes of one line. */
#define MOST_LINES	8192
#define MOST_BYTES	1024
/* Stands for addresses that have sites. */
#define RANGE		"range"

/* Returns a range that has sites, up to the next call. */
static const char *called_range(void)
{
	uint64_t address = symbol_address(CALLED);

	return filter_range(address, address + 64);
}

FIXTURE(refused) {
	char *text;
};

FIXTURE_VARIANT(refused) {
	const char *line;
	/* The line is repeated so often. */
	int times;
	int error;
	const char *reason;
};

#define REFUSED(name, ...) FIXTURE_VARIANT_ADD(refused, name) { __VA_ARGS__ }
REFUSED(function, "no_such_function", 1, ENOENT, "no call of a hook matches");
REFUSED(taken_away, "!no_such_function", 1, ENOENT, "no call of a hook matches");
REFUSED(addresses, "0x1000-0x2000", 1, ENOENT, "no call of a hook matches");
REFUSED(glob, "find_task[a-", 1, EINVAL, "not a glob");
REFUSED(two_words, CALLED " " CALLED, 1, EINVAL, "not a glob");
REFUSED(no_word, "!", 1, EINVAL, "not a glob");
REFUSED(no_module, CALLED ":mod:", 1, EINVAL, "not a glob");
REFUSED(colon, CALLED ":module:x", 1, EINVAL, "not a glob");
REFUSED(callers, "callers=2", 1, EINVAL, "callers=");
REFUSED(backwards, "0xffffffff81000001-0xffffffff81000000", 1, EINVAL, "end after its start");
REFUSED(empty, "0xffffffff81000000-0xffffffff81000000", 1, EINVAL, "end after its start");
REFUSED(half, "0xffffffff81000000-", 1, EINVAL, "two hexadecimal addresses");
REFUSED(decimal, "0x1000-9999", 1, EINVAL, "two hexadecimal addresses");
REFUSED(digits, "0x1000-0x10000000000000000", 1, EINVAL, "two hexadecimal addresses");
REFUSED(binary, "\x01\xff", 1, EINVAL, "\"??\"");
REFUSED(long_line, NULL, MOST_BYTES + 1, EINVAL, "too long");
/* A range, because a name takes longer to look for. */
REFUSED(many_lines, RANGE, MOST_LINES + 1, ENOSPC, "too many lines");

FIXTURE_SETUP(refused)
{
	const char *line = variant->line ? variant->line : "a";
	int i;

	if (filter_missing())
		SKIP(return, "%s", filter_missing());
	if (symbols_missing())
		SKIP(return, "%s", symbols_missing());
	if (!strcmp(line, RANGE))
		line = called_range();
	self->text = calloc(variant->times + 1, strlen(line) + 2);
	ASSERT_NE(NULL, self->text);
	for (i = 0; i < variant->times; i++)
		sprintf(self->text + strlen(line) * i + (variant->line ? i : 0),
			variant->line ? "%s\n" : "%s", line);
	ASSERT_EQ(0, filter_replace("callers=0\n" CALLED "\n"));
}

FIXTURE_TEARDOWN(refused)
{
	filter_replace("");
	free(self->text);
}

/* The file tells the reason, and the filter stays: with a good line in front, too. */
TEST_F_TIMEOUT(refused, stays, 600)
{
	uint64_t selected = statistic("sites_selected");
	int fd, log = kmsg_open();

	ASSERT_LE(0, log);
	EXPECT_EQ(-variant->error, filter_replace(self->text));
	EXPECT_EQ(selected, statistic("sites_selected"));
	EXPECT_EQ(selected, filter_matched(CALLED));
	EXPECT_NE(NULL, strstr(filter_text(), "# refused: ")) TH_LOG("%s", filter_text());
	EXPECT_NE(NULL, strstr(filter_text(), variant->reason)) TH_LOG("%s", filter_text());

	fd = filter_open(O_APPEND);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, filter_write(fd, "!" CALLED "\n"));
	EXPECT_EQ(-variant->error, filter_write(fd, self->text));
	/* Nothing else of this open file counts. */
	EXPECT_EQ(-variant->error, filter_write(fd, "!" CALLED "\n"));
	close(fd);
	EXPECT_EQ(selected, statistic("sites_selected"));
	EXPECT_EQ(0, kmsg_count(log, "kcov"));
	close(log);

	/* The next change that is good removes the reason. */
	EXPECT_EQ(0, filter_append("callers=0\n"));
	EXPECT_EQ(NULL, strstr(filter_text(), "# refused: ")) TH_LOG("%s", filter_text());
}

FIXTURE(limits) {
	char *text;
};

FIXTURE_SETUP(limits)
{
	if (filter_missing())
		SKIP(return, "%s", filter_missing());
	if (symbols_missing())
		SKIP(return, "%s", symbols_missing());
	self->text = calloc(MOST_LINES, 64);
	ASSERT_NE(NULL, self->text);
}

FIXTURE_TEARDOWN(limits)
{
	filter_replace("");
	free(self->text);
}

/* Exactly so many lines fit, and so many bytes. */
TEST_F_TIMEOUT(limits, fit, 600)
{
	char line[MOST_BYTES + 1], *end = self->text;
	int i;

	for (i = 1; i < MOST_LINES; i++) {
		end = stpcpy(end, called_range());
		*end++ = '\n';
	}
	ASSERT_EQ(0, filter_replace(self->text));
	EXPECT_EQ(0, filter_append(CALLED "\n"));
	EXPECT_EQ(-ENOSPC, filter_append(CALLED "\n"));
	memset(line, '#', MOST_BYTES);
	line[MOST_BYTES - 1] = '\n';
	line[MOST_BYTES] = 0;
	EXPECT_EQ(0, filter_append(line));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
