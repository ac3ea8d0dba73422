// SPDX-License-Identifier: GPL-2.0
/*
 * Runs the programs of the differential test with each PC once, and in plain mode: both have
 * the same set of PCs.
 *
 *   unique
 *
 * In each trace with each PC once, the set has the bits of the PCs in the trace and no others:
 * nothing counts as seen that was not recorded, whatever interrupts came.
 *
 * One trace is not always like the next: an interrupt makes the kernel take another way back to
 * user space, and caches fill. So a program runs in turns, and the traces that no interrupt has
 * come in are compared: one of the one mode has the PCs of one of the other, and no PC that is
 * in all traces of the one mode is missing in more than half of the other's, as one that the
 * one mode loses would be. If that is not so yet, there are more turns: it is not by chance
 * then. The same holds where only traces of the one mode lack PCs now and then. On a host with
 * too much to do, an interrupt may come in nearly every trace of a long program. Then only the
 * sets are compared, with their own traces, and the result is "interrupted".
 *
 * Prints a line for each program: its name, "equal", "alike", "interrupted" or "differs", how
 * many PCs were recorded in plain mode and with each once, and the turns it took; and a line of
 * what was left out. The status is 3 on a kernel without the mode.
 */
#include "traces.h"

#include <linux/kcov.h>

#include "divided.h"
#include "interrupts.h"
#include "kcov.h"

enum {
	WARMUPS = 4,
	/* Of each mode, at least, without a result, and at most. */
	LEAST_TURNS = 8,
	TURNS = 30,
	MOST_TURNS = 100,
	/*
	 * So many traces that lack something, all of the one mode, are not by chance: 1 of 2^16
	 * times.
	 */
	ONE_SIDED = 16,
	TRACE_WORDS = 1 << 16,
	PAGE_WORDS = 512,
	WITHOUT = 3,
};

static const struct program *const groups[] = {
	file_programs, channel_programs, network_programs,
	memory_programs, signal_programs, task_programs,
};

/* The PCs of a run, in order, each once. */
struct pcs {
	size_t recorded, number;
	uint64_t *sorted;
	/* No interrupt came. */
	int quiet;
};

static const char *current_program = "start";
static size_t front, image_words, words;
/* Where the bits of PCs start: those of the kernel's image, and those of modules. */
static uint64_t image, modules;
static volatile uint64_t *area, *trace;
/*
 * The count and the set that quiet_begin() keeps, in memory that a child does not get, or the
 * first access after fork() would be a fault, whose PCs would be in the set that is kept and
 * not in the trace.
 */
static uint64_t *kept;
/* The set of a trace, in such memory, too. */
static uint64_t *wanted;
static int device;

void complain(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s: %s:%d: %s (%s)\n", current_program, file, line, what, strerror(errno));
	_exit(1);
}

/* Memory that a child does not get, so that fork() does not depend on what was written there. */
static void *memory_of_this_process(size_t bytes, int flags)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	expect(memory != MAP_FAILED && !madvise(memory, bytes, MADV_DONTFORK));
	return memory;
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
	/* After fork(), the first write to a page is a fault, which would be in the trace. */
	touch_stack();
	/* A record of an interrupt in between is in the count and in the set, or in neither. */
	do {
		kept[0] = trace[0];
		if (trace != area)
			memcpy(kept + 1, (const void *)area, front * sizeof(*kept));
	} while (kept[0] != trace[0]);
}

void quiet_end(void)
{
	do {
		if (trace != area)
			memcpy((void *)area, kept + 1, front * sizeof(*kept));
		trace[0] = kept[0];
	} while (trace != area && memcmp((const void *)area, kept + 1, front * sizeof(*kept)));
}

