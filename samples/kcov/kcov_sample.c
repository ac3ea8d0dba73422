// SPDX-License-Identifier: GPL-2.0
/*
 * Annotated sections in every context from which KCOV collects remotely: a worker thread, a work
 * item of a system call, and a softirq. The system call itself makes comparisons of every kind.
 *
 * The functions named *_code are the code under test. In each request, a function runs in one
 * context only, so that its symbol in a trace shows where the trace comes from. See
 * Documentation/dev-tools/kcov.rst and samples/kcov/collect.c.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irqflags.h>
#include <linux/jiffies.h>
#include <linux/kcov.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "kcov_sample.h"

/*
 * User space chooses common handles, and all other handles belong to USB. Therefore the sample uses
 * numbers of USB buses that no bus will ever have.
 */
static unsigned int instance = 0x6b636f76;
module_param(instance, uint, 0444);
MODULE_PARM_DESC(instance, "instance of the worker's global handle; the softirq has the next one");

static struct kcov_sample_handles handles;

/* Serializes the requests: the fields below belong to the one that runs. */
static DEFINE_MUTEX(request_lock);

/*
 * Written by the code under test, so that the compiler keeps it. Each function writes a different
 * number; otherwise a compiler may merge two of them. Most functions also compare the number, to
 * appear in a trace of comparisons.
 */
static unsigned int rounds;

static noinline void kcov_sample_worker_code(void)
{
	if (rounds & 1)
		WRITE_ONCE(rounds, rounds + 3);
	else
		WRITE_ONCE(rounds, rounds + 1);
}

static noinline void kcov_sample_work_code(void)
{
	if (rounds & 2)
		WRITE_ONCE(rounds, rounds + 5);
	else
		WRITE_ONCE(rounds, rounds + 1);
}

static noinline void kcov_sample_softirq_code(void)
{
	if (READ_ONCE(rounds) == 61)
		WRITE_ONCE(rounds, rounds + 7);
	else
		WRITE_ONCE(rounds, rounds + 1);
}

static noinline void kcov_sample_before_code(void)
{
	if (READ_ONCE(rounds) == 41)
		WRITE_ONCE(rounds, rounds + 1);
	else
		WRITE_ONCE(rounds, rounds + 2);
}

static noinline void kcov_sample_inner_code(void)
{
	if (READ_ONCE(rounds) == 43)
		WRITE_ONCE(rounds, rounds + 1);
	else
		WRITE_ONCE(rounds, rounds + 4);
}

static noinline void kcov_sample_after_code(void)
{
	if (READ_ONCE(rounds) == 47)
		WRITE_ONCE(rounds, rounds + 1);
	else
		WRITE_ONCE(rounds, rounds + 6);
}

static noinline void kcov_sample_outside_code(void)
{
	if (READ_ONCE(rounds) == 53)
		WRITE_ONCE(rounds, rounds + 1);
	else
		WRITE_ONCE(rounds, rounds + 8);
}

static noinline void kcov_sample_hard_code(void)
{
	if (READ_ONCE(rounds) == 59)
		WRITE_ONCE(rounds, rounds + 1);
	else
		WRITE_ONCE(rounds, rounds + 9);
}

/*
 * The only function under test in the system call itself: its comparisons are recorded for a thread
 * that traces itself. The operands stay in memory, so that each is compared in its own size.
 */
