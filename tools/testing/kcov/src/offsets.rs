// SPDX-License-Identifier: GPL-2.0

//! The offsets of a task's fields.

pub(crate) const TASK_KCOV_CTX: usize = 0;
