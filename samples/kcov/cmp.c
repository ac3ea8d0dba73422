// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the values that the kernel compares in one system call.
 *
 * Calls lseek(2) with a whence that does not exist and prints the operands of every comparison that
 * the call makes. One comparison has the odd number as one operand and the limit as the other: a
 * fuzzer tries the limit and the numbers next to it next. Needs CONFIG_KCOV_ENABLE_COMPARISONS=y.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kcov.h>

#define KCOV_FILE	"/sys/kernel/debug/kcov"
#define BUFFER_WORDS	(64UL << 10)
#define BUFFER_BYTES	(BUFFER_WORDS * sizeof(unsigned long))

/* An errno of the kernel for which libc has no name. */
#define ENOTSUPP	524

/* One record. The records follow the count; every field has 64 bits on all architectures. */
struct comparison {
	uint64_t type;
	uint64_t arg1;
	uint64_t arg2;
	uint64_t pc;
};

/* The buffer in the mode KCOV_TRACE_CMP. */
struct comparisons {
	uint64_t count;
	struct comparison record[];
};

/* A number that is easy to find in the output. */
#define ODD_WHENCE	0x5eed

int main(void)
{
	struct comparisons *buffer;
	uint64_t count, i;
	int fd;

	fd = open(KCOV_FILE, O_RDWR);
	if (fd < 0)
		err(1, "cannot open %s: run as root, mount debugfs and set CONFIG_KCOV=y",
		    KCOV_FILE);
	if (ioctl(fd, KCOV_INIT_TRACE, BUFFER_WORDS))
		err(1, "cannot allocate a buffer of %lu words: choose a smaller size",
		    BUFFER_WORDS);
	buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	if (buffer == MAP_FAILED)
		err(1, "cannot map the buffer: the length must be exactly %lu bytes",
		    BUFFER_BYTES);

	if (ioctl(fd, KCOV_ENABLE, KCOV_TRACE_CMP)) {
		if (errno == ENOTSUPP)
			errx(1, "this kernel records no comparisons: set CONFIG_KCOV_ENABLE_COMPARISONS=y");
		err(1, "cannot enable tracing: use one descriptor for one thread");
	}

	__atomic_store_n(&buffer->count, 0, __ATOMIC_RELAXED);
	lseek(fd, 0, ODD_WHENCE);
	count = __atomic_load_n(&buffer->count, __ATOMIC_RELAXED);

	if (ioctl(fd, KCOV_DISABLE, 0))
		err(1, "cannot disable tracing: do it in the thread that enabled it");
	if (!count)
		errx(1, "no comparison was recorded: build the kernel with CONFIG_KCOV_INSTRUMENT_ALL=y");

	for (i = 0; i < count; i++) {
		const struct comparison *c = &buffer->record[i];
		unsigned int bytes = 1U << ((c->type & KCOV_CMP_MASK) >> 1);

		/* If one operand is a constant, it is the first. */
		printf("pc 0x%" PRIx64 " %u bytes 0x%" PRIx64 " 0x%" PRIx64 "%s\n",
		       c->pc, bytes, c->arg1, c->arg2,
		       c->type & KCOV_CMP_CONST ? " const" : "");
	}
	if (fflush(stdout) || ferror(stdout))
		err(1, "cannot write the comparisons to standard output");

	if (munmap(buffer, BUFFER_BYTES))
		err(1, "cannot unmap the buffer");
	if (close(fd))
		err(1, "cannot close %s", KCOV_FILE);
	return 0;
}
