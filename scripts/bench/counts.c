// SPDX-License-Identifier: GPL-2.0
/*
 * Counts instructions in a user program that is linked with the kernel's own object of KCOV in Rust.
 *
 *   counts
 *
 * prints "FIGURE NUMBER" for each figure. A figure of a hook, and one of kcov_remote_start() or kcov_remote_stop() that
 * ends in .instructions, is the number of instructions of KCOV that one call runs, its return included. One that ends in
 * .calls is the number of calls of functions that do not belong to KCOV; their instructions are not counted.
 *
 * The processor's trap flag raises a signal after each instruction, so the numbers are exact. KCOV itself brings the task
 * into each state: the program opens the file in debugfs and uses its ioctls, through the file operations that KCOV
 * registers. It has the kernel's functions that this needs, in their simplest form. KCOV's code is in a section of its
 * own (see counts.py); the offsets of fields come from the file with offsets that the kernel's build leaves.
 */

#define _GNU_SOURCE
#include <asm/ioctl.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

/* The header of the kernel's tree. */
#include KCOV_H

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Serving a softirq, in the preempt count. */
#define SOFTIRQ 0x100

#define WORDS 8192
#define SET_WORDS 4096
#define AREA_WORDS 1024
#define TABLE_WORDS 4096
/* The word with the number of edges. */
#define EDGE_COUNT 2
/* The range of code that a set of SET_WORDS words covers, which contains the whole program. */
#define TEXT_START 0x400000UL
#define TEXT_SIZE (SET_WORDS * 64UL * 4)

#define COLLECTED (KCOV_SUBSYSTEM_USB | 1)
/* A handle that is not collected, with another bit in its bucket's summary or another bucket. */
#define UNKNOWN (KCOV_SUBSYSTEM_USB | 2)

extern unsigned char __start_kcov_code[], __stop_kcov_code[], __start_callers[], __stop_callers[];

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_cmp1(uint8_t arg1, uint8_t arg2);
void __sanitizer_cov_trace_cmp2(uint16_t arg1, uint16_t arg2);
void __sanitizer_cov_trace_cmp4(uint32_t arg1, uint32_t arg2);
void __sanitizer_cov_trace_cmp8(uint64_t arg1, uint64_t arg2);
void __sanitizer_cov_trace_const_cmp1(uint8_t arg1, uint8_t arg2);
void __sanitizer_cov_trace_const_cmp2(uint16_t arg1, uint16_t arg2);
void __sanitizer_cov_trace_const_cmp4(uint32_t arg1, uint32_t arg2);
void __sanitizer_cov_trace_const_cmp8(uint64_t arg1, uint64_t arg2);
void __sanitizer_cov_trace_switch(uint64_t val, void *cases);
void kcov_remote_start(uint64_t handle);
void kcov_remote_stop(void);
int __kcov_init(void);

static void fail(const char *figure, const char *reason)
{
	fprintf(stderr, "%s: %s\n", figure, reason);
	exit(1);
}

/* Tasks, and how KCOV finds the current one. */

static unsigned char tasks[2][16384] __attribute__((aligned(64)));

#ifdef UML
void *cpu_tasks[64];
#define current_task cpu_tasks[0]
#else
void *current_task;
int __preempt_count;
int cpu_number;
#endif

/* Kernels whose hooks must call a function to find the task, its preempt count, or the CPU. */
#if defined(CONFIG_KCOV_GENERIC_ARCH) || (defined(UML) && defined(CONFIG_SMP))
#define HOOKS_CALL 1
#else
#define HOOKS_CALL 0
#endif

#ifdef CONFIG_KCOV_GENERIC_ARCH
static int generic_preempt_count;

void *kcov_current_task(void)
{
	return current_task;
}

unsigned int kcov_preempt_count(void)
{
	return generic_preempt_count;
}

unsigned int kcov_cpu(void)
{
	return 0;
}
#endif

#ifdef UML
int uml_curr_cpu(void)
{
	return 0;
}
#endif

static void set_preempt_count(int count)
{
#if defined(CONFIG_KCOV_GENERIC_ARCH)
	generic_preempt_count = count;
#elif defined(UML)
	memcpy((unsigned char *)current_task + AT_TASK_PREEMPT_COUNT, &count, sizeof(count));
#else
	__preempt_count = count;
#endif
#ifdef AT_TASK_SOFTIRQ_DISABLE_CNT
	memcpy((unsigned char *)current_task + AT_TASK_SOFTIRQ_DISABLE_CNT, &count, sizeof(count));
#endif
}