static noinline void kcov_sample_compare_code(const struct kcov_sample_operands *o)
{
	if (o->u64[0] == o->u64[1])
		WRITE_ONCE(rounds, rounds + 11);
	if (o->u32[0] == o->u32[1])
		WRITE_ONCE(rounds, rounds + 13);
	if (o->u16[0] == o->u16[1])
		WRITE_ONCE(rounds, rounds + 17);
	if (o->u8[0] == o->u8[1])
		WRITE_ONCE(rounds, rounds + 19);

	if (o->u64[0] == KCOV_SAMPLE_CONST_U64)
		WRITE_ONCE(rounds, rounds + 23);
	if (o->u32[0] == KCOV_SAMPLE_CONST_U32)
		WRITE_ONCE(rounds, rounds + 29);
	if (o->u16[0] == KCOV_SAMPLE_CONST_U16)
		WRITE_ONCE(rounds, rounds + 31);
	if (o->u8[0] == KCOV_SAMPLE_CONST_U8)
		WRITE_ONCE(rounds, rounds + 37);

	switch (o->u32[1]) {
	case KCOV_SAMPLE_CASE_A:
		WRITE_ONCE(rounds, rounds * 3);
		break;
	case KCOV_SAMPLE_CASE_B:
		WRITE_ONCE(rounds, rounds ^ 5);
		break;
	case KCOV_SAMPLE_CASE_C:
		WRITE_ONCE(rounds, rounds | 7);
		break;
	case KCOV_SAMPLE_CASE_D:
		WRITE_ONCE(rounds, rounds & 9);
		break;
	}
}

/*
 * The global background task. All processes that use the device share one thread, so the handle is
 * a constant that a collector must know.
 */
static struct kthread_worker *worker;

static void worker_fn(struct kthread_work *work)
{
	kcov_remote_start(handles.worker);
	kcov_sample_worker_code();
	kcov_remote_stop();
}

static DEFINE_KTHREAD_WORK(worker_work, worker_fn);

/*
 * The local background task. It works for one process: the system call that queues the work stores
 * the common handle of its task with the work.
 */
struct local_work {
	struct work_struct work;
	struct kcov_common_handle_id kcov_handle;
};

static void local_work_fn(struct work_struct *work)
{
	struct local_work *local = container_of(work, struct local_work, work);

	kcov_remote_start_common(local->kcov_handle);
	kcov_sample_work_code();
	kcov_remote_stop();
}

/*
 * The softirq. It may interrupt any task, even one that is being traced itself; the recording of
 * that task resumes after the section stops.
 */
static DECLARE_COMPLETION(timer_done);

/* The contexts that KCOV_SAMPLE_SOFTIRQ has interrupted so far. */
static struct kcov_sample_interrupted interrupted;

/* Counts the state of the task that the softirq has interrupted. */
static void note_interrupted(void)
{
#ifdef CONFIG_KCOV_RUST
	unsigned int mode = READ_ONCE(current->kcov_ctx.mode);
	bool records = mode, switched = mode >> KCOV_SWITCH_SHIFT;
#else
	unsigned int mode = READ_ONCE(current->kcov_mode);
	bool records = mode & ~KCOV_IN_CTXSW, switched = mode & KCOV_IN_CTXSW;
#endif

	if (records)
		WRITE_ONCE(interrupted.recording, interrupted.recording + 1);
	if (records && switched)
		WRITE_ONCE(interrupted.switched, interrupted.switched + 1);
}

static long tell_interrupted(void __user *to)
{
	const struct kcov_sample_interrupted now = {
		.recording = READ_ONCE(interrupted.recording),
		.switched = READ_ONCE(interrupted.switched),
	};

	return copy_to_user(to, &now, sizeof(now)) ? -EFAULT : 0;
}

static void timer_fn(struct timer_list *unused)
{
	note_interrupted();
	kcov_remote_start(handles.softirq);
	kcov_sample_softirq_code();
	kcov_remote_stop();

	complete(&timer_done);
}

static DEFINE_TIMER(timer, timer_fn);

/* The same section in a fast timer, on the CPU of the calling thread. */
static unsigned long softirqs_wanted;

static enum hrtimer_restart fast_timer_fn(struct hrtimer *fast)
{
	note_interrupted();
	kcov_remote_start(handles.softirq);
	kcov_sample_softirq_code();
	kcov_remote_stop();

	if (--softirqs_wanted) {
		hrtimer_forward_now(fast, us_to_ktime(100));
		return HRTIMER_RESTART;
	}
	complete(&timer_done);
	return HRTIMER_NORESTART;
}

static struct hrtimer fast_timer;

