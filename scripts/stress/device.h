/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface of KCOV in short.  A call that fails returns the negative errno.
 */
#ifndef KCOV_STRESS_DEVICE_H
#define KCOV_STRESS_DEVICE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kcov.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What is configured out. */
#ifndef ENOTSUPP
#define ENOTSUPP	524
#endif

static inline int kcov_open(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static inline long kcov_ioctl(int fd, unsigned long command, unsigned long argument)
{
	return ioctl(fd, command, argument) ? -errno : 0;
}

static inline long kcov_init(int fd, unsigned long words)
{
	return kcov_ioctl(fd, KCOV_INIT_TRACE, words);
}

static inline long kcov_enable(int fd, unsigned long mode)
{
	return kcov_ioctl(fd, KCOV_ENABLE, mode);
}

static inline long kcov_disable(int fd)
{
	return kcov_ioctl(fd, KCOV_DISABLE, 0);
}

/* A system call that does next to nothing. */
static inline void kcov_mark(void)
{
	syscall(SYS_getpriority, PRIO_PROCESS, 0);
}

#endif