static void run_as(unsigned int number)
{
	current_task = tasks[number];
}

/* The kernel's functions that KCOV calls. Missing functions have the address 0. */

/* The tasks have no address space, so KCOV looks for no mapping of its buffers. */
void *rust_helper_get_current(void)
{
	return current_task;
}


struct kcov_text {
	unsigned long start;
	unsigned long size;
	unsigned long modules;
} kcov_text;
unsigned long kcov_kaslr_offset;
unsigned int nr_cpu_ids = 1;
void *system_dfl_wq;
static unsigned char *file_operations;
static void *last_buffer;

void kcov_support_init(void)
{
	kcov_text.start = TEXT_START;
	kcov_text.size = TEXT_SIZE;
}

bool kcov_may_sleep(void)
{
	return true;
}

bool kcov_memory_suffices(unsigned long pages)
{
	(void)pages;
	return true;
}

int kcov_gate_open(void)
{
	return 0;
}

void kcov_gate_close(void)
{
}

void *debugfs_create_file_unsafe(const char *name, unsigned short mode, void *parent, void *data, void *operations)
{
	(void)mode, (void)parent, (void)data;
	if (!strcmp(name, "kcov"))
		file_operations = operations;
	return NULL;
}

void *debugfs_create_file_full(void)
{
	return NULL;
}

void *debugfs_create_dir(void)
{
	return NULL;
}

int nonseekable_open(void *inode, void *file)
{
	(void)inode, (void)file;
	return 0;
}

unsigned long _copy_from_user(void *to, const void *from, unsigned long size)
{
	memcpy(to, from, size);
	return 0;
}

unsigned long rust_helper_copy_from_user(void *to, const void *from, unsigned long size)
{
	return _copy_from_user(to, from, size);
}

unsigned long rust_helper__copy_from_user(void *to, const void *from, unsigned long size)
{
	return _copy_from_user(to, from, size);
}

/* Zeroed, because a caller may ask for zeroed memory. */
static void *reallocate(void *old, size_t size, size_t align)
{
	size_t used = old ? malloc_usable_size(old) : 0;
	void *memory = NULL;

	if (size) {
		if (posix_memalign(&memory, align < 64 ? 64 : align, size))
			return NULL;
		memset(memory, 0, size);
		if (used)
			memcpy(memory, old, used < size ? used : size);
	}
	free(old);
	return memory;
}

void *rust_helper_krealloc_node_align(void *old, size_t size, unsigned long align, unsigned int flags, int node)
{
	(void)flags, (void)node;
	return reallocate(old, size, align);
}

void *rust_helper_vrealloc_node_align(void *old, size_t size, unsigned long align, unsigned int flags, int node)
{
	void *memory = reallocate(old, size, align);

	(void)flags, (void)node;
	if (size == WORDS * sizeof(uint64_t))
		last_buffer = memory;
	return memory;
}

void kfree(void *memory)
{
	free(memory);
}

void vfree(void *memory)
{
	free(memory);
}

void kvfree_atomic(void *memory)
{
	free(memory);
}

int rust_helper_REFCOUNT_INIT(int number)
{
	return number;
}

void rust_helper_refcount_set(int *count, int number)
{
	*count = number;
}

void rust_helper_refcount_inc(int *count)
{
	++*count;
}

bool rust_helper_refcount_dec_and_test(int *count)
{
	return !--*count;
}

#define ATOMIC(prefix, type)								\
	type rust_helper_##prefix##_read(type *value)				\
	{										\
		return *value;								\
	}										\
	type rust_helper_##prefix##_read_acquire(type *value)			\
	{										\
		return *value;								\
	}										\
	void rust_helper_##prefix##_set(type *value, type new)				\
	{										\
		*value = new;								\
	}										\
	void rust_helper_##prefix##_set_release(type *value, type new)			\
	{										\
		*value = new;								\
	}										\
	type rust_helper_##prefix##_xchg(type *value, type new)				\
	{										\
		type old = *value;							\
											\
		*value = new;								\
		return old;								\
	}										\
	type rust_helper_##prefix##_xchg_relaxed(type *value, type new)			\
	{										\
		return rust_helper_##prefix##_xchg(value, new);				\
	}										\
	bool rust_helper_##prefix##_try_cmpxchg(type *value, type *old, type new)	\
	{										\
		bool equal = *value == *old;						\
											\
		*old = *value;								\
		*value = equal ? new : *value;						\
		return equal;								\
	}										\
	bool rust_helper_##prefix##_try_cmpxchg_relaxed(type *value, type *old, type new) \
	{										\
		return rust_helper_##prefix##_try_cmpxchg(value, old, new);		\
	}

