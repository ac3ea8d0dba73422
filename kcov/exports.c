// SPDX-License-Identifier: GPL-2.0
/*
 * The symbols that modules use. Every instrumented module calls the hooks, whatever its licence,
 * so these are no EXPORT_SYMBOL_GPL(), which is what Rust code gets from rust/exports.c.
 */

#include <linux/export.h>
#include <linux/kcov.h>

EXPORT_SYMBOL(__sanitizer_cov_trace_pc);
#ifdef CONFIG_KCOV_ENABLE_COMPARISONS
EXPORT_SYMBOL(__sanitizer_cov_trace_cmp1);
EXPORT_SYMBOL(__sanitizer_cov_trace_cmp2);
EXPORT_SYMBOL(__sanitizer_cov_trace_cmp4);
EXPORT_SYMBOL(__sanitizer_cov_trace_cmp8);
EXPORT_SYMBOL(__sanitizer_cov_trace_const_cmp1);
EXPORT_SYMBOL(__sanitizer_cov_trace_const_cmp2);
EXPORT_SYMBOL(__sanitizer_cov_trace_const_cmp4);
EXPORT_SYMBOL(__sanitizer_cov_trace_const_cmp8);
EXPORT_SYMBOL(__sanitizer_cov_trace_switch);
#endif

EXPORT_SYMBOL(kcov_remote_start);
EXPORT_SYMBOL(kcov_remote_stop);
EXPORT_SYMBOL(kcov_common_handle);
