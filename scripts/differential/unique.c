// SPDX-License-Identifier: GPL-2.0
/*
 * Runs the programs of the differential test with each PC once, and in plain mode: both have the same set of PCs.
 *
 *   unique
 *
 * One trace is not always like the next: an interrupt makes the kernel take another way back to user space, and caches
 * fill. So a program runs in turns until a trace of the one mode has the PCs of one of the other. Where that does not
 * happen, no PC of all traces of the one mode may be missing in all of the other, as one that the one mode loses would.
 * Prints a line for each program: its name, "equal", "alike" or "differs", how many PCs were recorded in plain mode and
 * with each once, and the turns it took. The status is 3 on a kernel without the mode.
 */
#include "differential.h"

#include <linux/kcov.h>
#include <sched.h>

/* One file after the other is compiled into this one program. */
#include "files.c"
#include "channels.c"
#include "network.c"
#include "memory.c"
#include "signals.c"
#include "tasks.c"

enum {
	WARMUPS = 4,
	/* Of each mode. */
	TURNS = 30,
	TRACE_WORDS = 1 << 16,
	PAGE_WORDS = 512,
	WITHOUT = 3,
};

static const struct program *const groups[] = {
	file_programs, channel_programs, network_programs, memory_programs, signal_programs, task_programs,
};

/* The PCs of a run, in order, each once. */
struct pcs {
	size_t recorded, number;
	uint64_t *sorted;
};

static const char *current_program = "start";
static size_t set_words, words;
static volatile uint64_t *area, *trace;
/*
 * What quiet_begin() keeps: the count, and the set. In memory that a child does not get, or the first access after
 * fork() would be a fault, whose PCs would be in the set that is kept and not in the trace.
 */
static uint64_t *kept;
static int device;

void complain(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s: %s:%d: %s (%s)\n", current_program, file, line, what, strerror(errno));
	_exit(1);
}

/* Writes to the stack as far down as the calls after this one reach. */
__attribute__((noinline)) static void touch_stack(void)
{
	volatile char below[8192];

	for (size_t i = 0; i < sizeof(below); i += 512)
		below[i] = 0;
}

void quiet_begin(void)
{
	/*
	 * After fork(), the first write to a page is a fault. One that comes between the two lines that keep the count
	 * and the set would be in the set only, and a later one, of another page, would not be recorded.
	 */
	touch_stack();
	kept[0] = trace[0];
	if (trace != area)
		memcpy(kept + 1, (const void *)area, set_words * sizeof(*kept));
}

void quiet_end(void)
{
	if (trace != area)
		memcpy((void *)area, kept + 1, set_words * sizeof(*kept));
	trace[0] = kept[0];
}

static size_t words_of_set(void)
{
	FILE *file = fopen("/sys/kernel/debug/kcov_statistics/set_words", "r");
	size_t number = 0;

	expect(file && fscanf(file, "%zu", &number) == 1 && number > 0);
	fclose(file);
	return (number + PAGE_WORDS - 1) / PAGE_WORDS * PAGE_WORDS;
}

static int by_value(const void *left, const void *right)
{
	uint64_t one = *(const uint64_t *)left, other = *(const uint64_t *)right;

	return one < other ? -1 : one > other;
}

static void sort(struct pcs *pcs)
{
	pcs->number = 0;
	qsort(pcs->sorted, pcs->recorded, sizeof(*pcs->sorted), by_value);
	for (size_t i = 0; i < pcs->recorded; i++)
		if (!pcs->number || pcs->sorted[pcs->number - 1] != pcs->sorted[i])
			pcs->sorted[pcs->number++] = pcs->sorted[i];
}

static void collect(const struct program *program, int once, struct pcs *pcs)
{
	trace = once ? area + set_words : area;
	expect(!ioctl(device, once ? KCOV_UNIQUE_ENABLE : KCOV_ENABLE, once ? set_words : (unsigned long)KCOV_TRACE_PC));
	memset((void *)area, 0, set_words * sizeof(*area));
	__atomic_store_n(&trace[0], 0, __ATOMIC_SEQ_CST);
	program->run();
	pcs->recorded = __atomic_load_n(&trace[0], __ATOMIC_SEQ_CST);
	expect(!ioctl(device, KCOV_DISABLE, 0UL));
	expect(pcs->recorded > 0 && pcs->recorded < TRACE_WORDS - 1);
	memcpy(pcs->sorted, (const void *)(trace + 1), pcs->recorded * sizeof(*pcs->sorted));
	sort(pcs);
}

