// SPDX-License-Identifier: GPL-2.0

//! The hook at basic blocks.

use crate::{arch, gate, mode::RECORD_PCS, task};
use kernel::prelude::*;

hook! {
    /// Records that execution reached the code after the call of this function.
    ///
    /// # Safety
    ///
    /// None; C functions are unsafe to call by definition.
    #[export]
    pub(crate) unsafe extern "C" fn __sanitizer_cov_trace_pc() {
        if !gate::is_open() {
            return;
        }
        if let Some(recorder) = task::recorder(RECORD_PCS) {
            recorder.push_pc(arch::caller_pc!());
        }
    }
}
