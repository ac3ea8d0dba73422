// SPDX-License-Identifier: GPL-2.0
/*
 * The part of KCOV that has to be C: see support.h. Nothing here runs on the path of a hook.
 */

#define pr_fmt(fmt) "kcov: " fmt

#include <linux/cache.h>
#include <linux/jiffies.h>
#include <linux/kprobes.h>
#include <linux/pgtable.h>
#include <linux/printk.h>
#include <asm/sections.h>
#include <asm/setup.h>

#include "support.h"

unsigned long kcov_kaslr_offset __ro_after_init;
struct kcov_text kcov_text __ro_after_init;

void kcov_support_init(void)
{
#ifdef CONFIG_RANDOMIZE_BASE
	kcov_kaslr_offset = kaslr_offset();
#endif
	kcov_text.start = (unsigned long)_stext - kcov_kaslr_offset;
	kcov_text.size = _etext - _stext;
#if defined(CONFIG_MODULES) && defined(MODULES_VADDR)
	kcov_text.modules = MODULES_VADDR - kcov_kaslr_offset;
#endif
}

#ifdef CONFIG_KCOV_SELFTEST
void kcov_selftest_wait(void)
{
	unsigned long end = jiffies + msecs_to_jiffies(300);

	while (time_before(jiffies, end))
		cpu_relax();
}

void kcov_selftest_leak(unsigned long pc)
{
	/* The address after a call: one less is inside of the function. */
	pr_err("  %pS\n", (void *)(pc + kcov_kaslr_offset - 1));
}
#endif

/* A probe on a hook would run the kprobes code, which is instrumented, for every basic block. */
NOKPROBE_SYMBOL(__sanitizer_cov_trace_pc);
#ifdef CONFIG_KCOV_ENABLE_COMPARISONS
NOKPROBE_SYMBOL(__sanitizer_cov_trace_cmp1);
NOKPROBE_SYMBOL(__sanitizer_cov_trace_cmp2);
NOKPROBE_SYMBOL(__sanitizer_cov_trace_cmp4);
NOKPROBE_SYMBOL(__sanitizer_cov_trace_cmp8);
NOKPROBE_SYMBOL(__sanitizer_cov_trace_const_cmp1);
NOKPROBE_SYMBOL(__sanitizer_cov_trace_const_cmp2);
NOKPROBE_SYMBOL(__sanitizer_cov_trace_const_cmp4);
NOKPROBE_SYMBOL(__sanitizer_cov_trace_const_cmp8);
NOKPROBE_SYMBOL(__sanitizer_cov_trace_switch);
#endif
