// SPDX-License-Identifier: GPL-2.0
/*
 * The code at the entry of the hook for basic blocks, read from the running
 * kernel: it changes when the kernel switches the hooks on and off.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stress.h"

#define HOOK	"__sanitizer_cov_trace_pc"
#define CODE	48

static int memory = -1;
static off_t place;

static uint64_t hook_address(void)
{
	uint64_t address = 0;
	char line[512];
	FILE *file = fopen("/proc/kallsyms", "r");

	if (!file)
		fail("cannot open /proc/kallsyms: %s", strerror(errno));
	while (!address && fgets(line, sizeof(line), file)) {
		char *name = strrchr(line, ' ');

		if (name && !strcmp(name + 1, HOOK "\n"))
			address = strtoull(line, NULL, 16);
	}
	fclose(file);
	if (!address)
		fail("/proc/kallsyms does not name " HOOK);
	return address;
}

void gate_open(void)
{
	uint64_t address = hook_address();
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	int i;

	memory = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	if (memory < 0)
		return;	/* CONFIG_PROC_KCORE is not set: nobody will know. */
	if (pread(memory, &header, sizeof(header), 0) != sizeof(header))
		fail("cannot read /proc/kcore: %s", strerror(errno));
	for (i = 0; i < header.e_phnum; i++) {
		if (pread(memory, &segment, sizeof(segment), header.e_phoff +
			  i * sizeof(segment)) != sizeof(segment))
			fail("cannot read /proc/kcore: %s", strerror(errno));
		if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
		    address + CODE <= segment.p_vaddr + segment.p_memsz) {
			place = segment.p_offset + (address - segment.p_vaddr);
			return;
		}
	}
	fail("/proc/kcore does not hold " HOOK);
}

bool gate_changed(void)
{
	static unsigned char before[CODE];
	unsigned char now[CODE];
	bool changed;

	if (memory < 0)
		return false;
	if (pread(memory, now, CODE, place) != CODE)
		fail("cannot read the code of " HOOK ": %s", strerror(errno));
	changed = memcmp(before, now, CODE);
	memcpy(before, now, CODE);
	return changed;
}
