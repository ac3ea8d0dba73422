/* SPDX-License-Identifier: GPL-2.0 */
/* Declarations that the programs of system calls share with those that run and record them. */
#ifndef KCOV_TRACES_H
#define KCOV_TRACES_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * run() is what is traced, again and again: it leaves everything as it found it.
 * prepare() is called once before, in the same process, and may leave behind what it likes.
 */
struct program {
	const char *name;
	void (*prepare)(void);
	void (*run)(void);
};

extern const struct program file_programs[], channel_programs[], network_programs[];
extern const struct program memory_programs[], signal_programs[], task_programs[];

/* Ends the process: a program that fails shows nothing about what it was meant to call. */
void complain(const char *file, int line, const char *what) __attribute__((noreturn));

#define expect(condition)                                               \
	do {                                                            \
		if (!(condition))                                       \
			complain(__FILE__, __LINE__, #condition);       \
	} while (0)

#define expect_error(number, call)                                      \
	do {                                                            \
		errno = 0;                                              \
		expect((long)(call) == -1 && errno == (number));        \
	} while (0)

/* An address that is never mapped; the compiler shall not know it. */
static inline void *nowhere(void)
{
	void *address = (void *)8;

	__asm__("" : "+r"(address));
	return address;
}

/*
 * Code that runs between the two is not part of the trace: waiting for another task takes a way
 * through the kernel that depends on which of the two is quicker.
 */
void quiet_begin(void);
void quiet_end(void);

#endif
