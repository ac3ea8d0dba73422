// SPDX-License-Identifier: GPL-2.0
/* The part of KCOV that must be C: see support.h. The path of a hook runs none of this. */

#define pr_fmt(fmt) "kcov: " fmt

#include <linux/cache.h>
#include <linux/irqflags.h>
#include <linux/jiffies.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/preempt.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/task_work.h>
#include <linux/wait.h>
#include <asm/sections.h>
#include <asm/setup.h>

#include "support.h"

unsigned long kcov_kaslr_offset __ro_after_init;
struct kcov_text kcov_text __ro_after_init;

#ifdef CONFIG_MODULES
/* Returns the lowest address at which modules are loaded while there is space for them. */
static unsigned long modules_start(void)
{
#if defined(CONFIG_ARM64)
	/*
	 * Not the start of the modules' region: modules must be within reach of a direct branch
	 * from all of the image, wherever the image has been moved to. See module_init_limits().
	 */
	unsigned long reach = _end - _text < SZ_128M ? SZ_128M : SZ_2G;

	return (unsigned long)_end - reach;
#elif defined(MODULES_VADDR)
	return MODULES_VADDR;
#else
	return 0;
#endif
}
#endif

void kcov_support_init(void)
{
#ifdef CONFIG_RANDOMIZE_BASE
	kcov_kaslr_offset = kaslr_offset();
#endif
	kcov_text.start = (unsigned long)_stext - kcov_kaslr_offset;
	kcov_text.size = round_up(_etext - _stext, 4);
#ifdef CONFIG_MODULES
	kcov_text.modules = modules_start() - kcov_kaslr_offset;
#endif
}

bool kcov_may_sleep(void)
{
	/* With PREEMPT_RT, the preempt count does not include disabled softirqs. */
	return !preempt_count() && !softirq_count() && !irqs_disabled() && !rcu_preempt_depth();
}

bool kcov_memory_suffices(unsigned long pages)
{
	long most = si_mem_available() + get_nr_swap_pages();

	return most > 0 && pages <= most;
}

struct blocked_call {
	void (*function)(struct task_struct *task, void *arg);
	void *arg;
};

static int call_if_blocked(struct task_struct *task, void *arg)
{
	struct blocked_call *call = arg;

	/*
	 * A task that waits for a CPU may have been interrupted anywhere. One that is on no queue
	 * has called the scheduler, which has left its stack: see task_call_func().
	 */
	if (!task_is_running(task) && !READ_ONCE(task->on_rq))
		call->function(task, call->arg);
	return 0;
}

void kcov_call_blocked(struct task_struct *task,
		       void (*function)(struct task_struct *task, void *arg), void *arg)
{
	struct blocked_call call = { function, arg };

	task_call_func(task, call_if_blocked, &call);
}

struct request {
	struct callback_head work;
	void *descriptor;
};

static void answer(struct callback_head *work)
{
	struct request *request = container_of(work, struct request, work);

	kcov_disable_here(request->descriptor);
	kfree(request);
}

int kcov_ask(struct task_struct *task, void *descriptor)
{
	struct request *request = kmalloc_obj(*request, GFP_KERNEL);
	int ret;

	if (!request)
		return -ENOMEM;
	init_task_work(&request->work, answer);
	request->descriptor = descriptor;
	ret = task_work_add(task, &request->work, TWA_RESUME);
	if (ret)
		kfree(request);
	return ret;
}

int kcov_wait(long ticks)
{
	schedule_timeout_killable(ticks);
	return fatal_signal_pending(current) ? -EINTR : 0;
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
	/* The PC is the address after a call: one byte less is inside the function. */
	pr_err("  %pS\n", (void *)(pc + kcov_kaslr_offset - 1));
}
#endif

/* A kprobe on a hook would run the code of kprobes, which is instrumented, at every basic block. */
#define HOOK(hook) NOKPROBE_SYMBOL(hook);
#include "hooks.h"
