/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The sites: the calls of the hooks in the running kernel, which become NOPs while no buffer
 * exists, and where they are not selected. sites.rs has the table of sites and decides; sites.c
 * changes the code.
 */
#ifndef _KERNEL_KCOV_SITES_H
#define _KERNEL_KCOV_SITES_H

#include <linux/kcov.h>
#include <asm/sections.h>

#ifdef CONFIG_KCOV_SITES

/* The sites of the kernel image. */
extern struct kcov_site __start_kcov_sites[], __stop_kcov_sites[];

/*
 * The largest number of sites that are changed under the locks at once: as many as
 * smp_text_poke_batch_add() takes.
 */
#define KCOV_SITES_BATCH	256

/* The result of kcov_site_hook() for an instruction that always stays. */
#define KCOV_SITE_STAYS		(-1)

/*
 * Returns the number of the hook that the call at @code calls. Returns KCOV_SITE_STAYS for a jump
 * to a hook, which the end of a function may have instead of a call, and for anything else.
 */
int kcov_site_hook(const void *code);

/* Returns whether the address is in code that the kernel frees after the boot. */
bool kcov_site_is_init(const void *code);

/*
 * Replaces the calls at some sites by NOPs. For the boot, before the other CPUs run; @nr is at most
 * KCOV_SITES_BATCH.
 */
void kcov_sites_remove_early(void **code, unsigned int nr);

/*
 * kcov_site_change() makes the site a call of hook number @hook, or a NOP if @hook is negative, by
 * the time when kcov_sites_end() returns. Call it between the two other functions, with addresses
 * in ascending order. May sleep.
 */
void kcov_sites_begin(void);
void kcov_site_change(void *code, int hook);
void kcov_sites_end(void);

/* Have kcov_sites_remove() called in a worker after the delay, and kcov_sites_change() soon. */
void kcov_sites_remove_later(void);
void kcov_sites_change_later(void);

/* Lets other tasks run. Returns whether the current task was killed. */
bool kcov_sites_pause(void);

/* Reads code of the kernel, which may change at the same time. Returns whether it is there. */
bool kcov_site_read(void *to, unsigned long code, size_t size);

/* Returns the number of bytes in front of a function that calls of it may lead to. */
size_t kcov_site_padding(void);

/*
 * These functions are in sites.rs. The first one prepares the table at boot, and makes all sites
 * NOPs if @remove is true. The second one makes all selected sites calls again and returns when
 * that is done, or has them become NOPs after a while. Both do nothing but count if @remove was
 * false.
 */
void kcov_sites_init(bool remove);
void kcov_sites_want(bool wanted);
void kcov_sites_remove(void);
/* Changes the sites after a change of the selection. */
void kcov_sites_change(void);
/* The kernel is about to free its code for the boot. */
void kcov_sites_forget_init(void);
/*
 * The module @name is about to run, has run the code between @init and @init_end, which is then
 * freed, or is about to go.
 */
void kcov_sites_add(struct kcov_site *sites, unsigned int nr, const char *name);
void kcov_sites_forget(struct kcov_site *sites, unsigned long init, unsigned long init_end);
void kcov_sites_del(struct kcov_site *sites);

#else /* CONFIG_KCOV_SITES */

static inline void kcov_sites_init(bool remove) {}
static inline void kcov_sites_want(bool wanted) {}

#endif /* CONFIG_KCOV_SITES */

#endif /* _KERNEL_KCOV_SITES_H */
