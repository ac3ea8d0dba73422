// SPDX-License-Identifier: GPL-2.0

//! The hooks, called in the same way as by compiled code.

use super::*;

/// Records the hooks that `body` calls into an area of `words` words. Returns the content of a
/// buffer of 512 words after the merge, and the number of records that did not fit into the area.
fn probed(mode: Mode, words: usize, body: impl FnOnce()) -> Result<(KVec<u64>, usize)> {
    let _gate = gate::KeepOpen::new()?;
    let mut area = Area::new(words, GFP_KERNEL)?;
    {
        // The entry code of an interrupt may call instrumented functions before it is recognised as
        // an interrupt; these would be recorded.
        let _off = local_interrupt_disable();
        task::probe(&mut area, mode, words, body);
    }
    let buffer = Arc::new(Buffer::new(512)?, GFP_KERNEL)?;
    let laid_out = LaidOutBuffer::new(buffer.clone(), mode, 0)?;
    for kind in [Kind::Pc, Kind::Comparison] {
        // SAFETY: The probe has ended, and the hooks have written the count.
        let records = unsafe { area.layout().records(kind) };
        laid_out.append(&records, 0, records.count());
    }
    Ok((content(&buffer)?, area.layout().dropped()))
}

/// Calls a hook for two operands; returns the type and both operands of its record. Checks that it
/// is the only record and that its PC is in the image.
#[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
macro_rules! comparison {
    ($hook:ident, $operand:ty, $arg1:expr, $arg2:expr) => {{
        let (words, dropped) = probed(Mode::Cmp, 64, || {
            call!(
                crate::hooks::cmp::$hook,
                unsafe extern "C" fn($operand, $operand),
                $arg1,
                $arg2
            )
        })?;
        assert_eq!(dropped, 0);
        assert_eq!(words[0], 1);
        assert!(is_image(words[4]));
        [words[1], words[2], words[3]]
    }};
}

/// Records a `switch` over `value` whose operands have `bits` bits, into an area of `words` words.
/// Returns as [`probed`] does.
#[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
fn switch(bits: u64, value: u64, cases: &[u64], words: usize) -> Result<(KVec<u64>, usize)> {
    let mut table = KVec::new();
    table.extend_from_slice(&[cases.len() as u64, bits], GFP_KERNEL)?;
    table.extend_from_slice(cases, GFP_KERNEL)?;
    probed(Mode::Cmp, words, || {
        call!(
            crate::hooks::cmp::__sanitizer_cov_trace_switch,
            unsafe extern "C" fn(kernel::bindings::kcov_u64, *mut c_void),
            value as kernel::bindings::kcov_u64,
            table.as_mut_ptr().cast()
        )
    })
}

#[kunit_tests(kcov_hooks)]
mod cases {
    use super::*;

    #[test]
    fn pc_of_the_hook() -> Result {
        let (words, dropped) = probed(Mode::Pc, 64, || {
            call!(
                crate::hooks::pc::__sanitizer_cov_trace_pc,
                unsafe extern "C" fn(),
            );
            call!(
                crate::hooks::pc::__sanitizer_cov_trace_pc,
                unsafe extern "C" fn(),
            );
        })?;
        assert_eq!(dropped, 0);
        assert_eq!(words[0], 2);
        assert!(is_image(words[1]));
        // The two calls are close to each other, in this order.
        assert!((1..64).contains(&words[2].wrapping_sub(words[1])));
        assert_eq!(words[3], 0);
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
    fn types_of_the_hooks() -> Result {
        assert_eq!(
            comparison!(__sanitizer_cov_trace_cmp1, u8, 0xff, 0x80),
            [0, 0xff, 0x80]
        );
        assert_eq!(
            comparison!(__sanitizer_cov_trace_const_cmp1, u8, 1, 2),
            [1, 1, 2]
        );
        assert_eq!(
            comparison!(__sanitizer_cov_trace_cmp2, u16, 0xffff, 0x8000),
            [2, 0xffff, 0x8000]
        );
        assert_eq!(
            comparison!(__sanitizer_cov_trace_const_cmp2, u16, 1, 2),
            [3, 1, 2]
        );
        assert_eq!(
            comparison!(__sanitizer_cov_trace_cmp4, u32, u32::MAX, 1 << 31),
            [4, 0xffff_ffff, 0x8000_0000]
        );
        assert_eq!(
            comparison!(__sanitizer_cov_trace_const_cmp4, u32, 1, 2),
            [5, 1, 2]
        );
        assert_eq!(
            comparison!(
                __sanitizer_cov_trace_cmp8,
                kernel::bindings::kcov_u64,
                kernel::bindings::kcov_u64::MAX,
                1 << 63
            ),
            [6, u64::MAX, 1 << 63]
        );
        assert_eq!(
            comparison!(
                __sanitizer_cov_trace_const_cmp8,
                kernel::bindings::kcov_u64,
                1,
                2
            ),
            [7, 1, 2]
        );
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
    fn sizes_of_switches() -> Result {
        // The type says that an operand is a constant, and one of four sizes.
        for (bits, kind) in [(8, 1), (16, 3), (32, 5), (64, 7)] {
            let (words, dropped) = switch(bits, 0x1122_3344_5566_7788, &[5, u64::MAX, 6], 64)?;
            assert_eq!(dropped, 0);
            assert_eq!(words[0], 3);
            assert_eq!(words[1..4], [kind, 5, 0x1122_3344_5566_7788]);
            assert_eq!(words[5..8], [kind, u64::MAX, 0x1122_3344_5566_7788]);
            assert_eq!(words[9..12], [kind, 6, 0x1122_3344_5566_7788]);
            assert!(is_image(words[4]));
            assert_eq!([words[8], words[12]], [words[4]; 2]);
            assert_eq!(words[13], 0);
        }
        // Compilers do not emit other sizes, and the type cannot express them.
        for bits in [0, 1, 4, 7, 12, 24, 48, 65, 128, 1 << 35, u64::MAX] {
            let (words, dropped) = switch(bits, 1, &[5, 6], 64)?;
            assert_eq!(dropped, 0);
            assert_eq!(words[0], 0);
        }
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
    fn cases_of_switches() -> Result {
        let (words, dropped) = switch(32, 1, &[], 64)?;
        assert_eq!(dropped, 0);
        assert_eq!(words[0], 0);
        // 25 cases fit into 101 words, and 26 do not.
        let mut cases = [0; 100];
        for (index, case) in cases.iter_mut().enumerate() {
            *case = 1000 + index as u64;
        }
        for (number, words, fitting) in [(25, 101, 25), (26, 101, 25), (100, 104, 25)] {
            let (words, dropped) = switch(16, 9, &cases[..number], words)?;
            assert_eq!(dropped, number - fitting);
            assert_eq!(words[0], fitting as u64);
            for index in 0..fitting {
                let record = &words[1 + 4 * index..][..4];
                assert_eq!(record[..3], [3, 1000 + index as u64, 9]);
                assert_eq!(record[3], words[4]);
            }
            assert_eq!(words[1 + 4 * fitting], 0);
        }
        // The area is too small for any record.
        let (words, dropped) = switch(8, 9, &cases[..7], 4)?;
        assert_eq!(dropped, 7);
        assert_eq!(words[0], 0);
        Ok(())
    }
}
