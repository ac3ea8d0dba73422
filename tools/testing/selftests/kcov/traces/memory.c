// SPDX-License-Identifier: GPL-2.0
/* Programs about address spaces: mappings, page faults, protection, and what is said about them. */
#include "traces.h"

#include <linux/membarrier.h>

enum { PAGE = 4096 };

static int backing;
static char *window;

static void backing_prepare(void)
{
	backing = memfd_create("backing", 0);
	expect(backing >= 0 && !ftruncate(backing, 16 * PAGE));
	window = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, backing,
		      0);
	expect(window != MAP_FAILED);
}

static void anonymous(void)
{
	char *memory = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(memory != MAP_FAILED);
	for (int page = 0; page < 4; page++)
		((volatile char *)memory)[page * PAGE] = 1;
	(void)((volatile char *)memory)[6 * PAGE];
	expect(!munmap(memory + 2 * PAGE, PAGE));
	expect(!munmap(memory, 8 * PAGE));
}

static void mapping_errors(void)
{
	expect_error(EINVAL, mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	expect_error(EBADF, mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0));
	expect_error(EINVAL, syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, backing, 77));
	expect_error(EINVAL, munmap((void *)77, PAGE));
	expect_error(EINVAL, mprotect((void *)77, PAGE, PROT_READ));
	expect_error(ENOMEM, mprotect((void *)(1UL << 40), PAGE, PROT_READ));
	expect_error(EEXIST, mmap(window, PAGE, PROT_READ,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
}

static void protection(void)
{
	expect(!mprotect(window, 2 * PAGE, PROT_READ));
	expect(!mprotect(window + PAGE, 4 * PAGE, PROT_NONE));
	expect(!mprotect(window, 8 * PAGE, PROT_READ | PROT_WRITE));
	((volatile char *)window)[0] = 1;
	expect_error(EINVAL, mprotect(window, PAGE, 0x40000000));
}

static void remap(void)
{
	char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(memory != MAP_FAILED);
	memory[0] = 1;
	memory = mremap(memory, 4 * PAGE, 32 * PAGE, MREMAP_MAYMOVE);
	expect(memory != MAP_FAILED && memory[0] == 1);
	expect(mremap(memory, 32 * PAGE, 2 * PAGE, 0) == memory);
	expect_error(EINVAL, mremap(memory, PAGE, PAGE, 0x77));
	expect(!munmap(memory, 2 * PAGE));
}

static void advice(void)
{
	char *memory = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(memory != MAP_FAILED);
	memory[PAGE] = 1;
	expect(!madvise(memory, 8 * PAGE, MADV_DONTNEED));
	expect(!madvise(memory, PAGE, MADV_DONTFORK));
	expect(!madvise(memory, 8 * PAGE, MADV_WILLNEED) || errno == EBADF);
	expect_error(EINVAL, madvise(memory, PAGE, 0x5a5a));
	expect(!munmap(memory, 8 * PAGE));
}

static void heap(void)
{
	unsigned long end = syscall(SYS_brk, 0);

	expect((unsigned long)syscall(SYS_brk, end + 4 * PAGE) == end + 4 * PAGE);
	*(volatile char *)(end + 2 * PAGE) = 1;
	expect((unsigned long)syscall(SYS_brk, end) == end);
	expect((unsigned long)syscall(SYS_brk, 1) == end);
}

static void locked(void)
{
	expect(!mlock(window, 2 * PAGE));
	expect(!munlock(window, 2 * PAGE));
	expect(!mlock2(window, PAGE, 1));
	expect(!munlock(window, PAGE));
	expect_error(EINVAL, mlock2(window, PAGE, 0x70));
	expect_error(ENOMEM, mlock((void *)(1UL << 40), PAGE));
}

static void shared_file(void)
{
	char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, backing, 4 * PAGE);
	char *private = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, backing, 0);

	expect(memory != MAP_FAILED && private != MAP_FAILED);
	memory[0] = 1;
	private[0] = 1;
	expect(!msync(memory, 4 * PAGE, MS_SYNC));
	expect_error(EINVAL, msync(memory, PAGE, 0x70));
	expect(!munmap(private, 2 * PAGE));
	expect(!munmap(memory, 4 * PAGE));
}

static void residence(void)
{
	unsigned char present[8];

	expect(!mincore(window, 8 * PAGE, present));
	expect_error(EINVAL, mincore(window + 1, PAGE, present));
	expect_error(ENOMEM, mincore((void *)(1UL << 40), PAGE, present));
	expect(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) >= 0);
	expect_error(EINVAL, syscall(SYS_membarrier, 0x4000, 0, 0));
}

static int own_memory;

static void own_memory_prepare(void)
{
	backing_prepare();
	own_memory = open("/proc/self/mem", O_RDWR);
	expect(own_memory >= 0);
}

static void proc_memory(void)
{
	char bytes[64];

	expect(pread(own_memory, bytes, sizeof(bytes), (off_t)(uintptr_t)window) == sizeof(bytes));
	expect(pwrite(own_memory, bytes, sizeof(bytes), (off_t)(uintptr_t)window) == sizeof(bytes));
	expect_error(EIO, pread(own_memory, bytes, sizeof(bytes), 8));
}

const struct program memory_programs[] = {
	{ "mmap", NULL, anonymous },
	{ "mmap-errors", backing_prepare, mapping_errors },
	{ "mprotect", backing_prepare, protection },
	{ "mremap", NULL, remap },
	{ "madvise", NULL, advice },
	{ "brk", NULL, heap },
	{ "mlock", backing_prepare, locked },
	{ "mmap-file", backing_prepare, shared_file },
	{ "mincore", backing_prepare, residence },
	{ "proc-memory", own_memory_prepare, proc_memory },
	{ 0 },
};
