// SPDX-License-Identifier: GPL-2.0
/*
 * Collects from every section of a sample module, each with a descriptor of its own, and prints the
 * functions that ran in each context.
 *
 *	collect [-n] [/dev/kcov-sample | /dev/rust-kcov-sample]
 *
 * With -n, it collects from a section inside a section instead.
 *
 * A task can have only one descriptor for remote coverage. Therefore child processes enable the
 * global handles. The common handle must be enabled by the process whose system calls cause the
 * work.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kcov.h>

#include "kcov_sample.h"

#define KCOV_FILE	"/sys/kernel/debug/kcov"
#define BUFFER_WORDS	(16UL << 10)
#define BUFFER_BYTES	(BUFFER_WORDS * sizeof(unsigned long))

/* The smallest known step of KASLR on any architecture. */
#define KASLR_STEP	0x10000UL

struct collector {
	const char *context;	/* The name of the context in the output. */
	const char *known;	/* A function that only this section runs. */
	int fd;
	unsigned long *buffer;
	pid_t child;		/* The task that enabled it, or 0 for this one. */
};

struct symbol {
	unsigned long address;
	char *name;
};

static struct symbol *symbols;
static size_t symbol_count;

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

/* The addresses in /proc/kallsyms include the offset of KASLR. */
static void read_symbols(void)
{
	size_t capacity = 0, line_size = 0;
	char *line = NULL;
	FILE *file;

	file = fopen("/proc/kallsyms", "r");
	if (!file)
		err(1, "cannot open /proc/kallsyms: mount procfs and set CONFIG_KALLSYMS=y");

	while (getline(&line, &line_size, file) > 0) {
		struct symbol symbol;
		char type;

		if (sscanf(line, "%lx %c %ms", &symbol.address, &type,
			   &symbol.name) != 3)
			errx(1, "cannot parse this line of /proc/kallsyms: %s", line);
		if (!symbol.address || !strchr("tTwW", type)) {
			free(symbol.name);
			continue;
		}
		if (symbol_count == capacity) {
			capacity = capacity ? 2 * capacity : 1UL << 16;
			symbols = realloc(symbols, capacity * sizeof(*symbols));
			if (!symbols)
				err(1, "cannot allocate %zu symbols", capacity);
		}
		symbols[symbol_count++] = symbol;
	}
	free(line);
	fclose(file);

	if (!symbol_count)
		errx(1, "the addresses in /proc/kallsyms are hidden: run as root and write 0 to /proc/sys/kernel/kptr_restrict");
	qsort(symbols, symbol_count, sizeof(*symbols), by_address);
}

/* Returns the last symbol at or below an address. */
static const char *symbol_at(unsigned long address)
{
	size_t low = 0, high = symbol_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? symbols[low - 1].name : "?";
}

/*
 * Returns whether a symbol is a function of a module. A symbol of Rust is a mangled path of names,
 * each preceded by its length, as in 16rust_kcov_sample11worker_code.
 */
static bool is_function(const char *symbol, const char *module, const char *function)
{
	const char *found = strstr(symbol, module);

	if (!found || (found > symbol && found[-1] == '_'))
		return false;
	return strstr(found + strlen(module), function);
}

/*
 * Computes the offset of KASLR. Recorded PCs do not include it, not even those of modules. One of
 * the PCs is in a function whose run-time address is known. The offset is a multiple of the step
 * that moves the PC into that function.
 */
static unsigned long kaslr_offset(const struct collector *collector,
				  unsigned long count, const char *module)
{
	const struct symbol *known = NULL;
	unsigned long offset;
	size_t i;

	for (i = 0; i < symbol_count && !known; i++)
		if (is_function(symbols[i].name, module, collector->known))
			known = &symbols[i];
	if (!known)
		errx(1, "/proc/kallsyms has no function %s of %s: load the module",
		     collector->known, module);

	for (i = 1; i <= count; i++) {
		offset = known->address - collector->buffer[i];
		offset = (offset + KASLR_STEP - 1) & -KASLR_STEP;
		if (symbol_at(collector->buffer[i] + offset) == known->name)
			return offset;
	}
	errx(1, "no PC of the context %s is in %s: is there another collector?",
	     collector->context, known->name);
}

static void open_descriptor(struct collector *collector)
{
	collector->fd = open(KCOV_FILE, O_RDWR);
	if (collector->fd < 0)
		err(1, "cannot open %s: run as root, mount debugfs and set CONFIG_KCOV=y",
		    KCOV_FILE);
	if (ioctl(collector->fd, KCOV_INIT_TRACE, BUFFER_WORDS))
		err(1, "cannot allocate a buffer of %lu words: choose a smaller size",
		    BUFFER_WORDS);
	collector->buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
				 MAP_SHARED, collector->fd, 0);
	if (collector->buffer == MAP_FAILED)
		err(1, "cannot map the buffer: the length must be exactly %lu bytes",
		    BUFFER_BYTES);
}

