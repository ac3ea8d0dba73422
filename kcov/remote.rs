// SPDX-License-Identifier: GPL-2.0

//! Coverage of code that runs on behalf of a task but elsewhere: in background tasks and softirqs.

pub(crate) mod handle;
pub(crate) mod pool;
pub(crate) mod registry;
pub(crate) mod section;
