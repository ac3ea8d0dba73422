// SPDX-License-Identifier: GPL-2.0
/*
 * 32-bit clients of a 64-bit kernel: their system calls end in compat_ioctl, and their pointers
 * have 32 bits, but they collect the same.
 *
 * This program is a 64-bit one that makes 32-bit system calls, so that it needs no 32-bit C
 * library.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"
#include "symbols.h"

#define WORDS		8192UL
#define COMMON_HANDLE	(KCOV_SUBSYSTEM_COMMON | 0x7e570020)

/* The numbers of 32-bit system calls; <sys/syscall.h> has the 64-bit ones. */
enum { IA32_OPEN = 5, IA32_CLOSE = 6, IA32_IOCTL = 54, IA32_GETPRIORITY = 96, IA32_MMAP2 = 192 };

#ifdef __x86_64__
static long call32(unsigned int number, unsigned int a, unsigned int b, unsigned int c,
		   unsigned int d, unsigned int e, unsigned int f)
{
	unsigned long sixth = f;
	long result = number;

	/* The sixth argument is in rbp, which may be the frame pointer. */
	asm volatile("xchg %%rbp, %[sixth]\n\tint $0x80\n\txchg %%rbp, %[sixth]"
		     : "+a"(result), [sixth] "+r"(sixth)
		     : "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
		     : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}
#else
static long call32(unsigned int number, unsigned int a, unsigned int b, unsigned int c,
		   unsigned int d, unsigned int e, unsigned int f)
{
	return -ENOSYS;
}
#endif

static long ioctl32(int fd, unsigned int cmd, unsigned long arg)
{
	return call32(IA32_IOCTL, fd, cmd, arg, 0, 0, 0);
}

FIXTURE(compat) {
	char *low;		/* memory that a 32-bit pointer can address */
	uint64_t *area;
	int fd;
};

FIXTURE_SETUP(compat)
{
#ifdef __x86_64__
	self->low = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, self->low);
	/* A kernel without 32-bit calls raises a fault, so this is checked first. */
	if (access("/proc/sys/abi/ldt16", F_OK) && access("/proc/sys/abi", F_OK))
		SKIP(return, "no 32-bit system calls (CONFIG_IA32_EMULATION)");
	strcpy(self->low, KCOV_DEVICE);
	self->fd = call32(IA32_OPEN, (unsigned long)self->low, 2, 0, 0, 0, 0);
	ASSERT_LE(0, self->fd);
#else
	SKIP(return, "this program makes no 32-bit system calls on this architecture");
#endif
}

FIXTURE_TEARDOWN(compat)
{
	close(self->fd);
}

static void map32(FIXTURE_DATA(compat) *self)
{
	long ret = call32(IA32_MMAP2, 0, WORDS * 8, PROT_READ | PROT_WRITE,
			  MAP_SHARED, self->fd, 0);

	self->area = (uint64_t *)(unsigned long)(unsigned int)ret;
}

/* The command of a 32-bit kernel is unknown: a client asks for the size. */
TEST_F(compat, commands)
{
	EXPECT_EQ(-ENOTTY, ioctl32(self->fd, 0x80046301, WORDS));
	EXPECT_EQ(-ENOTTY, ioctl32(self->fd, 0x40106366, 0));
	EXPECT_EQ(0, ioctl32(self->fd, 0x80086301, WORDS));
	EXPECT_EQ(-EBUSY, ioctl32(self->fd, 0x80086301, WORDS));
	EXPECT_EQ(-EINVAL, ioctl32(self->fd, 0x80086301, 1));
	EXPECT_EQ(-EINVAL, ioctl32(self->fd, KCOV_DISABLE, 0));
	EXPECT_EQ(0, ioctl32(self->fd, KCOV_ENABLE, KCOV_TRACE_PC));
	EXPECT_EQ(-EINVAL, ioctl32(self->fd, KCOV_DISABLE, 1));
	EXPECT_EQ(0, ioctl32(self->fd, KCOV_DISABLE, 0));
	EXPECT_EQ(-EINVAL, ioctl32(self->fd, KCOV_ENABLE, ~0UL));
}

TEST_F(compat, sizes)
{
	EXPECT_EQ(-EINVAL, ioctl32(self->fd, KCOV_INIT_TRACE, 0));
	EXPECT_EQ(-EINVAL, ioctl32(self->fd, KCOV_INIT_TRACE, ~0UL));
	EXPECT_EQ(-EINVAL, ioctl32(self->fd, KCOV_INIT_TRACE, 0x10000000));
	/* Only 32 bits of the argument are passed. */
	EXPECT_EQ(0, ioctl32(self->fd, KCOV_INIT_TRACE, (1UL << 32) + WORDS));
}

