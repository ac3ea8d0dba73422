/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of a task that belongs to KCOV in Rust.
 */
#ifndef _LINUX_KCOV_TYPES_H
#define _LINUX_KCOV_TYPES_H

#include <linux/types.h>

#ifdef CONFIG_KCOV_RUST

/*
 * Every task pays for these fields, traced or not. kernel/kcov/task.rs explains them and is the
 * only code that accesses them, except that the scheduler shifts the mode: see
 * kcov_prepare_switch().
 */
struct kcov_ctx {
	/* Read by the hooks: the kind of records, the number that fit, the address to write to. */
	unsigned int	mode;
	unsigned int	softirq;
	unsigned int	capacity;
	void		*area;

	/* Read by the hooks when a record does not fit there. */
	void		*layout;

	/* The innermost remote section that runs on this task: */
	void		*section;

	/* The descriptors that this task has enabled: */
	void		*local;
	void		*remote;

	/* The common handle for work that is done elsewhere for this task: */
	u64		handle;
};

#endif /* CONFIG_KCOV_RUST */

#endif /* _LINUX_KCOV_TYPES_H */