#define ATOMIC_NUMBER(prefix, type)							\
	ATOMIC(prefix, type)								\
	void rust_helper_##prefix##_add(type number, type *value)			\
	{										\
		*value += number;							\
	}										\
	type rust_helper_##prefix##_fetch_add(type number, type *value)			\
	{										\
		*value += number;							\
		return *value - number;							\
	}										\
	type rust_helper_##prefix##_fetch_add_relaxed(type number, type *value)		\
	{										\
		return rust_helper_##prefix##_fetch_add(number, value);			\
	}										\
	type rust_helper_##prefix##_fetch_sub(type number, type *value)			\
	{										\
		return rust_helper_##prefix##_fetch_add(-number, value);		\
	}										\
	type rust_helper_##prefix##_fetch_sub_relaxed(type number, type *value)		\
	{										\
		return rust_helper_##prefix##_fetch_add(-number, value);		\
	}

ATOMIC_NUMBER(atomic, int32_t)
ATOMIC_NUMBER(atomic64, int64_t)
ATOMIC(atomic_i8, int8_t)
ATOMIC(atomic_ptr, void *)

bool queue_work_on(void)
{
	return true;
}

bool queue_delayed_work_on(void)
{
	return true;
}

unsigned long __msecs_to_jiffies(unsigned int milliseconds)
{
	return milliseconds;
}

/* There is one thread, so locks and memory barriers do nothing. */
#define NOTHING(name)		\
	void name(void);	\
	void name(void)		\
	{			\
	}

NOTHING(call_rcu)
NOTHING(debugfs_remove)
NOTHING(delayed_work_timer_fn)
NOTHING(mutex_lock)
NOTHING(mutex_unlock)
NOTHING(rust_helper___mutex_init)
NOTHING(rust_helper___spin_lock_init)
NOTHING(rust_helper_init_work_with_key)
NOTHING(rust_helper_local_interrupt_disable)
NOTHING(rust_helper_local_interrupt_enable)
NOTHING(rust_helper_might_resched)
NOTHING(rust_helper_might_sleep)
NOTHING(rust_helper_mutex_assert_is_held)
NOTHING(rust_helper_mutex_lock)
NOTHING(rust_helper_mutex_unlock)
NOTHING(rust_helper_rcu_read_lock)
NOTHING(rust_helper_rcu_read_unlock)
NOTHING(rust_helper_smp_mb)
NOTHING(rust_helper_smp_wmb)
NOTHING(rust_helper_spin_assert_is_held)
NOTHING(rust_helper_spin_lock)
NOTHING(rust_helper_spin_unlock)
NOTHING(rust_helper_spin_lock_irq_disable)
NOTHING(rust_helper_spin_unlock_irq_enable)
NOTHING(timer_init_key)

/* A kernel with the mitigation for return instructions leaves every function through this. */
__asm__(".pushsection kcov_code, \"ax\"\n.globl __x86_return_thunk\n__x86_return_thunk: ret\n.popsection");

/* The gate of x86-64: the first instruction of the hooks is a NOP of five bytes, or a return. */

#define HOOKS(HOOK)										\
	HOOK(trace_pc) HOOK(trace_cmp1) HOOK(trace_cmp2) HOOK(trace_cmp4) HOOK(trace_cmp8)	\
	HOOK(trace_const_cmp1) HOOK(trace_const_cmp2) HOOK(trace_const_cmp4)			\
	HOOK(trace_const_cmp8) HOOK(trace_switch)

