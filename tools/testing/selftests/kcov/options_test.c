// SPDX-License-Identifier: GPL-2.0
/*
 * The modes that can be configured out. A mode that the kernel was built without returns ENOTSUPP,
 * after the checks of the state and before those of the arguments, and changes nothing. A mode that
 * it has works as usual.
 *
 * If the configuration is not known, the first answer decides which modes the kernel has, and all
 * others must agree.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

#define WORDS		4096UL
#define AREA_WORDS	64
#define HANDLE		(KCOV_SUBSYSTEM_COMMON | 0x7e5d0002)
/* The handle of a bus is not a common handle. */
#define MALFORMED	(KCOV_SUBSYSTEM_USB | 1)

FIXTURE(mode) {
	uint64_t *area;
	int fd, other;
	bool offered;
};

FIXTURE_VARIANT(mode) {
	const char *option;
	unsigned long command;
	uint32_t remote_mode;
	/* A size of the front for WORDS words that leaves space in both parts. */
	uint32_t front;
};

FIXTURE_VARIANT_ADD(mode, unique) {
	.option = "CONFIG_KCOV_UNIQUE",
	.command = KCOV_UNIQUE_ENABLE,
	.remote_mode = KCOV_TRACE_UNIQUE_PC,
	.front = 1,
};

FIXTURE_VARIANT_ADD(mode, both) {
	.option = "CONFIG_KCOV_ENABLE_COMPARISONS",
	.command = KCOV_PC_CMP_ENABLE,
	.remote_mode = KCOV_TRACE_PC_CMP,
	.front = WORDS / 2,
};

FIXTURE_VARIANT_ADD(mode, edge) {
	.option = "CONFIG_KCOV_UNIQUE",
	.command = KCOV_EDGE_ENABLE,
	.remote_mode = KCOV_TRACE_EDGE,
	.front = WORDS / 2,
};

FIXTURE_SETUP(mode)
{
	const char *missing = symbols_missing();
	long ret;

	if (missing)
		SKIP(return, "%s", missing);
	self->fd = kcov_open_mapped(WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	self->other = kcov_open();
	ASSERT_LE(0, self->other);
	ret = kcov_ioctl(self->fd, variant->command, variant->front);
	if (ret == -ENOTTY)
		SKIP(return, "this implementation divides no buffers");
	if (!ret)
		ASSERT_EQ(0, kcov_disable(self->fd));
	switch (kernel_option(variant->option)) {
	case OPTION_NO:
		self->offered = false;
		break;
	case OPTION_YES:
		self->offered = true;
		break;
	case OPTION_UNKNOWN:
		self->offered = ret != -ENOTSUPP;
		break;
	}
}

FIXTURE_TEARDOWN(mode)
{
	close(self->other);
	close(self->fd);
}

TEST_F(mode, local)
{
	const long good = self->offered ? 0 : -ENOTSUPP;
	const long bad = self->offered ? -EINVAL : -ENOTSUPP;
	const unsigned long command = variant->command, front = variant->front;

	/* A missing buffer, an enabled descriptor and a busy thread are checked first. */
	EXPECT_EQ(-EINVAL, kcov_ioctl(self->other, command, front));
	ASSERT_EQ(0, kcov_init(self->other, WORDS));
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	EXPECT_EQ(-EINVAL, kcov_ioctl(self->fd, command, front));
	EXPECT_EQ(-EBUSY, kcov_ioctl(self->other, command, front));
	/* The plain mode still works, and has the reset that came with the other modes. */
	EXPECT_EQ(0, kcov_ioctl(self->fd, KCOV_RESET_TRACE, 0));
	EXPECT_EQ(0, kcov_disable(self->fd));

	/* The argument is checked last. */
	EXPECT_EQ(bad, kcov_ioctl(self->fd, command, 0));
	EXPECT_EQ(bad, kcov_ioctl(self->fd, command, WORDS));
	EXPECT_EQ(bad, kcov_ioctl(self->fd, command, ~0UL));
	EXPECT_EQ(-EINVAL, kcov_disable(self->fd));
	EXPECT_EQ(good, kcov_ioctl(self->fd, command, front));
	EXPECT_EQ(self->offered ? 0 : -EINVAL, kcov_disable(self->fd));
	EXPECT_EQ(NULL, kcov_unusable(self->fd, self->area));
}

TEST_F(mode, remote)
{
	const long good = self->offered ? 0 : -ENOTSUPP;
	const long bad = self->offered ? -EINVAL : -ENOTSUPP;
	const uint32_t mode = variant->remote_mode, front = variant->front;
	int fd = self->fd, other = self->other;

	EXPECT_EQ(-EINVAL, kcov_remote_divided(other, mode, front, AREA_WORDS, HANDLE, 0));
	ASSERT_EQ(0, kcov_init(other, WORDS));
	ASSERT_EQ(0, kcov_remote_divided(fd, KCOV_TRACE_PC, 0, AREA_WORDS, HANDLE, 0));
	EXPECT_EQ(-EINVAL, kcov_remote_divided(fd, mode, front, AREA_WORDS, HANDLE, 0));
	EXPECT_EQ(-EBUSY, kcov_remote_divided(other, mode, front, AREA_WORDS, HANDLE, 0));
	EXPECT_EQ(0, kcov_ioctl(fd, KCOV_RESET_TRACE, 0));
	EXPECT_EQ(0, kcov_disable(fd));

	/* The mode comes before what goes with it, and before the handles. */
	EXPECT_EQ(bad, kcov_remote_divided(fd, mode, 0, AREA_WORDS, HANDLE, 0));
	EXPECT_EQ(bad, kcov_remote_divided(fd, mode, ~0U, AREA_WORDS, HANDLE, 0));
	EXPECT_EQ(bad, kcov_remote_divided(fd, mode, front, AREA_WORDS, MALFORMED, 0));
	EXPECT_EQ(-EINVAL, kcov_disable(fd));
	EXPECT_EQ(good, kcov_remote_divided(fd, mode, front, AREA_WORDS, HANDLE, 0));
	EXPECT_EQ(self->offered ? 0 : -EINVAL, kcov_disable(fd));
	/* None of these calls has kept the handle. */
	EXPECT_EQ(0, kcov_remote_divided(other, KCOV_TRACE_PC, 0, AREA_WORDS, HANDLE, 0));
	EXPECT_EQ(0, kcov_disable(other));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