/* The mapping is below 4 GiB and has words of 64 bits. */
TEST_F(compat, collects_pcs)
{
	uint64_t i, count;

	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	ASSERT_EQ(0, ioctl32(self->fd, KCOV_INIT_TRACE, WORDS));
	map32(self);
	ASSERT_LT(0xffffUL, (unsigned long)self->area);
	ASSERT_GT(0xfffff000UL, (unsigned long)self->area);
	ASSERT_EQ(0, ioctl32(self->fd, KCOV_ENABLE, KCOV_TRACE_PC));
	call32(IA32_GETPRIORITY, 0, 0, 0, 0, 0, 0);
	ASSERT_EQ(0, ioctl32(self->fd, KCOV_DISABLE, 0));
	count = cover_count(self->area);
	ASSERT_LT(0, count);
	ASSERT_GT(WORDS - 1, count);
	for (i = 1; i <= count; i++)
		ASSERT_TRUE(in_kernel_text(self->area[i] - 1));
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
}

TEST_F(compat, collects_comparisons)
{
	enum { IA32_PERSONALITY = 136 };
	uint64_t i, count;
	bool found = false;
	long ret;

	if (code_missing())
		SKIP(return, "%s", code_missing());
	ASSERT_EQ(0, ioctl32(self->fd, KCOV_INIT_TRACE, WORDS));
	map32(self);
	ASSERT_GT(0xfffff000UL, (unsigned long)self->area);
	ret = ioctl32(self->fd, KCOV_ENABLE, KCOV_TRACE_CMP);
	if (ret == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_EQ(0, ret);
	ret = call32(IA32_PERSONALITY, 0x0badcafe, 0, 0, 0, 0, 0);
	call32(IA32_PERSONALITY, ret, 0, 0, 0, 0, 0);
	ASSERT_EQ(0, ioctl32(self->fd, KCOV_DISABLE, 0));
	count = cover_count(self->area);
	ASSERT_LT(0, count);
	ASSERT_GE((WORDS - 1) / WORDS_PER_CMP, count);
	for (i = 0; i < count; i++) {
		uint64_t *record = &self->area[1 + WORDS_PER_CMP * i];

		ASSERT_GE(7, record[0]);
		found |= record[1] == 0xffffffff && record[2] == 0x0badcafe;
	}
	EXPECT_TRUE(found);
}

/* The argument's layout is the same for both, so that no conversion is needed. */
TEST_F(compat, remote_enable)
{
	struct kcov_remote_arg *arg = (struct kcov_remote_arg *)(self->low + 4096);
	int other = kcov_open();
	struct worker worker;

	EXPECT_EQ(24, sizeof(*arg));
	EXPECT_EQ(16, offsetof(struct kcov_remote_arg, common_handle));
	EXPECT_EQ(24, offsetof(struct kcov_remote_arg, handles));
	ASSERT_EQ(0, ioctl32(self->fd, KCOV_INIT_TRACE, WORDS));
	EXPECT_EQ(-EFAULT, ioctl32(self->fd, KCOV_REMOTE_ENABLE, 0));
	arg->area_size = 1024;
	arg->num_handles = 1;
	arg->common_handle = COMMON_HANDLE;
	arg->handles[0] = KCOV_SUBSYSTEM_USB | 0x7e570020;
	EXPECT_EQ(0, ioctl32(self->fd, KCOV_REMOTE_ENABLE, (unsigned long)arg));
	/*
	 * The handles are taken until the descriptor is disabled, so they were passed completely.
	 */
	ASSERT_EQ(0, kcov_init(other, WORDS));
	ASSERT_EQ(0, worker_start(&worker));
	EXPECT_EQ(-EEXIST, worker_ioctl(&worker, other, KCOV_REMOTE_ENABLE, (unsigned long)arg));
	EXPECT_EQ(0, ioctl32(self->fd, KCOV_DISABLE, 0));
	EXPECT_EQ(0, worker_ioctl(&worker, other, KCOV_REMOTE_ENABLE, (unsigned long)arg));
	worker_end(&worker);
	close(other);
}

/* Both kinds of system calls of one thread are collected. */
TEST_F(compat, both_kinds_of_calls_mix)
{
	ASSERT_EQ(0, kcov_init(self->fd, WORDS));
	self->area = kcov_map(self->fd, WORDS);
	ASSERT_NE(NULL, self->area);
	ASSERT_EQ(0, ioctl32(self->fd, KCOV_ENABLE, KCOV_TRACE_PC));
	call32(IA32_GETPRIORITY, 0, 0, 0, 0, 0, 0);
	mark_two();
	ASSERT_EQ(0, kcov_disable(self->fd));
	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	EXPECT_TRUE(covers_syscall(self->area, MARK_ONE));
	EXPECT_TRUE(covers_syscall(self->area, MARK_TWO));
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
