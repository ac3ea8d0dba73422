// SPDX-License-Identifier: GPL-2.0
/* Opening the device and giving the descriptor a buffer. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"

#define WORDS	8192UL

TEST(open_gives_independent_descriptors)
{
	uint64_t *one, *two;
	int first = kcov_open_mapped(WORDS, &one);
	int second = kcov_open_mapped(2 * WORDS, &two);

	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	ASSERT_EQ(0, kcov_enable(second, KCOV_TRACE_PC));
	mark_one();
	ASSERT_EQ(0, kcov_disable(second));
	EXPECT_EQ(0, cover_count(one));
	EXPECT_LT(0, cover_count(two));
}

TEST(device_is_for_root_only)
{
	struct stat stat_buffer;
	int status;
	pid_t child;

	ASSERT_EQ(0, stat(KCOV_DEVICE, &stat_buffer));
	EXPECT_EQ(0600, stat_buffer.st_mode & 07777);
	EXPECT_EQ(0, stat_buffer.st_uid);
	EXPECT_TRUE(S_ISREG(stat_buffer.st_mode));
	ASSERT_LE(0, kcov_open());
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		if (setresuid(65534, 65534, 65534))
			_exit(2);
		_exit(kcov_open() == -EACCES ? 0 : 1);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST(cannot_seek_read_or_write)
{
	char byte = 0;
	int fd = kcov_open();

	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, lseek(fd, 0, SEEK_SET));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, pread(fd, &byte, 1, 0));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, read(fd, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(fd, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
}

/* The access mode limits the mapping, not the commands. */
TEST(read_only_descriptor_takes_commands)
{
	int fd = open(KCOV_DEVICE, O_RDONLY);
	uint64_t *area;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kcov_init(fd, WORDS));
	EXPECT_EQ(NULL, kcov_map(fd, WORDS));
	EXPECT_EQ(EACCES, errno);
	area = mmap(NULL, WORDS * 8, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, area);
	ASSERT_EQ(0, kcov_enable(fd, KCOV_TRACE_PC));
	mark_one();
	ASSERT_EQ(0, kcov_disable(fd));
	EXPECT_LT(0, cover_count(area));
}

/* Programs keep the command in an int, whose sign reaches the upper half. */
TEST(command_has_32_bits)
{
	int fd = kcov_open();

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, kcov_ioctl(fd, (unsigned long)(int)KCOV_INIT_TRACE, WORDS));
	EXPECT_EQ(0, kcov_ioctl(fd, KCOV_ENABLE | 0xabcdUL << 32, KCOV_TRACE_PC));
	EXPECT_EQ(0, kcov_disable(fd));
}

TEST(init_size_limits)
{
	static const unsigned long bad[] = {
		0, 1, INT_MAX / 8 + 1UL, INT_MAX, UINT_MAX,
		1UL << 32, (1UL << 32) + WORDS, 1UL << 61, (1UL << 61) + WORDS, ~0UL,
	};
	size_t i;
	int fd = kcov_open();

	ASSERT_LE(0, fd);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, kcov_init(fd, bad[i]))
			TH_LOG("%lu words", bad[i]);
	/* The smallest buffer: a count and one PC. */
	EXPECT_EQ(0, kcov_init(fd, 2));
	EXPECT_EQ(0, kcov_enable(fd, KCOV_TRACE_PC));
	mark_one();
	EXPECT_EQ(0, kcov_disable(fd));
}

TEST(init_of_largest_size)
{
	int fd = kcov_open();

	ASSERT_LE(0, fd);
	if (memory_total() < 2000) {
		EXPECT_EQ(-ENOMEM, kcov_init(fd, INT_MAX / 8));
		/* Memory is allocated before the state is checked. */
		EXPECT_EQ(0, kcov_init(fd, WORDS));
		EXPECT_EQ(-ENOMEM, kcov_init(fd, INT_MAX / 8));
		EXPECT_EQ(0, kcov_enable(fd, KCOV_TRACE_PC));
		EXPECT_EQ(0, kcov_disable(fd));
	} else if (memory_available() > 3000) {
		EXPECT_EQ(0, kcov_init(fd, INT_MAX / 8));
	} else {
		SKIP(return, "2 GiB are neither clearly available nor clearly not");
	}
}

/* The descriptor stays usable after a mapping was refused. */
TEST(init_after_refused_mapping)
{
	int fd = kcov_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(NULL, kcov_map(fd, WORDS));
	EXPECT_EQ(0, kcov_init(fd, WORDS));
	EXPECT_NE(NULL, kcov_map(fd, WORDS));
}

TEST_HARNESS_MAIN
