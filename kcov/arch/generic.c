// SPDX-License-Identifier: GPL-2.0
/*
 * The functions that generic.rs calls. Hooks run them, so they call nothing themselves, and they
 * can be neither traced nor probed.
 */

#include <linux/compiler.h>
#include <linux/kprobes.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/smp.h>

#include "../support.h"

notrace struct task_struct *kcov_current_task(void)
{
	return current;
}
NOKPROBE_SYMBOL(kcov_current_task);

notrace unsigned int kcov_preempt_count(void)
{
	return preempt_count();
}
NOKPROBE_SYMBOL(kcov_preempt_count);

notrace unsigned int kcov_cpu(void)
{
	return raw_smp_processor_id();
}
NOKPROBE_SYMBOL(kcov_cpu);