/* Nests sections in one softirq until all areas of softirqs are in use. */
static unsigned long depth;

static void deep_fn(struct tasklet_struct *unused)
{
	unsigned long i;

	for (i = 0; i < depth; i++) {
		kcov_remote_start(handles.softirq);
		kcov_sample_softirq_code();
	}
	for (i = 0; i < depth; i++) {
		kcov_sample_after_code();
		kcov_remote_stop();
	}
	kcov_sample_outside_code();
}

static DECLARE_TASKLET(deep_tasklet, deep_fn);

/* A section of one user inside a section of the worker's global handle. */
struct nested_work {
	struct kthread_work work;
	struct kcov_common_handle_id kcov_handle;
};

static void nested_work_fn(struct kthread_work *work)
{
	struct nested_work *nested = container_of(work, struct nested_work, work);

	kcov_remote_start(handles.worker);
	kcov_sample_before_code();

	kcov_remote_start_common(nested->kcov_handle);
	kcov_sample_inner_code();
	kcov_remote_stop();

	kcov_sample_after_code();
	kcov_remote_stop();
}

/* Stops, in a softirq, the section of the interrupted task. */
static void foreign_stop_fn(struct tasklet_struct *unused)
{
	kcov_remote_stop();
}

static DECLARE_TASKLET(foreign_stop_tasklet, foreign_stop_fn);

/* Runs a tasklet. Pending softirqs run on the task that enables them again. */
static void run_tasklet(struct tasklet_struct *tasklet)
{
	local_bh_disable();
	tasklet_schedule(tasklet);
	local_bh_enable();
	/* If another thread is left to run it, wait for that. */
	tasklet_kill(tasklet);
}

/* A function to run in a context that the caller chooses. */
struct call {
	struct tasklet_struct tasklet;
	struct hrtimer timer;
	void (*function)(void *data);
	void *data;
	/* The task that runs the function, or that was interrupted to run it. */
	struct task_struct *task;
	bool done;
};

static void make_call(struct call *call)
{
	call->task = current;
	call->function(call->data);
	WRITE_ONCE(call->done, true);
}

static void call_tasklet_fn(struct tasklet_struct *tasklet)
{
	make_call(container_of(tasklet, struct call, tasklet));
}

static enum hrtimer_restart call_timer_fn(struct hrtimer *timer)
{
	make_call(container_of(timer, struct call, timer));
	return HRTIMER_NORESTART;
}

/* Not instrumented, so that waiting does not fill the caller's trace. */
static noinline __no_sanitize_coverage void wait_for_call(struct call *call)
{
	unsigned long end = jiffies + 10 * HZ;

	while (!READ_ONCE(call->done) && time_before(jiffies, end))
		cpu_relax();
}

static void call_in_hard_interrupt(struct call *call)
{
	hrtimer_setup_on_stack(&call->timer, call_timer_fn, CLOCK_MONOTONIC,
			       HRTIMER_MODE_REL_PINNED_HARD);
	/* Until preemption is enabled again, the timer can only interrupt this thread. */
	preempt_disable();
	hrtimer_start(&call->timer, us_to_ktime(20), HRTIMER_MODE_REL_PINNED_HARD);
	wait_for_call(call);
	preempt_enable();
	hrtimer_cancel(&call->timer);
	destroy_hrtimer_on_stack(&call->timer);
}

/* Returns 1 if the function has run in the calling thread or on top of it, else 0. */
static long run_in(unsigned int context, void (*function)(void *data), void *data)
{
	struct call call = { .function = function, .data = data };
	unsigned long flags;

	switch (context) {
	case KCOV_SAMPLE_PREEMPTIBLE:
		make_call(&call);
		break;
	case KCOV_SAMPLE_BH_DISABLED:
		local_bh_disable();
		make_call(&call);
		local_bh_enable();
		break;
	case KCOV_SAMPLE_PREEMPT_DISABLED:
		preempt_disable();
		make_call(&call);
		preempt_enable();
		break;
	case KCOV_SAMPLE_IRQS_DISABLED:
		local_irq_save(flags);
		make_call(&call);
		local_irq_restore(flags);
		break;
	case KCOV_SAMPLE_RCU_READ:
		rcu_read_lock();
		make_call(&call);
		rcu_read_unlock();
		break;
	case KCOV_SAMPLE_IN_SOFTIRQ:
		tasklet_setup(&call.tasklet, call_tasklet_fn);
		run_tasklet(&call.tasklet);
		break;
	case KCOV_SAMPLE_IN_HARD_INTERRUPT:
		call_in_hard_interrupt(&call);
		break;
	default:
		return -EINVAL;
	}
	return call.done && call.task == current;
}

