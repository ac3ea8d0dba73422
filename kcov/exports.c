// SPDX-License-Identifier: GPL-2.0
/*
 * The symbols that modules use. Every instrumented module calls the hooks, whatever its licence,
 * so these are not EXPORT_SYMBOL_GPL(), which Rust code gets from rust/exports.c.
 */

#include <linux/export.h>
#include <linux/kcov.h>

#define HOOK(hook) EXPORT_SYMBOL(hook);
#include "hooks.h"

EXPORT_SYMBOL(kcov_remote_start);
EXPORT_SYMBOL(kcov_remote_stop);
EXPORT_SYMBOL(kcov_common_handle);