#ifdef CONFIG_KCOV_PATCHED_ENTRY
static void set_gate(bool open)
{
#define ENTRY(name) (unsigned char *)__sanitizer_cov_##name,
	static unsigned char *const entries[] = { HOOKS(ENTRY) };
	static const unsigned char endbr[] = { 0xf3, 0x0f, 0x1e, 0xfa }, nop[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	static const unsigned char ret[] = { 0xc3, 0xcc, 0xcc, 0xcc, 0xcc };
	unsigned char *start = (unsigned char *)((uintptr_t)__start_kcov_code & ~4095UL);
	size_t i;

	if (mprotect(start, __stop_kcov_code - start, PROT_READ | PROT_WRITE | PROT_EXEC))
		fail("gate", "the code cannot be made writable");
	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		unsigned char *entry = entries[i];

		entry += memcmp(entry, endbr, sizeof(endbr)) ? 0 : sizeof(endbr);
		/* The last byte of the compiler's NOP may differ. */
		if (memcmp(entry, nop, sizeof(nop) - 1) && memcmp(entry, ret, sizeof(ret)))
			fail("gate", "a hook has no entry that can be patched");
		memcpy(entry, open ? nop : ret, sizeof(nop));
	}
}
#else
static void set_gate(bool open)
{
	(void)open;
}
#endif

/* The file in debugfs. */

#define OPERATION(name) (*(void **)(file_operations + AT_FILE_OPERATIONS_##name))

static unsigned char *open_file(void)
{
	unsigned char *file = calloc(1, 4096);
	int (*open)(void *inode, void *file) = OPERATION(OPEN);

	if (open(NULL, file))
		fail("setting up", "opening the file failed");
	return file;
}

static void call(void *file, unsigned int command, unsigned long argument)
{
	long (*ioctl)(void *file, unsigned int command, unsigned long argument) = OPERATION(UNLOCKED_IOCTL);
	long ret = ioctl(file, command, argument);

	if (ret) {
		fprintf(stderr, "command %#x returns %ld; ", command, ret);
		fail("setting up", "a call of the interface failed");
	}
}

static void enable_remote(void *file, unsigned int mode, unsigned int front)
{
	struct {
		struct kcov_remote_arg arg;
		uint64_t handles[1];
	} request = {
		.arg = { .trace_mode = mode, .area_size = AREA_WORDS, .num_handles = 1, .front_size = front },
		.handles = { COLLECTED },
	};

	call(file, KCOV_REMOTE_ENABLE, (unsigned long)&request);
}

/* Counting. */

static volatile unsigned long steps, calls;
static volatile bool inside;

