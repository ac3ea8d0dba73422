/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The gate of the hooks: while it is closed, each returns at once.
 *
 * On x86, the first instruction of every hook is a return then, as in a function that is empty.
 * Where the entries are not patched, there is a jump label after them, and where there are no jump
 * labels, the gate is always open.
 */
#ifndef _KERNEL_KCOV_GATE_H
#define _KERNEL_KCOV_GATE_H

#include <linux/jump_label.h>

#if defined(CONFIG_JUMP_LABEL) && !defined(CONFIG_KCOV_PATCHED_ENTRY)
DECLARE_STATIC_KEY_FALSE(kcov_gate);
#endif

/*
 * Opens the gate until kcov_gate_close() is called as often. May sleep: a worker switches the
 * hooks. -EINTR, and the gate as before, if the task is killed while it waits.
 */
int kcov_gate_open(void);

/* May be called from any context but hard interrupts and NMI. */
void kcov_gate_close(void);

/* For kcov_statistics: "on", "off", or "always"; and how often the hooks were switched. */
const char *kcov_gate_state(void);
int kcov_gate_switches(void);

#endif /* _KERNEL_KCOV_GATE_H */
