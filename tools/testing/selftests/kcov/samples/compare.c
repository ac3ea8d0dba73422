// SPDX-License-Identifier: GPL-2.0
/* Has a sample module compare numbers, which is code of the module that this process runs. */
#include <err.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "kcov_sample.h"

int main(int argc, char **argv)
{
	const struct kcov_sample_operands operands = { .u64 = { 1, 2 } };
	int fd;

	if (argc != 2)
		errx(2, "usage: compare DEVICE");
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		err(1, "cannot open %s: load the sample module", argv[1]);
	if (ioctl(fd, KCOV_SAMPLE_COMPARE, &operands))
		err(1, "%s does not compare", argv[1]);
	return 0;
}
