// SPDX-License-Identifier: GPL-2.0
/*
 * The symbols that modules use. Every instrumented module calls the hooks, whatever its licence is.
 * Therefore they are not exported with EXPORT_SYMBOL_GPL(), as rust/exports.c does for other Rust
 * code.
 */

#include <linux/export.h>
#include <linux/kcov.h>

#define HOOK(hook) EXPORT_SYMBOL(hook);
#include "hooks.h"

EXPORT_SYMBOL(kcov_remote_start);
EXPORT_SYMBOL(kcov_remote_stop);
EXPORT_SYMBOL(kcov_common_handle);
