/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of a task that belongs to KCOV in Rust.
 */
#ifndef _LINUX_KCOV_TYPES_H
#define _LINUX_KCOV_TYPES_H

#include <linux/types.h>

#ifdef CONFIG_KCOV_RUST

/*
 * Every task pays for these fields, traced or not. kernel/kcov/task.rs
 * explains them and is their only owner, except that the scheduler moves the
 * mode: see kcov_prepare_switch().
 */
struct kcov_ctx {
	/* What the hooks look at: what is recorded, how much fits, where it goes: */
	unsigned int	mode;
	unsigned int	softirq;
	unsigned int	capacity;
	void		*area;

	/* Where the hooks look when a record does not fit there: */
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
