// SPDX-License-Identifier: GPL-2.0
/*
 * Measures remote sections of KCOV: loading the module starts and stops sections in kernel
 * threads on one CPU or on several at once. What came out is in the read-only parameter
 * "result": for every round, the longest time that a thread took for its sections, in ticks of
 * the time stamp counter.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/kcov.h>
#include <linux/kthread.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/timex.h>

/* The number of different handles that a thread uses, in turn. */
#define HANDLES 64
#define MAX_ROUNDS 64

static char *what = "zero";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "the handles: zero, unknown or hit");

static unsigned int registered;
module_param(registered, uint, 0444);
MODULE_PARM_DESC(registered,
		 "how many handles of the USB subsystem are registered, from instance 1 on");

static unsigned int cpus = 1;
module_param(cpus, uint, 0444);
MODULE_PARM_DESC(cpus, "how many CPUs do it at once");

static unsigned int calls = 10000;
module_param(calls, uint, 0444);
MODULE_PARM_DESC(calls, "sections that a thread starts and stops in a round");

static unsigned int rounds = 10;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "rounds");

static unsigned long result[MAX_ROUNDS];
static int results;
module_param_array(result, ulong, &results, 0444);

struct worker {
	struct task_struct *task;
	struct completion done;
	unsigned long ticks;
	u64 handles[HANDLES];
} ____cacheline_aligned;

static struct worker *workers;
/* Threads that are ready to begin with the sections. */
static atomic_t ready;

/*
 * Instances that threads of different CPUs hit belong to different descriptors, as those of
 * different users do.
 */
static int choose_handles(struct worker *worker, unsigned int number)
{
	unsigned int share = registered / cpus, i;
	u64 instance;

	for (i = 0; i < HANDLES; i++) {
		if (!strcmp(what, "zero")) {
			worker->handles[i] = 0;
			continue;
		}
		if (!strcmp(what, "hit")) {
			if (!share)
				return -EINVAL;
			/*
			 * Spread over the whole share, in an order that is not that of
			 * registration.
			 */
			instance = 1 + number * share + (i * 0x9e3779b1U) % share;
		} else if (!strcmp(what, "unknown")) {
			instance = 0x10000000 + number * 0x10000 + i * 4099;
		} else {
			return -EINVAL;
		}
		worker->handles[i] = kcov_remote_handle(KCOV_SUBSYSTEM_USB, instance);
	}
	return 0;
}

static int work(void *data)
{
	struct worker *worker = data;
	unsigned int i;
	cycles_t start;

	/* The first sections allocate what later ones find. */
	for (i = 0; i < HANDLES; i++) {
		kcov_remote_start(worker->handles[i]);
		kcov_remote_stop();
	}
	/* All begin at the same time. */
	atomic_inc(&ready);
	while (atomic_read(&ready) < cpus)
		cpu_relax();
	start = get_cycles();
	for (i = 0; i < calls; i++) {
		kcov_remote_start(worker->handles[i % HANDLES]);
		kcov_remote_stop();
	}
	worker->ticks = get_cycles() - start;
	complete(&worker->done);
	return 0;
}

static int run_round(unsigned long *ticks)
{
	unsigned int i;

	atomic_set(&ready, 0);
	for (i = 0; i < cpus; i++) {
		init_completion(&workers[i].done);
		workers[i].task = kthread_create(work, &workers[i], "kcov_bench/%u", i);
		if (IS_ERR(workers[i].task)) {
			int error = PTR_ERR(workers[i].task);

			/* Those that were created have not run yet. */
			while (i--)
				kthread_stop(workers[i].task);
			return error;
		}
		kthread_bind(workers[i].task, i);
	}
	for (i = 0; i < cpus; i++)
		wake_up_process(workers[i].task);
	*ticks = 0;
	for (i = 0; i < cpus; i++) {
		wait_for_completion(&workers[i].done);
		*ticks = max(*ticks, workers[i].ticks);
	}
	return 0;
}

static int __init kcov_bench_init(void)
{
	unsigned int i;
	int error = 0;

	if (!cpus || cpus > num_online_cpus() || !calls || rounds > MAX_ROUNDS)
		return -EINVAL;
	workers = kcalloc(cpus, sizeof(*workers), GFP_KERNEL);
	if (!workers)
		return -ENOMEM;
	for (i = 0; i < cpus && !error; i++)
		error = choose_handles(&workers[i], i);
	for (i = 0; i < rounds && !error; i++)
		error = run_round(&result[i]);
	results = rounds;
	kfree(workers);
	return error;
}
module_init(kcov_bench_init);

static void __exit kcov_bench_exit(void)
{
}
module_exit(kcov_bench_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Measures remote sections of KCOV");
