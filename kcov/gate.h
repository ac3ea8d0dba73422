/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The gate of the hooks: while it is closed, each hook returns at once.
 *
 * On x86, a closed gate makes the first instruction of every hook a return, as in an empty
 * function. Where the entries are not patched, a jump label follows them. Without jump labels, the
 * gate is always open.
 */
#ifndef _KERNEL_KCOV_GATE_H
#define _KERNEL_KCOV_GATE_H

#include <linux/jump_label.h>

#if defined(CONFIG_JUMP_LABEL) && !defined(CONFIG_KCOV_PATCHED_ENTRY)
DECLARE_STATIC_KEY_FALSE(kcov_gate);
#endif

/*
 * Opens the gate until kcov_gate_close() has been called as often. May sleep: a worker switches the
 * hooks. Returns -EINTR and leaves the gate as it was if the task is killed while it waits.
 */
int kcov_gate_open(void);

/* Undoes one kcov_gate_open(). May be called from any context but hard interrupts and NMIs. */
void kcov_gate_close(void);

/*
 * For kcov_statistics: returns "on", "off" or "always"; the number of times that the hooks were
 * switched.
 */
const char *kcov_gate_state(void);
int kcov_gate_switches(void);

#endif /* _KERNEL_KCOV_GATE_H */
