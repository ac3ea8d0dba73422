// SPDX-License-Identifier: GPL-2.0
/*
 * Checks kcov/gate.c with cbmc: tasks that open and close the gate, and the worker.
 *
 * gate.c is included unchanged; the kernel functions that it uses are defined here.
 * scripts/models.py provides an empty file for each header that gate.c includes, and chooses the
 * kernel with jump labels. One function in gate.c switches the hooks, and its method makes no
 * difference here.
 *
 * cbmc explores every interleaving of the accesses. Memory is sequentially consistent here; the
 * litmus tests are about its order.
 */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#ifndef ROUNDS
#define ROUNDS 2	/* the maximum number of runs of the worker */
#endif

#define EINTR 4
#define HZ 100

#define IS_ENABLED(option) ENABLED_##option
#define ENABLED_CONFIG_JUMP_LABEL true
#define ENABLED_CONFIG_KCOV_PATCHED_ENTRY false

#define __init
#define __initdata
#define __ro_after_init
#define __setup(name, function)
#define early_initcall(function)
#define pr_info(...)
#define pr_warn(...)

_Bool nondet_bool(void);

/* One access at a time. */
#define ONE(statement)			\
	do {				\
		__CPROVER_atomic_begin();	\
		statement;		\
		__CPROVER_atomic_end();	\
	} while (0)

typedef struct {
	int counter;
} atomic_t;

static int add(atomic_t *number, int more)
{
	int result;

	ONE(number->counter += more; result = number->counter);
	__CPROVER_assert(result >= 0, "a count is never negative");
	return result;
}

#define atomic_inc(number) add(number, 1)
#define atomic_inc_return(number) add(number, 1)
#define atomic_dec_and_test(number) (add(number, -1) == 0)
#define atomic_read(number) ((number)->counter)

#define WRITE_ONCE(variable, value) ONE((variable) = (value))
#define smp_mb()
#define smp_store_release(variable, value) ONE(*(variable) = (value))
#define smp_load_acquire(variable) (*(variable))

/* The hooks. A switch of them takes a while. */
enum { OFF, SWITCHING, ON };
static int hooks = OFF;

static void switch_to(int state)
{
	ONE(hooks = SWITCHING);
	ONE(hooks = state);
}

#define DEFINE_STATIC_KEY_FALSE(name) int name
#define DECLARE_STATIC_KEY_FALSE(name) extern int name
#define static_branch_enable(key) switch_to(ON)
#define static_branch_disable(key) switch_to(OFF)

/* The workqueue: pending work is done at some time, however long the delay. */
struct work_struct {
	int unused;
};

static bool pending;

#define DECLARE_DELAYED_WORK(name, function) struct work_struct name
#define system_dfl_wq NULL
#define mod_delayed_work(queue, work, delay) ONE(pending = true)

/*
 * A wait ends when the condition holds, or when the task is killed. A task may also sleep until
 * the end, where it is checked: if it has not been woken by then, it was forgotten. That ends the
 * caller.
 */
#define ASLEEP 1

static bool asleep;

#define DECLARE_WAIT_QUEUE_HEAD(name) int name
#define wake_up_all(queue)
#define wait_event_killable(queue, condition)			\
	({							\
		bool killed = nondet_bool();			\
								\
		if (!killed && nondet_bool()) {			\
			asleep = true;				\
			return ASLEEP;				\
		}						\
		if (!killed)					\
			__CPROVER_assume(condition);		\
		killed;						\
	})

#include "gate.c"

static bool ended[2];
static bool worker_ended;

static void open_and_close(int number)
{
	if (kcov_gate_open() == 0) {
		__CPROVER_assert(hooks == ON, "the hooks are on when the gate has been opened");
		__CPROVER_assert(hooks == ON, "the hooks stay on until the gate is closed");
		kcov_gate_close();
	}
	ended[number] = true;
}

static void work(void)
{
	int round;

	for (round = 0; round < ROUNDS; round++) {
		if (nondet_bool())
			break;
		__CPROVER_atomic_begin();
		__CPROVER_assume(pending);
		pending = false;
		__CPROVER_atomic_end();
		update_gate(NULL);
		}
	worker_ended = true;
}

int main(void)
{
	init_gate();
	__CPROVER_assert(gate_works, "the gate works in this kernel");
__CPROVER_ASYNC_1:
	open_and_close(0);
__CPROVER_ASYNC_2:
	open_and_close(1);
__CPROVER_ASYNC_3:
	work();

	__CPROVER_assume(ended[0] && ended[1] && worker_ended);
	__CPROVER_assume(!pending);
	if (asleep) {
		__CPROVER_assert(gate_is_open && hooks == ON, "a task that waits is not forgotten");
	} else {
		__CPROVER_assert(users.counter == 0, "the count is 0 when all have closed the gate");
		__CPROVER_assert(!gate_is_open && hooks == OFF, "the hooks are off at the end");
	}
	return 0;
}
