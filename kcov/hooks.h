/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hooks that compiled code calls. A file that includes this one defines HOOK(), which is
 * applied to each hook.
 */

HOOK(__sanitizer_cov_trace_pc)
#ifdef CONFIG_KCOV_ENABLE_COMPARISONS
HOOK(__sanitizer_cov_trace_cmp1)
HOOK(__sanitizer_cov_trace_cmp2)
HOOK(__sanitizer_cov_trace_cmp4)
HOOK(__sanitizer_cov_trace_cmp8)
HOOK(__sanitizer_cov_trace_const_cmp1)
HOOK(__sanitizer_cov_trace_const_cmp2)
HOOK(__sanitizer_cov_trace_const_cmp4)
HOOK(__sanitizer_cov_trace_const_cmp8)
HOOK(__sanitizer_cov_trace_switch)
#endif

#undef HOOK