/* State of a softirq that runs until another request releases it. */
static bool held, holding;

static void hold_fn(struct tasklet_struct *unused)
{
	unsigned long end = jiffies + 10 * HZ;

	kcov_remote_start(handles.softirq);
	kcov_sample_softirq_code();
	WRITE_ONCE(holding, true);
	while (READ_ONCE(held) && time_before(jiffies, end))
		cpu_relax();
	WRITE_ONCE(holding, false);
	kcov_remote_stop();
}

static DECLARE_TASKLET(hold_tasklet, hold_fn);

static long run_hold(void)
{
	WRITE_ONCE(held, true);
	run_tasklet(&hold_tasklet);
	return 0;
}

static long let_go(unsigned long arg)
{
	bool runs = READ_ONCE(holding);

	if (arg)
		WRITE_ONCE(held, false);
	return runs;
}

/* Hard interrupts that occur while a section of a softirq runs. They record nothing. */
static unsigned long times_wanted, times_come;

static enum hrtimer_restart hard_timer_fn(struct hrtimer *timer)
{
	kcov_remote_start(handles.worker);
	kcov_sample_hard_code();
	kcov_remote_stop();
	WRITE_ONCE(times_come, times_come + 1);
	if (times_come >= times_wanted)
		return HRTIMER_NORESTART;
	hrtimer_forward_now(timer, us_to_ktime(20));
	return HRTIMER_RESTART;
}

/* Not instrumented, so that waiting does not fill the area. */
static noinline __no_sanitize_coverage void wait_for_hard_timer(void)
{
	unsigned long end = jiffies + 10 * HZ;

	while (READ_ONCE(times_come) < times_wanted && time_before(jiffies, end))
		cpu_relax();
}

/* Stays on the CPU that the timer interrupts. */
static void interrupted_section(void *timer)
{
	kcov_remote_start(handles.softirq);
	kcov_sample_softirq_code();
	preempt_disable();
	hrtimer_start(timer, us_to_ktime(20), HRTIMER_MODE_REL_PINNED_HARD);
	wait_for_hard_timer();
	preempt_enable();
	hrtimer_cancel(timer);
	kcov_sample_after_code();
	kcov_remote_stop();
}

static long run_hard_timer(unsigned int context, unsigned long arg)
{
	struct hrtimer timer;

	if (arg > KCOV_SAMPLE_MAX_TIMES)
		return -EINVAL;
	times_wanted = arg;
	times_come = 0;
	/* The stack of a softirq would not do: objects there are not on the stack of the task. */
	hrtimer_setup_on_stack(&timer, hard_timer_fn, CLOCK_MONOTONIC,
			       HRTIMER_MODE_REL_PINNED_HARD);
	run_in(context, interrupted_section, &timer);
	destroy_hrtimer_on_stack(&timer);
	return times_come;
}

static void foreign_stop_work_fn(struct kthread_work *work)
{
	kcov_remote_start(handles.worker);
	kcov_sample_before_code();
	run_tasklet(&foreign_stop_tasklet);
	kcov_sample_after_code();
	kcov_remote_stop();
}

static DEFINE_KTHREAD_WORK(foreign_stop_work, foreign_stop_work_fn);

