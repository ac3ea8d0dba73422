// SPDX-License-Identifier: GPL-2.0
/*
 * The code at the entry of the hook for basic blocks, read from the running
 * kernel: it changes when the kernel switches the hooks on and off.
 */
#include <string.h>
#include <unistd.h>

#include "stress.h"
#include "symbols.h"

#define HOOK	"__sanitizer_cov_trace_pc"
#define CODE	48

static uint64_t hook;

void gate_open(void)
{
	unsigned char code[CODE];

	/* Without CONFIG_PROC_KCORE, and in user-mode Linux, no change is seen. */
	if (access("/proc/kcore", R_OK))
		return;
	symbols_load();
	if (symbols_missing())
		fail("%s", symbols_missing());
	hook = symbol_address(HOOK);
	if (!hook)
		fail("the kernel has no " HOOK);
	if (text_missing() || !text_read(hook, code, CODE))
		hook = 0;
}

bool gate_changed(void)
{
	static unsigned char before[CODE];
	unsigned char now[CODE];
	bool changed;

	if (!hook)
		return false;
	if (!text_read(hook, now, CODE))
		fail("the code of " HOOK " can't be read");
	changed = memcmp(before, now, CODE);
	memcpy(before, now, CODE);
	return changed;
}
