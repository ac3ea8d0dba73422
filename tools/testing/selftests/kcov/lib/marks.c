// SPDX-License-Identifier: GPL-2.0
/*
 * System calls that are recognised in a trace; see kcov.h.  Apart from the rest, for a
 * program that uses none of them shall not look for the sample module first.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kcov.h"
#include "kcov_sample.h"
#include "symbols.h"

/* A sample module, where nothing else can be collected. */
static int sample = -1;
static bool only_sample;

/* Before anything is collected, and what is done here with it. */
__attribute__((constructor)) static void find_code(void)
{
	only_sample = kernel_option("CONFIG_KCOV_INSTRUMENT_ALL") == OPTION_NO;
	if (only_sample)
		sample = open("/dev/kcov-sample", O_RDWR | O_CLOEXEC);
}

const char *code_missing(void)
{
	return only_sample ?
		"the kernel's own code is not instrumented (CONFIG_KCOV_INSTRUMENT_ALL)" : NULL;
}

static void use_sample(void)
{
	static const struct kcov_sample_operands operands;

	if (only_sample)
		syscall(SYS_ioctl, sample, KCOV_SAMPLE_COMPARE, &operands);
}

void mark_one(void)
{
	syscall(SYS_getpriority, PRIO_PROCESS, 0);
	use_sample();
}

void mark_two(void)
{
	syscall(SYS_getsid, 0);
	use_sample();
}

bool cover_fill(uint64_t *area, unsigned long words)
{
	uint64_t before, after;

	for (after = cover_count(area); after < words - 1; ) {
		before = after;
		mark_one();
		after = cover_count(area);
		if (after <= before)
			return false;
	}
	return true;
}

const char *kcov_unusable(int fd, uint64_t *area)
{
	bool collected;

	cover_reset(area);
	if (kcov_enable(fd, KCOV_TRACE_PC))
		return "KCOV_ENABLE fails";
	mark_two();
	if (kcov_disable(fd))
		return "KCOV_DISABLE fails";
	collected = code_missing() ? cover_count(area) : covers_syscall(area, MARK_TWO);
	cover_reset(area);
	return collected ? NULL : "nothing is collected";
}