static void foreign_stop_inside_work_fn(struct kthread_work *work)
{
	kcov_remote_start(handles.worker);
	kcov_sample_before_code();

	kcov_remote_start(handles.softirq);
	run_tasklet(&foreign_stop_tasklet);
	kcov_sample_inner_code();
	kcov_remote_stop();

	kcov_sample_after_code();
	kcov_remote_stop();
	kcov_sample_outside_code();
}

static DEFINE_KTHREAD_WORK(foreign_stop_inside_work, foreign_stop_inside_work_fn);

/* A thread that exits inside a section. */
static DECLARE_COMPLETION(missing_stop_begun);

static int missing_stop_fn(void *unused)
{
	complete(&missing_stop_begun);
	kcov_remote_start(handles.worker);
	kcov_sample_worker_code();
	return 0;
}

/* Nested sections, in contexts that may sleep and in contexts that must not. */
struct nested_sections {
	unsigned int number;
	/* Every second section runs other code than the rest. */
	bool alternating;
};

static void nested_sections_fn(void *data)
{
	const struct nested_sections *sections = data;
	unsigned int i;

	for (i = 0; i < sections->number; i++) {
		kcov_remote_start(handles.worker);
		if (sections->alternating && i & 1)
			kcov_sample_before_code();
		else
			kcov_sample_inner_code();
	}
	while (i--) {
		if (sections->alternating && i & 1)
			kcov_sample_worker_code();
		else
			kcov_sample_after_code();
		kcov_remote_stop();
	}
	kcov_sample_outside_code();
}

static long run_sections(const void __user *from, bool alternating)
{
	struct nested_sections nested = { .alternating = alternating };
	struct kcov_sample_sections sections;
	long ret;

	if (copy_from_user(&sections, from, sizeof(sections)))
		return -EFAULT;
	if (sections.depth > KCOV_SAMPLE_MAX_DEPTH)
		return -EINVAL;
	nested.number = sections.depth;
	ret = run_in(sections.context, nested_sections_fn, &nested);
	return ret < 0 ? ret : 0;
}

/* Waits until another request releases the thread. */
static void wait_until_let_go(void)
{
	unsigned long end = jiffies + 10 * HZ;

	WRITE_ONCE(held, true);
	WRITE_ONCE(holding, true);
	while (READ_ONCE(held) && time_before(jiffies, end))
		schedule_timeout_uninterruptible(1);
	WRITE_ONCE(holding, false);
}

/* Starts sections with handles that have not been checked. */
static void pair_fn(void *data)
{
	const struct kcov_sample_pair *pair = data;

	if (pair->flags & KCOV_SAMPLE_OUTER)
		kcov_remote_start(pair->outer);
	kcov_sample_before_code();
	if (pair->flags & KCOV_SAMPLE_INNER)
		kcov_remote_start(pair->inner);
	kcov_sample_inner_code();
	if (pair->flags & KCOV_SAMPLE_INNER)
		kcov_remote_stop();
	if (pair->flags & KCOV_SAMPLE_WAIT)
		wait_until_let_go();
	kcov_sample_after_code();
	if (pair->flags & KCOV_SAMPLE_OUTER)
		kcov_remote_stop();
}

static long run_pair(const void __user *from)
{
	struct kcov_sample_pair pair;
	long ret;

	if (copy_from_user(&pair, from, sizeof(pair)))
		return -EFAULT;
	if (pair.flags & ~(KCOV_SAMPLE_OUTER | KCOV_SAMPLE_INNER | KCOV_SAMPLE_WAIT))
		return -EINVAL;
	if (pair.flags & KCOV_SAMPLE_WAIT && pair.context != KCOV_SAMPLE_PREEMPTIBLE)
		return -EINVAL;
	ret = run_in(pair.context, pair_fn, &pair);
	kcov_sample_outside_code();
	return ret;
}

/* Runs the same code without a section. */
static void code_fn(void *unused)
{
	kcov_sample_inner_code();
}

static void common_handle_fn(void *data)
{
	struct kcov_sample_common *common = data;

	common->handle = kcov_remote_handle(KCOV_SUBSYSTEM_COMMON, kcov_common_handle().val);
}

