/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The functions that all programs of the suite use: descriptors, their buffers, a second thread
 * that runs functions on request, and the kernel's log.
 *
 * A call that fails returns the negative errno, so that a test can name it.
 */
#ifndef KCOV_SELFTEST_KCOV_H
#define KCOV_SELFTEST_KCOV_H

#include <linux/kcov.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>
#include <time.h>

#define KCOV_DEVICE	"/sys/kernel/debug/kcov"

/* Not an errno for users, so <errno.h> has no name for it. */
#ifndef ENOTSUPP
#define ENOTSUPP	524
#endif

/* Large enough for every system call of these tests, small enough to be quick. */
#define COVER_WORDS	(64UL << 10)

#define WORDS_PER_CMP	4

/* A record of a comparison. */
struct record {
	uint64_t type;
	uint64_t arg1;
	uint64_t arg2;
	uint64_t pc;
};

/*
 * More than an interrupt leaves. An interrupt that comes between a hook's load and its store of the
 * count is recorded, but not counted: its records stay after the end of the trace, which the count
 * determines, until they are overwritten.
 */
#define INTERRUPT_RECORDS	64

/* Types: bit 0 says "one is a constant", bits 1 and 2 are log2 of the size. */
#define VARIABLE(size)	KCOV_CMP_SIZE(size)
#define CONSTANT(size)	(KCOV_CMP_SIZE(size) | KCOV_CMP_CONST)

int kcov_open(void);
long kcov_ioctl(int fd, unsigned long cmd, unsigned long arg);
/* Returns the buffer of @words words, or NULL with errno set. */
uint64_t *kcov_map(int fd, unsigned long words);
void kcov_unmap(uint64_t *area, unsigned long words);
/* Does open, KCOV_INIT_TRACE and mmap; returns a negative errno if one of them fails. */
int kcov_open_mapped(unsigned long words, uint64_t **area);

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

/*
 * KCOV_REMOTE_ENABLE with at most one handle of each kind; 0 is none. Modes that divide
 * the buffer take the size of the front.
 */
long kcov_remote_divided(int fd, uint32_t mode, uint32_t front, uint32_t area_size,
			 uint64_t common, uint64_t handle);

static inline long kcov_remote_enable(int fd, uint32_t mode, uint32_t area_size,
				      uint64_t common, uint64_t handle)
{
	return kcov_remote_divided(fd, mode, 0, area_size, common, handle);
}

/*
 * Returns the result of the command on a separate descriptor with a buffer, which is disabled
 * afterwards if necessary.
 */
long kcov_answer(unsigned long cmd, unsigned long arg);
/* Returns NULL if this kernel records comparisons, or the reason why not. */
const char *comparisons_missing(void);

static inline uint64_t cover_count(const volatile uint64_t *area)
{
	return __atomic_load_n(&area[0], __ATOMIC_ACQUIRE);
}

static inline void cover_reset(volatile uint64_t *area)
{
	__atomic_store_n(&area[0], 0, __ATOMIC_RELEASE);
}

/*
 * System calls that do very little and that nothing else in these programs makes: a trace shows
 * each by its function's name. Without CONFIG_KCOV_INSTRUMENT_ALL, they also use a sample module.
 */
#define MARK_ONE	"getpriority"
#define MARK_TWO	"getsid"
void mark_one(void);
void mark_two(void);

/*
 * Makes calls until a buffer of @words words is full. Returns false if a call left no record
 * although the buffer had space.
 */
bool cover_fill(uint64_t *area, unsigned long words);

/*
 * For a loop that waits for another task, with @since set to 0 before: returns whether it may
 * continue to wait. After PATIENCE seconds it returns false, and the test fails before the harness
 * ends it, which gives a test half a minute.
 */
#define PATIENCE	20
bool may_wait(time_t *since);

/*
 * For a child that waits or works until it is killed: makes it end together with its parent, which
 * may have failed, and after @seconds seconds.
 */
void be_mortal(unsigned int seconds);
/* Longer than any test lets a child live. */
#define LIFETIME	300

/* A thread that executes one function at a time. */
struct worker {
	pthread_t thread;
	sem_t request;
	sem_t done;
	long (*function)(void *argument);
	void *argument;
	long result;
};

int worker_start(struct worker *worker);
/*
 * Returns what the function does. How long that may take is up to the test, whose time
 * limit ends what hangs. After PATIENCE seconds, a message names what has not returned.
 */
#define worker_run(worker, function, arg) \
	worker_run_named(worker, #function, function, arg)
#define worker_ioctl(worker, fd, cmd, arg) \
	worker_ioctl_named(worker, #cmd, fd, cmd, arg)
long worker_run_named(struct worker *worker, const char *name, long (*function)(void *),
		      void *arg);
long worker_ioctl_named(struct worker *worker, const char *name, int fd, unsigned long cmd,
			unsigned long arg);
/* Returns when the thread has gone through the kernel's exit path. */
void worker_end(struct worker *worker);

/*
 * Returns whether the configuration has "name=y". The variable KCOV_CONFIG may name its file, for
 * guests without /proc/config.gz.
 */
enum option { OPTION_NO, OPTION_YES, OPTION_UNKNOWN };
enum option kernel_option(const char *name);
/* Returns the number of an option, or @otherwise without the option or the configuration. */
uint64_t kernel_number(const char *name, uint64_t otherwise);
/* Returns whether the kernel was booted with @parameter, or with one that contains it. */
bool on_command_line(const char *parameter);

/*
 * Returns NULL if the kernel's own code can be collected, or the reason why not. Without
 * CONFIG_KCOV_INSTRUMENT_ALL, only the sample modules can be.
 */
const char *code_missing(void);

/* Returns NULL if the descriptor can be enabled and collects, or a description of the problem. */
const char *kcov_unusable(int fd, uint64_t *area);

/* Binds the calling thread to a CPU; returns 0 or a negative errno. */
int run_on(int cpu);

/* Waits for a child; returns its status from waitpid(), or -1. */
int exit_status(pid_t child);

/* Sends a descriptor to another process. */
int send_fd(int socket, int fd);
int receive_fd(int socket);

/*
 * Returns whether the kernel's log since kmsg_open() contains a report of a bug. A log that cannot
 * be read counts as one. The next call continues after the report.
 */
int kmsg_open(void);
bool kmsg_reports_bug(int kmsg, char *line, size_t size);
/* Returns the number of records of the log since kmsg_open() that contain @text, or an error. */
int kmsg_count(int kmsg, const char *text);
/* Makes warnings that come once in a boot come again. */
int warn_again(void);

/* Returns whether GCC built the C code of the running kernel. */
bool kernel_built_by_gcc(void);

/* Return the memory in MiB: all of it, and the available part. */
unsigned long memory_total(void);
unsigned long memory_available(void);
/* Returns the memory that vmalloc() has allocated. */
unsigned long memory_vmalloc(void);

#endif
