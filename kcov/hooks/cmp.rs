// SPDX-License-Identifier: GPL-2.0

//! The hooks at comparisons.

use crate::{arch, gate, mode::RECORD_COMPARISONS, records::Comparison, task};
use core::ffi::c_void;
use kernel::{bindings, prelude::*};

/// Defines the hooks for one operand type. `$constant` is the hook for comparisons whose first
/// operand is a compile-time constant.
macro_rules! comparison_hooks {
    ($operand:ty, $plain:ident, $constant:ident) => {
        comparison_hooks!($operand, $plain, 0, "Records a comparison of two values.");
        comparison_hooks!(
            $operand,
            $constant,
            u64::from(bindings::KCOV_CMP_CONST),
            "Records a comparison of a constant with a value."
        );
    };
    ($operand:ty, $name:ident, $bits:expr, $doc:literal) => {
        hook! {
            #[doc = $doc]
            ///
            /// # Safety
            ///
            /// None; C functions are unsafe to call by definition.
            #[export]
            #[allow(
                clippy::cast_lossless,
                reason = "the type of eight bytes is usize, which has no From for u64"
            )]
            pub(crate) unsafe extern "C" fn $name(arg1: $operand, arg2: $operand) {
                if !gate::is_open() {
                    return;
                }
                if let Some(recorder) = task::recorder(RECORD_COMPARISONS) {
                    recorder.push_comparison(Comparison {
                        kind: $bits | size_bits(size_of::<$operand>()),
                        arg1: arg1 as u64,
                        arg2: arg2 as u64,
                        pc: arch::caller_pc!(),
                    });
                }
            }
        }
    };
}

/// Returns the bits of a record's type that encode the operand size: `KCOV_CMP_SIZE()` in the
/// header.
const fn size_bits(bytes: usize) -> u64 {
    (bytes.trailing_zeros() as u64) << 1
}

comparison_hooks!(
    u8,
    __sanitizer_cov_trace_cmp1,
    __sanitizer_cov_trace_const_cmp1
);
comparison_hooks!(
    u16,
    __sanitizer_cov_trace_cmp2,
    __sanitizer_cov_trace_const_cmp2
);
comparison_hooks!(
    u32,
    __sanitizer_cov_trace_cmp4,
    __sanitizer_cov_trace_const_cmp4
);
comparison_hooks!(
    bindings::kcov_u64,
    __sanitizer_cov_trace_cmp8,
    __sanitizer_cov_trace_const_cmp8
);

hook! {
    /// Records a `switch` as one comparison with each of its cases.
    ///
    /// # Safety
    ///
    /// `cases` points to the table that compilers emit: the number of cases, the size of the value
    /// in bits, then the cases.
    #[export]
    pub(crate) unsafe extern "C" fn __sanitizer_cov_trace_switch(
        val: bindings::kcov_u64,
        cases: *mut c_void,
    ) {
        if !gate::is_open() {
            return;
        }
        let Some(recorder) = task::recorder(RECORD_COMPARISONS) else {
            return;
        };
        let cases = cases.cast::<u64>();
        // SAFETY: By this function's requirement.
        let [count, bits] = unsafe { cases.cast::<[u64; 2]>().read() };
        // `bits` is 8, 16, 32 or 64 if a compiler emitted the table.
        let log2 = bits.trailing_zeros();
        if !(3..=6).contains(&log2) || bits != 1_u64.wrapping_shl(log2) {
            return;
        }
        let kind = u64::from(bindings::KCOV_CMP_CONST) | u64::from(log2.wrapping_sub(3)) << 1;
        let pc = arch::caller_pc!();
        // SAFETY: By this function's requirement, `count` values follow.
        unsafe { recorder.push_cases(kind, val as u64, cases.wrapping_add(2), count, pc) };
    }
}