static long run_common_handle(void __user *argument)
{
	struct kcov_sample_common common;
	long ret;

	if (copy_from_user(&common, argument, sizeof(common)))
		return -EFAULT;
	ret = run_in(common.context, common_handle_fn, &common);
	if (copy_to_user(argument, &common, sizeof(common)))
		return -EFAULT;
	return ret;
}

/* Runs a long section whose first half runs other code than the second. */
static long run_long(unsigned long number)
{
	unsigned long i;

	if (number > KCOV_SAMPLE_MAX_TIMES)
		return -EINVAL;
	kcov_remote_start(handles.worker);
	for (i = 0; i < number; i++)
		kcov_sample_before_code();
	for (i = 0; i < number; i++)
		kcov_sample_after_code();
	kcov_remote_stop();
	return 0;
}

static long run_in_a_row(unsigned long number)
{
	unsigned long i;

	if (number > KCOV_SAMPLE_MAX_DEPTH)
		return -EINVAL;
	kcov_remote_start(handles.worker);
	for (i = 0; i < number; i++) {
		kcov_remote_start(handles.softirq);
		kcov_sample_inner_code();
		kcov_remote_stop();
	}
	kcov_remote_stop();
	return 0;
}

static long run_worker(void)
{
	kthread_queue_work(worker, &worker_work);
	kthread_flush_work(&worker_work);
	return 0;
}

static long run_local_work(void)
{
	struct local_work local = {
		.kcov_handle = kcov_common_handle(),
	};

	INIT_WORK_ONSTACK(&local.work, local_work_fn);
	schedule_work(&local.work);
	flush_work(&local.work);
	destroy_work_on_stack(&local.work);
	return 0;
}

static long run_softirq(void)
{
	reinit_completion(&timer_done);
	mod_timer(&timer, jiffies + 1);
	wait_for_completion(&timer_done);
	return 0;
}

static long run_softirqs(unsigned long number)
{
	if (!number || number > KCOV_SAMPLE_MAX_TIMES)
		return -EINVAL;
	reinit_completion(&timer_done);
	softirqs_wanted = number;
	hrtimer_start(&fast_timer, us_to_ktime(100), HRTIMER_MODE_REL_PINNED_SOFT);
	wait_for_completion(&timer_done);
	return 0;
}

static long run_nested(void)
{
	struct nested_work nested = {
		.work = KTHREAD_WORK_INIT(nested.work, nested_work_fn),
		.kcov_handle = kcov_common_handle(),
	};

	kthread_queue_work(worker, &nested.work);
	kthread_flush_work(&nested.work);
	return 0;
}

static long compare(const void __user *from)
{
	struct kcov_sample_operands operands;

	if (copy_from_user(&operands, from, sizeof(operands)))
		return -EFAULT;
	kcov_sample_compare_code(&operands);
	return 0;
}

static long run_foreign_stop(void)
{
	kthread_queue_work(worker, &foreign_stop_work);
	kthread_flush_work(&foreign_stop_work);
	return 0;
}

static long run_foreign_stop_inside(void)
{
	kthread_queue_work(worker, &foreign_stop_inside_work);
	kthread_flush_work(&foreign_stop_inside_work);
	return 0;
}

static long run_missing_stop(void)
{
	struct task_struct *thread;

	thread = kthread_create(missing_stop_fn, NULL, "kcov_sample_end");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	get_task_struct(thread);
	wake_up_process(thread);
	/* A thread that is told to stop before it has begun never begins. */
	wait_for_completion(&missing_stop_begun);
	/* Waits for the end of the thread, including its exit. */
	kthread_stop_put(thread);
	return 0;
}

static long run_deep(unsigned long arg)
{
	if (arg > KCOV_SAMPLE_MAX_DEPTH)
		return -EINVAL;
	depth = arg;
	run_tasklet(&deep_tasklet);
	return 0;
}

