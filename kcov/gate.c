// SPDX-License-Identifier: GPL-2.0
/* The gate, which switches the hooks on and off. See gate.h and gate.rs. */

#define pr_fmt(fmt) "kcov: " fmt

#include <linux/atomic.h>
#include <linux/init.h>
#include <linux/kcov.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "gate.h"
#include "sites.h"

#if defined(CONFIG_X86_64) && !defined(CONFIG_UML)
#define MAY_BE_EMULATED
#include <linux/cpufeature.h>
#include <asm/cpuid/api.h>
#endif

#ifdef CONFIG_KCOV_PATCHED_ENTRY

#include <linux/cpu.h>
#include <linux/memory.h>
#include <linux/sort.h>
#include <linux/text-patching.h>
#include <asm/ibt.h>
#include <asm/nospec-branch.h>

#define ENTRY_SIZE 5

/*
 * The entries of the hooks. The first instruction of each has ENTRY_SIZE bytes and does nothing
 * while the gate is open.
 */
static void *entries[] __ro_after_init = {
#define HOOK(hook) hook,
#include "hooks.h"
};

/* Returns the instruction that replaces an entry while the gate is closed: a return. */
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
	/*
	 * The instruction that LLVM emits, without its last byte, which differs between LLVM
	 * versions.
	 */
	static const u8 nop[] __initconst = { 0x0f, 0x1f, 0x44, 0x00 };
	int i;

	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		if (is_endbr(entries[i]))
			entries[i] += ENDBR_INSN_SIZE;
		/* Any other instruction must stay. */
		if (memcmp(entries[i], nop, sizeof(nop))) {
			pr_warn("%pS is not as expected, so the hooks stay switched on\n",
				entries[i]);
			return false;
		}
	}
	/* Sorted entries are all patched in one batch. */
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

/* Without jump labels, a test of the gate would cost as much as the test of the task's mode. */
static bool __init prepare_gate(void)
{
	return false;
}

#endif

/*
 * The time without users after which the hooks are switched off. Fuzzers set up buffers in quick
 * succession, and each switch costs interprocessor interrupts.
 */
#define CLOSE_DELAY HZ

/* The number of users that need the gate open. */
static atomic_t users;
/*
 * True if the hooks are on for every CPU. Static keys are off at boot; hooks that are patched or
 * never switched are on. Initialization changes this at boot, and only the worker after that.
 */
static bool gate_is_open = !IS_ENABLED(CONFIG_JUMP_LABEL) || IS_ENABLED(CONFIG_KCOV_PATCHED_ENTRY);
static bool gate_works __ro_after_init;
/* For kcov_statistics: the number of switches, and whether the hooks are on. */
static atomic_t switches;
static bool hooks_are_on = !IS_ENABLED(CONFIG_JUMP_LABEL) || IS_ENABLED(CONFIG_KCOV_PATCHED_ENTRY);
static DECLARE_WAIT_QUEUE_HEAD(gate_opened);

static void switch_hooks(bool open)
{
	set_gate(open);
	atomic_inc(&switches);
	/*
	 * ORDERING: The count before the state: a reader of the new state sees the switch counted.
	 * Pairs with kcov_gate_state().
	 */
	smp_store_release(&hooks_are_on, open);
}

static void open_gate(void)
{
	if (gate_is_open)
		return;
	switch_hooks(true);
	kcov_sites_want(true);
	/* ORDERING: The hooks before the flag. Pairs with the acquire in gate_is_known_open(). */
	smp_store_release(&gate_is_open, true);
	wake_up_all(&gate_opened);
}

static void close_gate(void)
{
	if (!gate_is_open)
		return;
	WRITE_ONCE(gate_is_open, false);
	/*
	 * ORDERING: The flag before the count. kcov_gate_open() accesses them in the other order,
	 * with a full barrier between them. So either this load sees the new user, or the user sees
	 * that the gate is not open and waits.
	 */
	smp_mb();
	if (atomic_read(&users)) {
		/*
		 * The hooks are still on, so tasks that already wait may continue. The barrier
		 * above orders what switched them on before the flag.
		 */
		WRITE_ONCE(gate_is_open, true);
		wake_up_all(&gate_opened);
		return;
	}
	switch_hooks(false);
	kcov_sites_want(false);
}