static size_t words_of_set(void)
{
	size_t number = statistic("set_words");

	expect(number > 0);
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

/* The position of the bit of a PC. */
static uint64_t position(uint64_t pc)
{
	uint64_t bytes = image_words * 256;

	return (pc - (pc - image < bytes ? image : modules)) / 4;
}

/* The set has the bits of what was recorded, and nothing else. */
static void check_set(const struct pcs *pcs, const uint64_t *set)
{
	memset(wanted, 0, front * sizeof(*wanted));
	for (size_t i = 0; i < pcs->recorded; i++) {
		uint64_t bit = position(pcs->sorted[i]);

		if (bit / 64 < front)
			wanted[bit / 64] |= 1ULL << bit % 64;
	}
	for (size_t i = 0; i < front; i++) {
		if (wanted[i] == set[i])
			continue;
		fprintf(stderr, "%s: word %zu of the set is %#lx, the trace has %#lx\n",
			current_program, i, (unsigned long)set[i], (unsigned long)wanted[i]);
		expect(!"the set is that of the trace");
	}
}

static void collect(const struct program *program, int once, struct pcs *pcs)
{
	uint64_t before = interrupts(), recorded;

	trace = once ? area + front : area;
	expect(once ? !kcov_ioctl(device, KCOV_UNIQUE_ENABLE, front) :
		      !kcov_enable(device, KCOV_TRACE_PC));
	/* Nothing is recorded meanwhile, so the count and the set agree. */
	expect(!ioctl(device, KCOV_RESET_TRACE, 0UL));
	program->run();
	/* Nothing is written that a child has got: that would be a fault. */
	do {
		recorded = __atomic_load_n(&trace[0], __ATOMIC_SEQ_CST);
		if (once)
			memcpy(kept, (const void *)area, front * sizeof(*kept));
	} while (recorded != __atomic_load_n(&trace[0], __ATOMIC_SEQ_CST));
	expect(!ioctl(device, KCOV_DISABLE, 0UL));
	pcs->recorded = recorded;
	pcs->quiet = interrupts() == before;
	expect(pcs->recorded > 0 && pcs->recorded < TRACE_WORDS - 1);
	memcpy(pcs->sorted, (const void *)(trace + 1), pcs->recorded * sizeof(*pcs->sorted));
	if (once)
		check_set(pcs, kept);
	sort(pcs);
}

static int has(const struct pcs *pcs, uint64_t pc)
{
	return !!bsearch(&pc, pcs->sorted, pcs->number, sizeof(pc), by_value);
}

/* Returns how many of the traces no interrupt has come in. */
static int number_of(const struct pcs *pcs, int turns)
{
	int number = 0;

	for (int turn = 0; turn < turns; turn++)
		number += pcs[turn].quiet;
	return number;
}

/*
 * A PC that is in all traces of the one without an interrupt, and in less than half of such
 * traces of the other; 0 if there is none.
 */
static uint64_t missing(const struct pcs *here, const struct pcs *there, int turns)
{
	int all_here = number_of(here, turns), all_there = number_of(there, turns);
	const struct pcs *first = here;
	uint64_t found = 0;

	while (!first->quiet)
		first++;
	for (size_t i = 0; i < first->number; i++) {
		uint64_t pc = first->sorted[i];
		int in_here = 0, in_there = 0;

		for (int turn = 0; turn < turns; turn++) {
			in_here += here[turn].quiet && has(&here[turn], pc);
			in_there += there[turn].quiet && has(&there[turn], pc);
		}
		if (in_here < all_here)
			continue;
		if (2 * in_there < all_there)
			found = pc;
	}
	return found;
}

/*
 * Counts the traces without an interrupt that lack a PC which nearly all of them have, whatever
 * the mode. As many of the one mode as of the other do, unless the one mode loses PCs now and
 * then.
 */
static void count_lacking(const struct pcs pcs[2][MOST_TURNS], int turns, int lacking[2])
{
	int all = number_of(pcs[0], turns) + number_of(pcs[1], turns);
	static char counted[2][MOST_TURNS];

	memset(counted, 0, sizeof(counted));
	lacking[0] = lacking[1] = 0;
	for (int i = 0; i < 2 * turns; i++) {
		const struct pcs *first = &pcs[i & 1][i / 2];

		/* Each PC of nearly all traces is in one of any few. */
		if (!first->quiet || i >= 2 * LEAST_TURNS)
			continue;
		for (size_t pc = 0; pc < first->number; pc++) {
			int in = 0;

			for (int j = 0; j < 2 * turns; j++)
				in += pcs[j & 1][j / 2].quiet &&
				      has(&pcs[j & 1][j / 2], first->sorted[pc]);
			if (in == all || 10 * in < 9 * all)
				continue;
			for (int j = 0; j < 2 * turns; j++)
				if (pcs[j & 1][j / 2].quiet &&
				    !has(&pcs[j & 1][j / 2], first->sorted[pc]))
					counted[j & 1][j / 2] = 1;
		}
	}
	for (int j = 0; j < 2 * turns; j++)
		lacking[j & 1] += counted[j & 1][j / 2];
}

static int same(const struct pcs *one, const struct pcs *other)
{
	return one->number == other->number &&
	       !memcmp(one->sorted, other->sorted, one->number * sizeof(*one->sorted));
}

static int compare(const struct program *program)
{
	static struct pcs pcs[2][MOST_TURNS];
	int turn = 0, equal = 0, lacking[2] = { 0 }, suspect = 0;
	struct pcs *plain = &pcs[0][0], *once = &pcs[1][0];
	uint64_t lost = 0, added = 0, *room;
	const char *result;
	int enough = 0;

	room = memory_of_this_process(sizeof(*room) * TRACE_WORDS * 2 * MOST_TURNS, MAP_NORESERVE);
	for (int i = 0; i < 2 * MOST_TURNS; i++)
		pcs[i & 1][i / 2].sorted = room + (size_t)i * TRACE_WORDS;
	if (program->prepare)
		program->prepare();
	for (int warmup = 0; warmup < WARMUPS; warmup++) {
		collect(program, 0, &pcs[0][0]);
		collect(program, 1, &pcs[1][0]);
	}
	while (turn < LEAST_TURNS ||
	       (turn < (enough ? TURNS : MOST_TURNS) && (!equal || lost || added)) ||
	       (turn < MOST_TURNS && suspect)) {
		int some;

		/*
		 * Not always the same one first: what a program does may depend on how often it
		 * ran.
		 */
		collect(program, turn & 1, &pcs[turn & 1][turn]);
		collect(program, !(turn & 1), &pcs[!(turn & 1)][turn]);
		/* Never a PC twice. */
		expect(pcs[1][turn].number == pcs[1][turn].recorded);
		turn++;
		some = number_of(pcs[0], turn) && number_of(pcs[1], turn);
		enough = number_of(pcs[0], turn) >= LEAST_TURNS &&
			 number_of(pcs[1], turn) >= LEAST_TURNS;
		for (int left = 0; left < turn && !equal && some; left++)
			for (int right = 0; right < turn && !equal; right++) {
				if (!pcs[0][left].quiet || !pcs[1][right].quiet)
					continue;
				plain = &pcs[0][left];
				once = &pcs[1][right];
				equal = same(plain, once);
			}
		lost = enough ? missing(pcs[0], pcs[1], turn) : 0;
		added = enough ? missing(pcs[1], pcs[0], turn) : 0;
		/*
		 * Both modes lack something, or one lacks it too often: until then it may be
		 * chance.
		 */
		count_lacking(pcs, turn, lacking);
		suspect = !lacking[0] && lacking[1] && lacking[1] < ONE_SIDED;
	}
	if (lost)
		fprintf(stderr, "%s: %#lx is mostly missing with each PC once, never otherwise\n",
			program->name, (unsigned long)lost);
	if (added)
		fprintf(stderr, "%s: %#lx is mostly missing in plain mode, never otherwise\n",
			program->name, (unsigned long)added);
	suspect = !lacking[0] && lacking[1] >= ONE_SIDED;
	if (suspect)
		fprintf(stderr, "%s: %d traces with each PC once lack PCs of all in plain mode\n",
			program->name, lacking[1]);
	result = lost || added || suspect ? "differs" : equal ? "equal" :
		 enough ? "alike" : "interrupted";
	printf("%s %s %zu %zu %d\n", program->name, result, plain->recorded, once->recorded, turn);
	printf("# %s: without an interrupt: %d and %d turns, of which %d and %d lack a common PC\n",
	       program->name, number_of(pcs[0], turn), number_of(pcs[1], turn), lacking[0],
	       lacking[1]);
	return lost || added || suspect;
}

static int in_a_process(const struct program *program)
{
	uint64_t *buffer;
	int status;
	pid_t pid = fork();

	expect(pid >= 0);
	if (!pid) {
		current_program = program->name;
		/* A program that waits for ever shall not take the others along. */
		alarm(300);
		device = kcov_open_mapped(words, &buffer);
		expect(device >= 0);
		area = buffer;
		/*
		 * A child would not use it, and to copy the mapping makes for a long trace of
		 * fork().
		 */
		expect(!madvise((void *)area, words * sizeof(*area), MADV_DONTFORK));
		kept = memory_of_this_process(words * sizeof(*kept), MAP_POPULATE);
		wanted = memory_of_this_process(front * sizeof(*wanted), MAP_POPULATE);
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
	int failed = 0;

	if (unique_missing())
		return WITHOUT;
	front = words_of_set();
	image_words = statistic("set_words");
	image = statistic("set_start");
	modules = statistic("set_modules");
	expect(!interrupts_missing());
	words = front + TRACE_WORDS;
	/*
	 * Everything on one processor: two would race. Not the first, which serves most
	 * interrupts.
	 */
	expect(!run_on(sysconf(_SC_NPROCESSORS_ONLN) - 1));
	for (size_t group = 0; group < sizeof(groups) / sizeof(*groups); group++)
		for (const struct program *program = groups[group]; program->name; program++)
			failed |= in_a_process(program);
	return failed ? 1 : 0;
}
