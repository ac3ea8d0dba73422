// SPDX-License-Identifier: GPL-2.0
/* Changes the calls of hooks in the running kernel, for x86-64. See sites.h. */

#include <linux/cpu.h>
#include <linux/init.h>
#include <linux/kcov.h>
#include <linux/memory.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/sync_core.h>
#include <linux/text-patching.h>
#include <linux/uaccess.h>
#include <linux/unaligned.h>
#include <linux/workqueue.h>
#include <asm/alternative.h>
#include <asm/ibt.h>
#include <asm/sections.h>

#include "sites.h"

/*
 * The time without users after which the calls become NOPs. It is longer than the delay of the
 * gate, because changing all sites takes longer.
 */
#define REMOVE_DELAY (5 * HZ)

static void *const hooks[] = {
#define HOOK(hook) hook,
#include "hooks.h"
};

/*
 * Returns the address that calls of a hook lead to. Where calls are counted to protect the return
 * stack, that is code in front of the hook.
 */
static void *destination(int hook)
{
	return callthunks_translate_call_dest(hooks[hook]);
}

int kcov_site_hook(const void *code)
{
	const u8 *insn = code;
	const void *dest;
	int i;

	if (*insn != CALL_INSN_OPCODE)
		return KCOV_SITE_STAYS;
	dest = insn + CALL_INSN_SIZE + (s32)get_unaligned((const u32 *)(insn + 1));
	for (i = 0; i < ARRAY_SIZE(hooks); i++)
		if (dest == hooks[i] || dest == destination(i))
			return i;
	return KCOV_SITE_STAYS;
}

bool kcov_site_is_init(const void *code)
{
	return init_section_contains((void *)code, CALL_INSN_SIZE);
}

void kcov_sites_remove_early(void **code, unsigned int nr)
{
	unsigned long flags;
	unsigned int i;

	/* An interrupt must not run half of an instruction. */
	local_irq_save(flags);
	for (i = 0; i < nr; i++)
		memcpy(code[i], x86_nops[CALL_INSN_SIZE], CALL_INSN_SIZE);
	sync_core();
	local_irq_restore(flags);
}

void kcov_sites_begin(void)
{
	cpus_read_lock();
	mutex_lock(&text_mutex);
}

void kcov_site_change(void *code, int hook)
{
	const void *insn = x86_nops[CALL_INSN_SIZE];

	if (hook >= 0)
		insn = text_gen_insn(CALL_INSN_OPCODE, code, destination(hook));
	smp_text_poke_batch_add(code, insn, CALL_INSN_SIZE, NULL);
}

void kcov_sites_end(void)
{
	smp_text_poke_batch_finish();
	mutex_unlock(&text_mutex);
	cpus_read_unlock();
}

/* Returns whether one of some sites, which are sorted, is in the code from @start to @end. */
static bool has_site(const struct kcov_site *sites, unsigned int nr, void *start, void *end)
{
	/* The first byte of a site whose last byte is at @start. */
	s64 first = start - (void *)_stext - (CALL_INSN_SIZE - 1), last = end - (void *)_stext;
	unsigned int from = 0, to = nr, middle;

	while (from < to) {
		middle = from + (to - from) / 2;
		if (sites[middle].code < first)
			from = middle + 1;
		else
			to = middle;
	}
	return from < nr && sites[from].code <= last;
}

/*
 * May be called where a task must not sleep, so it takes no lock: addresses in the tables do not
 * change. Nothing can be probed before the tables are made.
 */
int kcov_text_reserved(void *start, void *end)
{
	unsigned int nr = __stop_kcov_sites - __start_kcov_sites;
#ifdef CONFIG_MODULES
	struct module *mod;
#endif

	if (has_site(__start_kcov_sites, nr, start, end))
		return 1;
#ifdef CONFIG_MODULES
	guard(rcu)();
	mod = __module_text_address((unsigned long)start);
	if (mod && has_site(mod->kcov_sites, mod->num_kcov_sites, start, end))
		return 1;
#endif
	return 0;
}

static void remove_sites(struct work_struct *work)
{
	kcov_sites_remove();
}

static DECLARE_DELAYED_WORK(remove_work, remove_sites);

void kcov_sites_remove_later(void)
{
	mod_delayed_work(system_dfl_wq, &remove_work, REMOVE_DELAY);
}

static void change_sites(struct work_struct *work)
{
	kcov_sites_change();
}

static DECLARE_WORK(change_work, change_sites);

void kcov_sites_change_later(void)
{
	queue_work(system_dfl_wq, &change_work);
}

bool kcov_sites_pause(void)
{
	cond_resched();
	return fatal_signal_pending(current);
}

bool kcov_site_read(void *to, unsigned long code, size_t size)
{
	return !copy_from_kernel_nofault(to, (void *)code, size);
}

size_t kcov_site_padding(void)
{
#ifdef CONFIG_CALL_THUNKS
	return CONFIG_FUNCTION_PADDING_BYTES;
#else
	return 0;
#endif
}

/*
 * The code for the boot is freed soon. Nothing tells when, so the sites in it stay what they are
 * from the last initcall on.
 */
static int __init forget_init(void)
{
	kcov_sites_forget_init();
	return 0;
}
late_initcall_sync(forget_init);

#ifdef CONFIG_MODULES

static int follow_module(struct notifier_block *nb, unsigned long state, void *data)
{
	struct module *mod = data;
	struct module_memory *init = &mod->mem[MOD_INIT_TEXT];

	if (!mod->num_kcov_sites)
		return NOTIFY_DONE;
	switch (state) {
	case MODULE_STATE_COMING:
		kcov_sites_add(mod->kcov_sites, mod->num_kcov_sites, mod->name);
		break;
	case MODULE_STATE_LIVE:
		kcov_sites_forget(mod->kcov_sites, (unsigned long)init->base,
				  (unsigned long)init->base + init->size);
		break;
	case MODULE_STATE_GOING:
		kcov_sites_del(mod->kcov_sites);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block module_follower = {
	.notifier_call = follow_module,
	/* Before those that may probe the module's code. */
	.priority = 1,
};

static int __init follow_modules(void)
{
	return register_module_notifier(&module_follower);
}
early_initcall(follow_modules);

#endif /* CONFIG_MODULES */
