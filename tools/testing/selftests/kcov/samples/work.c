// SPDX-License-Identifier: GPL-2.0
/*
 * Has the sample module work for this process elsewhere: what the samples of remote coverage
 * then collect.
 */
#include <err.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "kcov_sample.h"

int main(void)
{
	int fd = open("/dev/kcov-sample", O_RDWR);

	if (fd < 0)
		err(1, "cannot open /dev/kcov-sample: set CONFIG_SAMPLE_KCOV_MODULE=y");
	if (ioctl(fd, KCOV_SAMPLE_WORK))
		err(1, "cannot queue the work");
	return 0;
}