static void on_step(int signal, siginfo_t *info, void *context)
{
	unsigned char *pc = (unsigned char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	bool now = pc >= __start_kcov_code && pc < __stop_kcov_code;

	(void)signal, (void)info;
	steps += now;
	/* A return to KCOV's caller, or a call, leaves KCOV. */
	calls += inside && !now && !(pc >= __start_callers && pc < __stop_callers);
	inside = now;
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	unsigned long *stack = (unsigned long *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RSP];

	(void)signal;
	fprintf(stderr, "a fault at %p: KCOV calls a function that the program does not have, or does something that a user "
		"program must not (the address on top of the stack is %#lx)\n", info->si_addr, *stack);
	_exit(1);
}

#define TRAP_FLAG_ON() __asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc")
#define TRAP_FLAG_OFF() __asm__ volatile("pushfq\n\tandl $~0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc")

static uint64_t argument;
static uint64_t cases[2 + 4] = { 4, 32, 1, 2, 3, 4 };

/* These functions have a section of their own, and do not end with a jump. */
#define CALL(name, call)							\
	static __attribute__((noinline, section("callers"))) void name(void)	\
	{									\
		call;								\
		__asm__ volatile("" : : : "memory");				\
	}

CALL(trace_pc, __sanitizer_cov_trace_pc())
CALL(trace_pc_elsewhere, __sanitizer_cov_trace_pc())
CALL(trace_cmp1, __sanitizer_cov_trace_cmp1(1, 2))
CALL(trace_cmp2, __sanitizer_cov_trace_cmp2(1, 2))
CALL(trace_cmp4, __sanitizer_cov_trace_cmp4(1, 2))
CALL(trace_cmp8, __sanitizer_cov_trace_cmp8(1, 2))
CALL(trace_const_cmp1, __sanitizer_cov_trace_const_cmp1(1, 2))
CALL(trace_const_cmp2, __sanitizer_cov_trace_const_cmp2(1, 2))
CALL(trace_const_cmp4, __sanitizer_cov_trace_const_cmp4(1, 2))
CALL(trace_const_cmp8, __sanitizer_cov_trace_const_cmp8(1, 2))
CALL(trace_switch, __sanitizer_cov_trace_switch(7, cases))
CALL(start, kcov_remote_start(argument))
CALL(stop, kcov_remote_stop())

static void run_counted(void (*body)(void))
{
	steps = calls = 0;
	inside = false;
	TRAP_FLAG_ON();
	body();
	TRAP_FLAG_OFF();
	if (!steps)
		fail("counting", "no instruction was counted");
}

static const struct hook {
	const char *name;
	void (*call)(void);
	unsigned int mode;
	/* The number of records of a call, and of words of a record. */
	unsigned int records, words;
} hooks[] = {
	{ "trace_pc", trace_pc, KCOV_TRACE_PC, 1, 1 },
#ifdef CONFIG_KCOV_ENABLE_COMPARISONS
	{ "trace_cmp1", trace_cmp1, KCOV_TRACE_CMP, 1, 4 },
	{ "trace_cmp2", trace_cmp2, KCOV_TRACE_CMP, 1, 4 },
	{ "trace_cmp4", trace_cmp4, KCOV_TRACE_CMP, 1, 4 },
	{ "trace_cmp8", trace_cmp8, KCOV_TRACE_CMP, 1, 4 },
	{ "trace_const_cmp1", trace_const_cmp1, KCOV_TRACE_CMP, 1, 4 },
	{ "trace_const_cmp2", trace_const_cmp2, KCOV_TRACE_CMP, 1, 4 },
	{ "trace_const_cmp4", trace_const_cmp4, KCOV_TRACE_CMP, 1, 4 },
	{ "trace_const_cmp8", trace_const_cmp8, KCOV_TRACE_CMP, 1, 4 },
	{ "trace_switch", trace_switch, KCOV_TRACE_CMP, 4, 4 },
#endif
};

/* Runs a hook once; COUNT is the count of the trace that it records to, which grows by RECORDS. */
static void count_hook(const struct hook *hook, const char *state, uint64_t *count, unsigned int records)
{
	uint64_t before = *count;

	run_counted(hook->call);
	if (*count - before != records) {
		fprintf(stderr, "%lld records instead of %u; ", (long long)(*count - before), records);
		fail(hook->name, state);
	}
	if (calls && !HOOKS_CALL)
		fail(hook->name, "the hook calls a function");
	printf("%s.%s %lu\n", hook->name, state, steps);
}

#ifdef CONFIG_KCOV_UNIQUE
static void count_edges(const struct hook *hook, void *file, uint64_t *buffer)
{
	struct hook elsewhere = *hook;

	elsewhere.call = trace_pc_elsewhere;
	memset(buffer, 0, WORDS * sizeof(uint64_t));
	call(file, KCOV_EDGE_ENABLE, TABLE_WORDS);
	/* The second call after a reset does more than the others. */
	hook->call();
	hook->call();
	count_hook(hook, "edge_repeated", &buffer[EDGE_COUNT], 0);
	count_hook(&elsewhere, "edge_new", &buffer[EDGE_COUNT], 1);
	call(file, KCOV_DISABLE, 0);
}
#endif

/* With a buffer of the task's own. */
static void count_in_task(const struct hook *hook)
{
	unsigned char *file = open_file();
	uint64_t *buffer;
	uint64_t none = 0;

	call(file, KCOV_INIT_TRACE, WORDS);
	buffer = last_buffer;
	set_gate(false);
	count_hook(hook, "off", &none, 0);
	set_gate(true);
	call(file, KCOV_ENABLE, hook->mode);
	run_as(1);
	count_hook(hook, "on", &buffer[0], 0);
	run_as(0);
	count_hook(hook, "collecting", &buffer[0], hook->records);
	set_preempt_count(SOFTIRQ);
	count_hook(hook, "interrupt", &buffer[0], 0);
	set_preempt_count(0);
	buffer[0] = (WORDS - 1) / hook->words;
	count_hook(hook, "full", &buffer[0], 0);
	call(file, KCOV_DISABLE, 0);
#ifdef CONFIG_KCOV_ENABLE_COMPARISONS
	call(file, KCOV_ENABLE, hook->mode == KCOV_TRACE_PC ? KCOV_TRACE_CMP : KCOV_TRACE_PC);
	buffer[0] = 0;
	count_hook(hook, "other_mode", &buffer[0], 0);
	call(file, KCOV_DISABLE, 0);
	call(file, KCOV_PC_CMP_ENABLE, WORDS / 2);
	buffer[0] = buffer[WORDS / 2] = 0;
	count_hook(hook, "both", &buffer[hook->mode == KCOV_TRACE_PC ? 0 : WORDS / 2], hook->records);
	call(file, KCOV_DISABLE, 0);
#endif
#ifdef CONFIG_KCOV_UNIQUE
	if (hook->mode == KCOV_TRACE_PC) {
		memset(buffer, 0, WORDS * sizeof(uint64_t));
		call(file, KCOV_UNIQUE_ENABLE, SET_WORDS);
		count_hook(hook, "unique_new", &buffer[SET_WORDS], 1);
		count_hook(hook, "unique_repeated", &buffer[SET_WORDS], 0);
		call(file, KCOV_DISABLE, 0);
		count_edges(hook, file, buffer);
	}
#endif
}

/* In the section of a softirq. Its records go to the buffer when it ends. */
static void count_in_softirq(const struct hook *hook)
{
	unsigned char *file = open_file();
	uint64_t *buffer, none = 0;

	call(file, KCOV_INIT_TRACE, WORDS);
	buffer = last_buffer;
	enable_remote(file, hook->mode, 0);
	set_preempt_count(SOFTIRQ);
	kcov_remote_start(COLLECTED);
	count_hook(hook, "softirq", &none, 0);
	kcov_remote_stop();
	set_preempt_count(0);
	if (buffer[0] != hook->records)
		fail(hook->name, "the section of a softirq did not record what it should");
	call(file, KCOV_DISABLE, 0);
}

static void print_section(const char *name, const char *state)
{
	printf("%s.%s.instructions %lu\n%s.%s.calls %lu\n", name, state, steps, name, state, calls);
}

/* Start and stop. In between, PCS PCs are recorded, which must be in BUFFER at the end. */
static void count_section(const char *state, uint64_t handle, uint64_t *buffer, unsigned int pcs)
{
	uint64_t before = buffer ? buffer[0] : 0;
	unsigned int i;

	argument = handle;
	run_counted(start);
	print_section("start", state);
	for (i = 0; i < pcs; i++)
		trace_pc();
	run_counted(stop);
	print_section("stop", state);
	if (buffer && buffer[0] - before != pcs)
		fail(state, "the section did not record what it should");
}

static void count_sections(void)
{
	unsigned char *file;
	uint64_t *buffer;

	count_section("zero", 0, NULL, 0);
	count_section("unknown", UNKNOWN, NULL, 0);

	file = open_file();
	call(file, KCOV_INIT_TRACE, WORDS);
	buffer = last_buffer;
	enable_remote(file, KCOV_TRACE_PC, 0);
	/* Sections run in another task than the one that has enabled KCOV. */
	run_as(1);
	count_section("zero_while_collecting", 0, buffer, 0);
	count_section("unknown_while_collecting", UNKNOWN, buffer, 0);
	/* The first section lays the area out. */
	kcov_remote_start(COLLECTED);
	kcov_remote_stop();
	count_section("collected_empty", COLLECTED, buffer, 0);
	count_section("collected", COLLECTED, buffer, 10);
	kcov_remote_start(COLLECTED);
	count_section("unknown_inside", UNKNOWN, buffer, 0);
	kcov_remote_stop();
	set_preempt_count(SOFTIRQ);
	kcov_remote_start(COLLECTED);
	kcov_remote_stop();
	count_section("softirq_empty", COLLECTED, buffer, 0);
	count_section("softirq", COLLECTED, buffer, 10);
	set_preempt_count(0);
	run_as(0);
	call(file, KCOV_DISABLE, 0);
}

int main(void)
{
	struct sigaction stepping = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };
	struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	size_t i;

	sigaction(SIGTRAP, &stepping, NULL);
	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGILL, &fault, NULL);
	run_as(0);
	if (__kcov_init() || !file_operations)
		fail("setting up", "KCOV could not be initialised");
	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		count_in_task(&hooks[i]);
		count_in_softirq(&hooks[i]);
	}
	count_sections();
	return 0;
}