static int has(const struct pcs *pcs, uint64_t pc)
{
	return !!bsearch(&pc, pcs->sorted, pcs->number, sizeof(pc), by_value);
}

/* A PC that is in all traces of the one and in none of the other; 0 if there is none. */
static uint64_t missing(const struct pcs *here, const struct pcs *there)
{
	for (size_t i = 0; i < here[0].number; i++) {
		uint64_t pc = here[0].sorted[i];
		int always = 1, ever = 0;

		for (int turn = 0; turn < TURNS; turn++) {
			always &= has(&here[turn], pc);
			ever |= has(&there[turn], pc);
		}
		if (always && !ever)
			return pc;
	}
	return 0;
}

static int compare(const struct program *program)
{
	static struct pcs pcs[2][TURNS];
	int turn = 0, equal = 0;
	struct pcs *plain = NULL, *once = NULL;
	uint64_t lost = 0, added = 0;

	for (int mode = 0; mode < 2; mode++)
		for (int i = 0; i < TURNS; i++)
			expect((pcs[mode][i].sorted = malloc(TRACE_WORDS * sizeof(uint64_t))));
	if (program->prepare)
		program->prepare();
	for (int warmup = 0; warmup < WARMUPS; warmup++) {
		collect(program, 0, &pcs[0][0]);
		collect(program, 1, &pcs[1][0]);
	}
	for (; turn < TURNS && !equal; turn++) {
		/* Not always the same one first: what a program does may depend on how often it ran. */
		collect(program, turn & 1, &pcs[turn & 1][turn]);
		collect(program, !(turn & 1), &pcs[!(turn & 1)][turn]);
		/* Never a PC twice. */
		expect(pcs[1][turn].number == pcs[1][turn].recorded);
		for (int left = 0; left <= turn && !equal; left++)
			for (int right = 0; right <= turn && !equal; right++) {
				plain = &pcs[0][left];
				once = &pcs[1][right];
				equal = plain->number == once->number &&
					!memcmp(plain->sorted, once->sorted, once->number * sizeof(uint64_t));
			}
	}
	if (!equal) {
		lost = missing(pcs[0], pcs[1]);
		added = missing(pcs[1], pcs[0]);
		if (lost)
			fprintf(stderr, "%s: %#lx is only there in plain mode\n", program->name, (unsigned long)lost);
		if (added)
			fprintf(stderr, "%s: %#lx is never there in plain mode\n", program->name, (unsigned long)added);
	}
	printf("%s %s %zu %zu %d\n", program->name, equal ? "equal" : lost || added ? "differs" : "alike",
	       plain->recorded, once->recorded, turn);
	return lost || added;
}

static int in_a_process(const struct program *program)
{
	int status;
	pid_t pid = fork();

	expect(pid >= 0);
	if (!pid) {
		current_program = program->name;
		/* A program that waits for ever shall not take the others along. */
		alarm(60);
		device = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
		expect(device >= 0);
		expect(!ioctl(device, KCOV_INIT_TRACE, words));
		area = mmap(NULL, words * sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
		expect(area != MAP_FAILED);
		/* A child would not use it, and to copy the mapping makes for a long trace of fork(). */
		expect(!madvise((void *)area, words * sizeof(*area), MADV_DONTFORK));
		kept = mmap(NULL, words * sizeof(*kept), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		expect(kept != MAP_FAILED && !madvise(kept, words * sizeof(*kept), MADV_DONTFORK));
		status = compare(program);
		fflush(stdout);
		_exit(status);
	}
	expect(waitpid(pid, &status, 0) == pid);
	if (status && WIFSIGNALED(status))
		fprintf(stderr, "%s: ended by signal %d\n", program->name, WTERMSIG(status));
	return status;
}

int main(void)
{
	cpu_set_t cpus;
	int failed = 0;

	device = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	expect(device >= 0);
	if (ioctl(device, KCOV_UNIQUE_ENABLE, 0UL) && (errno == ENOTTY || errno == 524))
		return WITHOUT;
	close(device);
	set_words = words_of_set();
	words = set_words + TRACE_WORDS;
	/* Everything on one processor: two would race. Not the first, which serves most interrupts. */
	CPU_ZERO(&cpus);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &cpus);
	expect(!sched_setaffinity(0, sizeof(cpus), &cpus));
	for (size_t group = 0; group < sizeof(groups) / sizeof(*groups); group++)
		for (const struct program *program = groups[group]; program->name; program++)
			failed |= in_a_process(program);
	return failed ? 1 : 0;
}
