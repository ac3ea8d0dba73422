// SPDX-License-Identifier: GPL-2.0
/*
 * The gate: whether anybody may be collecting coverage, anywhere. See gate.h and gate.rs.
 */

#define pr_fmt(fmt) "kcov: " fmt

#include <linux/atomic.h>
#include <linux/init.h>
#include <linux/kcov.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/workqueue.h>

#include "gate.h"

#ifdef CONFIG_KCOV_PATCHED_ENTRY

#include <linux/cpu.h>
#include <linux/memory.h>
#include <linux/sort.h>
#include <linux/text-patching.h>
#include <asm/ibt.h>
#include <asm/nospec-branch.h>

#define ENTRY_SIZE 5

/* Every hook starts with an instruction of this size that does nothing while the gate is open. */
static void *entries[] __ro_after_init = {
	__sanitizer_cov_trace_pc,
#ifdef CONFIG_KCOV_ENABLE_COMPARISONS
	__sanitizer_cov_trace_cmp1,
	__sanitizer_cov_trace_cmp2,
	__sanitizer_cov_trace_cmp4,
	__sanitizer_cov_trace_cmp8,
	__sanitizer_cov_trace_const_cmp1,
	__sanitizer_cov_trace_const_cmp2,
	__sanitizer_cov_trace_const_cmp4,
	__sanitizer_cov_trace_const_cmp8,
	__sanitizer_cov_trace_switch,
#endif
};

/* The return that takes its place while the gate is closed. */
static const void *closed_entry(void *entry)
{
	static const u8 ret[ENTRY_SIZE] = {
		RET_INSN_OPCODE, INT3_INSN_OPCODE, INT3_INSN_OPCODE, INT3_INSN_OPCODE,
		INT3_INSN_OPCODE
	};

	if (cpu_wants_rethunk_at(entry))
		return text_gen_insn(JMP32_INSN_OPCODE, entry, x86_return_thunk);
	return ret;
}

static void set_gate(bool open)
{
	int i;

	cpus_read_lock();
	mutex_lock(&text_mutex);
	for (i = 0; i < ARRAY_SIZE(entries); i++)
		smp_text_poke_batch_add(entries[i],
					open ? x86_nops[ENTRY_SIZE] : closed_entry(entries[i]),
					ENTRY_SIZE, NULL);
	smp_text_poke_batch_finish();
	mutex_unlock(&text_mutex);
	cpus_read_unlock();
}

static int __init compare_addresses(const void *a, const void *b)
{
	unsigned long first = *(unsigned long *)a, second = *(unsigned long *)b;

	return first < second ? -1 : first > second;
}

static bool __init prepare_gate(void)
{
	/* What LLVM puts there, without the last byte, which differs between its versions. */
	static const u8 nop[] __initconst = { 0x0f, 0x1f, 0x44, 0x00 };
	int i;

	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		if (is_endbr(entries[i]))
			entries[i] += ENDBR_INSN_SIZE;
		/* Whatever else is there has to stay. */
		if (memcmp(entries[i], nop, sizeof(nop))) {
			pr_warn("%pS is not as expected, so the hooks stay switched on\n",
				entries[i]);
			return false;
		}
	}
	/* In order, all are changed in one go. */
	sort(entries, ARRAY_SIZE(entries), sizeof(entries[0]), compare_addresses, NULL);
	return true;
}

#elif defined(CONFIG_JUMP_LABEL)

DEFINE_STATIC_KEY_FALSE(kcov_gate);

static void set_gate(bool open)
{
	if (open)
		static_branch_enable(&kcov_gate);
	else
		static_branch_disable(&kcov_gate);
}

static bool __init prepare_gate(void)
{
	return true;
}

#else

static void set_gate(bool open)
{
}

/* Without jump labels a test would cost as much as the one of the task's mode. */
static bool __init prepare_gate(void)
{
	return false;
}

#endif

/*
 * A second without users passes before the hooks are switched off. Fuzzers set up buffers in quick
 * succession, and each switch costs interprocessor interrupts.
 */
#define CLOSE_DELAY HZ

/* How many users keep the gate open. It is 0 only under the lock, or on the way to being closed. */
static atomic_t users;
static DEFINE_MUTEX(gate_lock);
static bool gate_works __ro_after_init;
/* Static keys are off at boot; what is patched, or never closed, is open. */
static bool gate_is_open = !IS_ENABLED(CONFIG_JUMP_LABEL) || IS_ENABLED(CONFIG_KCOV_PATCHED_ENTRY);

static void close_gate(struct work_struct *work)
{
	mutex_lock(&gate_lock);
	if (gate_works && gate_is_open && !atomic_read(&users)) {
		set_gate(false);
		gate_is_open = false;
	}
	mutex_unlock(&gate_lock);
}

static DECLARE_DELAYED_WORK(close_work, close_gate);

void kcov_gate_open(void)
{
	/*
	 * Whoever finds a user finds the gate open.
	 *
	 * ORDERING: Pairs with the release below, which comes after the hooks are switched on.
	 */
	if (atomic_inc_not_zero(&users))
		return;
	mutex_lock(&gate_lock);
	if (!gate_is_open) {
		set_gate(true);
		gate_is_open = true;
	}
	/* ORDERING: Pairs with the fully ordered increment above, in others who find this user. */
	atomic_inc_return_release(&users);
	mutex_unlock(&gate_lock);
}

void kcov_gate_close(void)
{
	if (atomic_dec_and_test(&users))
		mod_delayed_work(system_percpu_wq, &close_work, CLOSE_DELAY);
}

/* Until here, hooks with a patched entry look at the task's mode, which is right, but slower. */
static int __init init_gate(void)
{
	gate_works = prepare_gate();
	close_gate(NULL);
	return 0;
}
early_initcall(init_gate);
