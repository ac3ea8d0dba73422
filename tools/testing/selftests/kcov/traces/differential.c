// SPDX-License-Identifier: GPL-2.0
/*
 * Runs small programs of system calls and writes what KCOV recorded of them into files.
 *
 *   differential DIRECTORY
 *
 * Each program runs in both modes, each time in PROCESSES fresh processes one after the other:
 * what depends on the process, like its number, is then seen to vary. A process repeats the
 * program, without keeping the trace at first, until caches are warm.
 * DIRECTORY/NAME.MODE.PROCESS holds REPEATS traces in the layout of the kcov buffer: the number
 * of records as a word, then the records.
 */
#include "traces.h"

#include <linux/kcov.h>
#include <sys/personality.h>

#include "kcov.h"

enum {
	PROCESSES = 2,
	WARMUPS = 4,
	REPEATS = 5,
	WORDS = 1 << 16,
};

static const struct program *const groups[] = {
	file_programs, channel_programs, network_programs,
	memory_programs, signal_programs, task_programs,
};

static const struct {
	const char *name;
	unsigned long mode;
	size_t words;
} modes[] = {
	{ "pc", KCOV_TRACE_PC, 1 },
	{ "cmp", KCOV_TRACE_CMP, 4 },
};

static const char *current_program = "start";
static volatile uint64_t *area;
static uint64_t kept;

void complain(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s: %s:%d: %s (%s)\n", current_program, file, line, what, strerror(errno));
	_exit(1);
}

void quiet_begin(void)
{
	kept = area[0];
}

void quiet_end(void)
{
	area[0] = kept;
}

static void write_all(int fd, const void *data, size_t size)
{
	const char *rest = data;

	while (size) {
		ssize_t written = write(fd, rest, size);

		expect(written > 0);
		rest += written;
		size -= written;
	}
}

static void collect(const struct program *program, size_t mode, const char *path)
{
	uint64_t *buffer;
	int device = kcov_open_mapped(WORDS, &buffer);
	int output = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	expect(device >= 0 && output >= 0);
	area = buffer;
	/* A child would not use it, and to copy the mapping makes for a long trace of fork(). */
	expect(!madvise((void *)area, WORDS * sizeof(*area), MADV_DONTFORK));
	/*
	 * The first access to a page of the buffer is a fault, which does not belong into a
	 * trace.
	 */
	for (size_t word = 0; word < WORDS; word += 512)
		area[word] = 0;
	if (program->prepare)
		program->prepare();
	expect(!ioctl(device, KCOV_ENABLE, modes[mode].mode));
	for (int repeat = -WARMUPS; repeat < REPEATS; repeat++) {
		uint64_t records;

		__atomic_store_n(&area[0], 0, __ATOMIC_SEQ_CST);
		program->run();
		records = __atomic_load_n(&area[0], __ATOMIC_SEQ_CST);
		expect(records > 0 && 1 + (records + 1) * modes[mode].words < WORDS);
		if (repeat >= 0) {
			/*
			 * Writing is recorded too, behind the trace; the count in the buffer
			 * does not stand still.
			 */
			write_all(output, &records, sizeof(records));
			write_all(output, (const void *)(area + 1),
				  records * modes[mode].words * sizeof(*area));
		}
	}
	expect(!ioctl(device, KCOV_DISABLE, 0UL));
}

static int in_a_process(const struct program *program, size_t mode, int number,
			const char *directory)
{
	char path[256];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/%s.%s.%d", directory, program->name, modes[mode].name,
		 number);
	pid = fork();
	expect(pid >= 0);
	if (!pid) {
		current_program = program->name;
		/* A program that waits for ever shall not take the others along. */
		alarm(20);
		collect(program, mode, path);
		_exit(0);
	}
	expect(waitpid(pid, &status, 0) == pid);
	if (status && WIFSIGNALED(status))
		fprintf(stderr, "%s: ended by signal %d\n", program->name, WTERMSIG(status));
	return status;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: differential DIRECTORY\n");
		return 2;
	}
	/*
	 * Addresses are operands of comparisons; those of user space shall be the same each
	 * time.
	 */
	if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
		expect(personality(ADDR_NO_RANDOMIZE) >= 0);
		execv("/proc/self/exe", argv);
		complain(__FILE__, __LINE__, "execv");
	}
	/*
	 * Everything on one processor: two would race. Not the first, which serves most
	 * interrupts.
	 */
	expect(!run_on(sysconf(_SC_NPROCESSORS_ONLN) - 1));
	for (size_t group = 0; group < sizeof(groups) / sizeof(*groups); group++)
		for (const struct program *program = groups[group]; program->name; program++)
			for (size_t mode = 0; mode < sizeof(modes) / sizeof(*modes); mode++)
				for (int number = 0; number < PROCESSES; number++)
					failed |= in_a_process(program, mode, number, argv[1]);
	return failed ? 1 : 0;
}