static long kcov_sample_ioctl(struct file *file, unsigned int cmd,
			      unsigned long arg)
{
	/* The requests that these two refer to hold the lock. */
	if (cmd == KCOV_SAMPLE_LET_GO)
		return let_go(arg);
	if (cmd == KCOV_SAMPLE_INTERRUPTED)
		return tell_interrupted((void __user *)arg);

	guard(mutex)(&request_lock);

	switch (cmd) {
	case KCOV_SAMPLE_HANDLES:
		if (copy_to_user((void __user *)arg, &handles, sizeof(handles)))
			return -EFAULT;
		return 0;
	case KCOV_SAMPLE_WORKER:
		return run_worker();
	case KCOV_SAMPLE_WORK:
		return run_local_work();
	case KCOV_SAMPLE_SOFTIRQ:
		return run_softirq();
	case KCOV_SAMPLE_SOFTIRQS:
		return run_softirqs(arg);
	case KCOV_SAMPLE_NESTED:
		return run_nested();
	case KCOV_SAMPLE_COMPARE:
		return compare((const void __user *)arg);
	case KCOV_SAMPLE_SURPLUS_STOP:
		kcov_remote_stop();
		return 0;
	case KCOV_SAMPLE_FOREIGN_STOP:
		return run_foreign_stop();
	case KCOV_SAMPLE_MISSING_STOP:
		return run_missing_stop();
	case KCOV_SAMPLE_DEEP:
		return run_deep(arg);
	case KCOV_SAMPLE_SECTIONS:
		return run_sections((const void __user *)arg, false);
	case KCOV_SAMPLE_ALTERNATING:
		return run_sections((const void __user *)arg, true);
	case KCOV_SAMPLE_PAIR:
		return run_pair((const void __user *)arg);
	case KCOV_SAMPLE_CODE:
		return run_in(arg, code_fn, NULL);
	case KCOV_SAMPLE_COMMON_HANDLE:
		return run_common_handle((void __user *)arg);
	case KCOV_SAMPLE_LONG:
		return run_long(arg);
	case KCOV_SAMPLE_IN_A_ROW:
		return run_in_a_row(arg);
	case KCOV_SAMPLE_FOREIGN_STOP_INSIDE:
		return run_foreign_stop_inside();
	case KCOV_SAMPLE_HOLD:
		return run_hold();
	case KCOV_SAMPLE_HARD_TIMER:
		return run_hard_timer(KCOV_SAMPLE_IN_SOFTIRQ, arg);
	case KCOV_SAMPLE_HARD_TIMER_TASK:
		return run_hard_timer(KCOV_SAMPLE_PREEMPTIBLE, arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations kcov_sample_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = kcov_sample_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice kcov_sample_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kcov-sample",
	.fops = &kcov_sample_fops,
	.mode = 0600,
};

static int __init kcov_sample_init(void)
{
	int err;

	if (instance == U32_MAX) {
		pr_err("instance %u leaves no number for the softirq: choose a smaller one\n",
		       instance);
		return -EINVAL;
	}
	handles.worker = kcov_remote_handle(KCOV_SUBSYSTEM_USB, instance);
	handles.softirq = kcov_remote_handle(KCOV_SUBSYSTEM_USB, instance + 1);

	hrtimer_setup(&fast_timer, fast_timer_fn, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_SOFT);
	worker = kthread_run_worker(0, "kcov_sample");
	if (IS_ERR(worker))
		return PTR_ERR(worker);

	err = misc_register(&kcov_sample_device);
	if (err)
		kthread_destroy_worker(worker);
	return err;
}

static void __exit kcov_sample_exit(void)
{
	misc_deregister(&kcov_sample_device);
	/* The callback may still be returning after it has woken its waiter. */
	timer_shutdown_sync(&timer);
	hrtimer_cancel(&fast_timer);
	kthread_destroy_worker(worker);
}

module_init(kcov_sample_init);
module_exit(kcov_sample_exit);

MODULE_DESCRIPTION("Sections annotated for remote KCOV coverage");
MODULE_LICENSE("GPL");
