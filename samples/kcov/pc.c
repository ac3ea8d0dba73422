// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the kernel code that runs for one read(2) that fails.
 *
 * The output is one PC per line and nothing else, so that it can be piped to "addr2line -p -f -i -s
 * -e vmlinux". The kernel has already subtracted the offset of KASLR: the addresses are those of
 * vmlinux and of System.map.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kcov.h>

#define KCOV_FILE	"/sys/kernel/debug/kcov"
/* The size of the buffer in words: the count and up to 65535 PCs. */
#define BUFFER_WORDS	(64UL << 10)
#define BUFFER_BYTES	(BUFFER_WORDS * sizeof(unsigned long))

int main(void)
{
	unsigned long *buffer, count, i;
	ssize_t result;
	int fd, error;

	/* One open file is one descriptor, which follows one task at a time. */
	fd = open(KCOV_FILE, O_RDWR);
	if (fd < 0)
		err(1, "cannot open %s: run as root, mount debugfs and set CONFIG_KCOV=y",
		    KCOV_FILE);

	if (ioctl(fd, KCOV_INIT_TRACE, BUFFER_WORDS))
		err(1, "cannot allocate a buffer of %lu words: choose a smaller size",
		    BUFFER_WORDS);

	/* The length must be the size of the buffer, and the offset must be 0. */
	buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	if (buffer == MAP_FAILED)
		err(1, "cannot map the buffer: the length must be exactly %lu bytes",
		    BUFFER_BYTES);

	if (ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
		err(1, "cannot enable tracing: use one descriptor for one thread");

	/* Discards the records of the return from KCOV_ENABLE. */
	__atomic_store_n(&buffer[0], 0, __ATOMIC_RELAXED);

	result = read(-1, NULL, 0);
	error = errno;

	/* This thread has written the count, in the kernel: no ordering is needed. */
	count = __atomic_load_n(&buffer[0], __ATOMIC_RELAXED);

	/* Stops before printing: write(2) would be recorded, too. */
	if (ioctl(fd, KCOV_DISABLE, 0))
		err(1, "cannot disable tracing: do it in the thread that enabled it");

	if (result != -1 || error != EBADF)
		errx(1, "read(-1, NULL, 0) did not fail with EBADF: run it without a tool that intercepts system calls");
	if (!count)
		errx(1, "no PC was recorded: build the kernel with CONFIG_KCOV_INSTRUMENT_ALL=y");

	for (i = 0; i < count; i++)
		printf("0x%lx\n", buffer[i + 1]);
	if (fflush(stdout) || ferror(stdout))
		err(1, "cannot write the PCs to standard output");

	if (munmap(buffer, BUFFER_BYTES))
		err(1, "cannot unmap the buffer");
	if (close(fd))
		err(1, "cannot close %s", KCOV_FILE);
	return 0;
}
