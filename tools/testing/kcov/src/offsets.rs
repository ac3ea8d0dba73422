// SPDX-License-Identifier: GPL-2.0

//! Where a task has its fields.

pub(crate) const TASK_KCOV_CTX: usize = 0;