/*
 * Opens or closes the gate, depending on the number of users. Only this worker changes the gate,
 * and it never runs twice at the same time.
 */
static void update_gate(struct work_struct *work)
{
	if (atomic_read(&users))
		open_gate();
	else
		close_gate();
}

static DECLARE_DELAYED_WORK(gate_work, update_gate);

/*
 * Starts the worker on any CPU: a worker bound to a CPU that runs a real-time task for ever would
 * never run.
 */
static void update_gate_in(unsigned long delay)
{
	mod_delayed_work(system_dfl_wq, &gate_work, delay);
}

static bool gate_is_known_open(void)
{
	/*
	 * ORDERING: Pairs with the release in open_gate() and the barrier in close_gate(): the
	 * hooks are on.
	 */
	return smp_load_acquire(&gate_is_open);
}

int kcov_gate_open(void)
{
	int ret;

	/*
	 * ORDERING: Fully ordered, the count before the flag. Pairs with the barrier in
	 * close_gate().
	 */
	atomic_inc_return(&users);
	if (gate_is_known_open())
		return 0;
	update_gate_in(0);
	ret = wait_event_killable(gate_opened, gate_is_known_open());
	if (ret)
		kcov_gate_close();
	return ret ? -EINTR : 0;
}

void kcov_gate_close(void)
{
	if (!atomic_dec_and_test(&users) || !gate_works)
		return;
	update_gate_in(CLOSE_DELAY);
	/* A user that arrived before this call must not wait for the delay. */
	if (atomic_read(&users))
		update_gate_in(0);
}

const char *kcov_gate_state(void)
{
	if (!gate_works)
		return "always";
	/* ORDERING: Pairs with the release in switch_hooks(). */
	return smp_load_acquire(&hooks_are_on) ? "on" : "off";
}

int kcov_gate_switches(void)
{
	return atomic_read(&switches);
}

/*
 * The request of the boot parameter: while no buffer exists, remove the calls of the hooks, or only
 * switch the hooks off; do neither; or choose.
 */
static enum { HOOKS_CHOOSE, HOOKS_SITES, HOOKS_SWITCHED, HOOKS_ALWAYS } wanted __initdata;

static int __init parse_wanted(char *arg)
{
	if (!strcmp(arg, "sites"))
		wanted = HOOKS_SITES;
	else if (!strcmp(arg, "switched"))
		wanted = HOOKS_SWITCHED;
	else if (!strcmp(arg, "always"))
		wanted = HOOKS_ALWAYS;
	else
		pr_warn("kcov_hooks=%s is not known; it can be sites, switched or always\n", arg);
	return 1;
}
__setup("kcov_hooks=", parse_wanted);

/*
 * Returns whether the processor is emulated by QEMU. Before QEMU 8.1, a CPU of such a guest may go
 * on executing an instruction that another CPU has replaced, and hit a breakpoint that the kernel
 * has already forgotten.
 */
static bool __init is_emulated(void)
{
#ifdef MAY_BE_EMULATED
	return boot_cpu_has(X86_FEATURE_HYPERVISOR) && cpuid_base_hypervisor("TCGTCGTCGTCG", 0);
#else
	return false;
#endif
}

static bool __init want_switches(void)
{
	if (wanted == HOOKS_CHOOSE && is_emulated()) {
		pr_info("QEMU emulates this processor, so the hooks are never switched off (kcov_hooks=)\n");
		return false;
	}
	return wanted != HOOKS_ALWAYS;
}

/*
 * Until this point, hooks with a patched entry test the task's mode, which is correct but slower.
 */
static int __init init_gate(void)
{
	gate_works = prepare_gate() && want_switches();
	kcov_sites_init(gate_works && wanted != HOOKS_SWITCHED);
	if (gate_works)
		close_gate();
	else
		open_gate();
	return 0;
}
early_initcall(init_gate);
