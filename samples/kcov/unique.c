// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the kernel code that runs for a directory that is listed again and again.
 *
 * Each PC is recorded once, however often the code runs, so a small trace is enough. The buffer is
 * mapped read-only, so code in this process cannot damage the records.
 *
 * Prints one PC per line, as pc.c does, and the number of PCs on standard error.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kcov.h>

#define KCOV_FILE	"/sys/kernel/debug/kcov"
#define SET_WORDS_FILE	"/sys/kernel/debug/kcov_statistics/set_words"
/* The size of the trace in words: the count and up to 8191 PCs. */
#define TRACE_WORDS	8192UL
#define LISTINGS	100

/* Returns the number of words that a set needs for all code of this kernel's image. */
static unsigned long set_words(void)
{
	unsigned long words, page = sysconf(_SC_PAGESIZE) / sizeof(words);
	FILE *file = fopen(SET_WORDS_FILE, "r");

	if (!file || fscanf(file, "%lu", &words) != 1)
		errx(1, "cannot read %s: this kernel has no KCOV_UNIQUE_ENABLE; use pc.c",
		     SET_WORDS_FILE);
	fclose(file);
	/* Rounded up to whole pages, so that the buffer can be mapped. */
	return (words + page - 1) / page * page;
}

static void list(const char *path)
{
	DIR *directory = opendir(path);

	if (!directory)
		err(1, "cannot open %s", path);
	while (readdir(directory))
		;
	closedir(directory);
}

int main(void)
{
	unsigned long set = set_words(), words = set + TRACE_WORDS, count, i;
	const unsigned long *buffer, *trace;
	int fd;

	/* Opening the file for reading is enough, and rules out a writable mapping. */
	fd = open(KCOV_FILE, O_RDONLY);
	if (fd < 0)
		err(1, "cannot open %s: run as root, mount debugfs and set CONFIG_KCOV=y",
		    KCOV_FILE);
	if (ioctl(fd, KCOV_INIT_TRACE, words))
		err(1, "cannot allocate a buffer of %lu words", words);
	buffer = mmap(NULL, words * sizeof(*buffer), PROT_READ, MAP_SHARED, fd, 0);
	if (buffer == MAP_FAILED)
		err(1, "cannot map the buffer: the length must be exactly %zu bytes",
		    words * sizeof(*buffer));
	/* The set comes first, then the count, then the PCs. */
	trace = buffer + set;

	if (ioctl(fd, KCOV_UNIQUE_ENABLE, set))
		err(1, errno == ENOTTY || errno == 524 ?
		    "cannot record each PC once: set CONFIG_KCOV_UNIQUE=y, or use pc.c" :
		    "cannot enable tracing: use one descriptor for one thread");
	/* Discards the records of the return from KCOV_UNIQUE_ENABLE. */
	if (ioctl(fd, KCOV_RESET_TRACE, 0))
		err(1, "cannot reset the trace: do it in the thread that enabled it");

	for (i = 0; i < LISTINGS; i++)
		list("/proc/self");

	/* This thread has written the count, in the kernel: no ordering is needed. */
	count = __atomic_load_n(&trace[0], __ATOMIC_RELAXED);
	if (ioctl(fd, KCOV_DISABLE, 0))
		err(1, "cannot disable tracing: do it in the thread that enabled it");

	if (!count)
		errx(1, "no PC was recorded: build the kernel with CONFIG_KCOV_INSTRUMENT_ALL=y");
	for (i = 0; i < count; i++)
		printf("0x%lx\n", trace[i + 1]);
	if (fflush(stdout) || ferror(stdout))
		err(1, "cannot write the PCs to standard output");
	fprintf(stderr, "%lu PCs, each once, of %d listings\n", count, LISTINGS);
	return 0;
}
