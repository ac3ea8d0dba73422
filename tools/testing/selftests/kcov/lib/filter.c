// SPDX-License-Identifier: GPL-2.0
/* The file kcov_filter; see filter.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "filter.h"
#include "symbols.h"

const char *filter_missing(void)
{
	int fd;

	if (access(FILTER_FILE, F_OK))
		return "this kernel cannot filter (no CONFIG_KCOV_SITES)";
	fd = filter_open(O_APPEND);
	if (fd < 0)
		return "the calls stay in this kernel (kcov_hooks=)";
	close(fd);
	return NULL;
}

const char *filter_range(uint64_t start, uint64_t end)
{
	static char text[64];

	snprintf(text, sizeof(text), "0x%lx-0x%lx", start + symbols_offset(),
		 end + symbols_offset());
	return text;
}

int filter_open(int flags)
{
	int fd = open(FILTER_FILE, O_WRONLY | flags);

	return fd < 0 ? -errno : fd;
}

int filter_write(int fd, const char *text)
{
	size_t size = strlen(text);
	ssize_t taken;

	while (size) {
		taken = write(fd, text, size);
		if (taken <= 0)
			return taken ? -errno : -EIO;
		text += taken;
		size -= taken;
	}
	return 0;
}

static int filter_change(int flags, const char *text)
{
	int fd = filter_open(flags), ret;

	if (fd < 0)
		return fd;
	ret = filter_write(fd, text);
	close(fd);
	return ret;
}

int filter_replace(const char *text)
{
	return filter_change(O_TRUNC, text);
}

int filter_append(const char *text)
{
	return filter_change(O_APPEND, text);
}

const char *filter_text(void)
{
	static char text[1 << 20];
	size_t size = 0;
	ssize_t taken = 0;
	int fd = open(FILTER_FILE, O_RDONLY);

	if (fd < 0)
		return "";
	do
		size += taken;
	while ((taken = read(fd, text + size, sizeof(text) - 1 - size)) > 0);
	close(fd);
	text[size] = 0;
	return text;
}

long filter_matched(const char *line)
{
	size_t length = strlen(line);
	const char *text = filter_text();

	while (text) {
		if (!strncmp(text, line, length) && !strncmp(text + length, "\t# ", 3))
			return strtol(text + length + 3, NULL, 10);
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return -1;
}