static void remote_enable(struct collector *collector, __u64 common_handle,
			  __u64 handle)
{
	struct kcov_remote_arg *arg;

	arg = calloc(1, sizeof(*arg) + sizeof(arg->handles[0]));
	if (!arg)
		err(1, "cannot allocate the argument of KCOV_REMOTE_ENABLE");
	arg->trace_mode = KCOV_TRACE_PC;
	arg->area_size = BUFFER_WORDS;
	arg->common_handle = common_handle;
	arg->num_handles = handle ? 1 : 0;
	if (handle)
		arg->handles[0] = handle;
	if (ioctl(collector->fd, KCOV_REMOTE_ENABLE, arg)) {
		if (errno == EEXIST)
			errx(1, "the handle of the context %s has a collector already: stop it first",
			     collector->context);
		err(1, "cannot enable remote coverage for the context %s",
		    collector->context);
	}
	free(arg);
}

/* The descriptor stays enabled while the child lives. */
static void enable_in_child(struct collector *collector, __u64 handle)
{
	int ready[2];
	char byte;

	if (pipe(ready))
		err(1, "cannot make a pipe");
	collector->child = fork();
	if (collector->child < 0)
		err(1, "cannot start a process for the context %s",
		    collector->context);
	if (!collector->child) {
		remote_enable(collector, 0, handle);
		if (write(ready[1], "", 1) != 1)
			err(1, "cannot report to the parent");
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		exit(1);	/* The child has printed the reason. */
	close(ready[0]);
}

/* The exit of a task does the work of KCOV_DISABLE. */
static void end_child(struct collector *collector)
{
	if (collector->child <= 0)
		return;
	kill(collector->child, SIGKILL);
	waitpid(collector->child, NULL, 0);
}

static unsigned long print_functions(const struct collector *collector,
				     const char *module)
{
	unsigned long count, offset, i, j;

	/* Pairs with the order in which the kernel publishes the records: records before count. */
	count = __atomic_load_n(&collector->buffer[0], __ATOMIC_ACQUIRE);
	if (!count) {
		warnx("the context %s has recorded nothing: build the module with coverage instrumentation",
		      collector->context);
		return 0;
	}

	offset = kaslr_offset(collector, count, module);
	for (i = 1; i <= count; i++) {
		const char *name = symbol_at(collector->buffer[i] + offset);

		for (j = 1; j < i; j++)
			if (symbol_at(collector->buffer[j] + offset) == name)
				break;
		if (j == i)
			printf("%s: %s\n", collector->context, name);
	}
	return count;
}

int main(int argc, char **argv)
{
	struct collector worker = { .context = "worker", .known = "worker_code" };
	struct collector work = { .context = "work", .known = "work_code" };
	struct collector softirq = { .context = "softirq", .known = "softirq_code" };
	const char *device = "/dev/kcov-sample";
	struct kcov_sample_handles handles;
	bool nested = false, complete;
	char *module, *dash;
	int option, fd;

	while ((option = getopt(argc, argv, "n")) != -1) {
		if (option != 'n')
			errx(1, "usage: %s [-n] [DEVICE]", argv[0]);
		nested = true;
	}
	if (optind < argc)
		device = argv[optind];

	fd = open(device, O_RDWR);
	if (fd < 0)
		err(1, "cannot open %s: load the sample module as root", device);
	if (ioctl(fd, KCOV_SAMPLE_HANDLES, &handles))
		err(1, "%s is not the device of a sample module", device);

	/* The name of the module, as its symbols contain it. */
	module = strdup(strrchr(device, '/') ? strrchr(device, '/') + 1 : device);
	if (!module)
		err(1, "cannot copy %s", device);
	while ((dash = strchr(module, '-')))
		*dash = '_';

	read_symbols();
	open_descriptor(&worker);
	open_descriptor(&work);
	open_descriptor(&softirq);
	enable_in_child(&worker, handles.worker);
	enable_in_child(&softirq, handles.softirq);
	remote_enable(&work, kcov_remote_handle(KCOV_SUBSYSTEM_COMMON, getpid()), 0);

	if (nested) {
		worker.known = "before_code";
		work.known = "inner_code";
		if (ioctl(fd, KCOV_SAMPLE_NESTED))
			err(1, "the nested sections of %s failed", device);
		complete = print_functions(&worker, module) &&
			   print_functions(&work, module);
	} else {
		if (ioctl(fd, KCOV_SAMPLE_WORKER) ||
		    ioctl(fd, KCOV_SAMPLE_WORK) ||
		    ioctl(fd, KCOV_SAMPLE_SOFTIRQ))
			err(1, "a section of %s failed", device);
		complete = print_functions(&worker, module) &&
			   print_functions(&work, module) &&
			   print_functions(&softirq, module);
	}

	if (ioctl(work.fd, KCOV_DISABLE, 0))
		err(1, "cannot disable remote coverage");
	end_child(&worker);
	end_child(&softirq);
	return !complete;
}
