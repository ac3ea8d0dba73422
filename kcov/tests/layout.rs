// SPDX-License-Identifier: GPL-2.0

//! Layouts: the records that fit, and user memory with forged counts.

use super::*;

/// Counts that user space may write: those that bugs of earlier versions mishandled, and numbers
/// next to them.
const FORGED: [u64; 10] = [
    3,
    4,
    u32::MAX as u64,
    (1 << 58) - 1,
    1 << 58,
    (1 << 59) - 1,
    1 << 59,
    1 << 61,
    1 << 63,
    u64::MAX,
];

/// Returns the first forged count with which `record` writes anything after the count; `None` if
/// there is none.
fn written_with_forged_count<const N: usize>(
    mode: Mode,
    kind: Kind,
    record: impl Fn(&Layout),
) -> Option<u64> {
    let full = kind.capacity(N - 1) as u64;
    FORGED
        .into_iter()
        .filter(|&count| count >= full)
        .find(|&count| {
            let mut words = [0; N];
            words[0] = count;
            let Ok(layout) = lay_out(&mut words, mode, 0) else {
                return true;
            };
            record(&layout);
            layout.dropped() != 1 || words[0] != count || words[1..].iter().any(|&word| word != 0)
        })
}

#[kunit_tests(kcov_layout)]
mod cases {
    use super::*;

    #[test]
    fn capacities() {
        assert_eq!(Kind::Pc.capacity(0), 0);
        assert_eq!(Kind::Pc.capacity(1), 0);
        assert_eq!(Kind::Pc.capacity(2), 1);
        assert_eq!(Kind::Pc.capacity(512), 511);
        assert_eq!(Kind::Comparison.capacity(0), 0);
        assert_eq!(Kind::Comparison.capacity(4), 0);
        assert_eq!(Kind::Comparison.capacity(5), 1);
        assert_eq!(Kind::Comparison.capacity(8), 1);
        assert_eq!(Kind::Comparison.capacity(9), 2);
        assert_eq!(Kind::Comparison.capacity(512), 127);
    }

    #[test]
    fn layouts() {
        let mut words = [0u64; 11];
        let mut fits = |mode, front| lay_out(&mut words, mode, front).is_ok();
        assert!(!fits(Mode::Unique, 0));
        assert_eq!(fits(Mode::Unique, 1), UNIQUE);
        assert_eq!(fits(Mode::Unique, 8), UNIQUE);
        assert!(!fits(Mode::Unique, 9));
        assert!(!fits(Mode::Unique, 10));
        assert!(!fits(Mode::Unique, 11));
        assert!(!fits(Mode::Unique, usize::MAX));
        // The front needs a count and a PC, the rest needs a count and a comparison.
        assert!(!fits(Mode::PcCmp, 0));
        assert!(!fits(Mode::PcCmp, 1));
        assert!(fits(Mode::PcCmp, 2));
        assert!(fits(Mode::PcCmp, 5));
        assert!(!fits(Mode::PcCmp, 6));
        assert!(!fits(Mode::PcCmp, usize::MAX));
    }

    #[test]
    fn halves_of_an_area() {
        let mut words = [0u64; 64];
        // SAFETY: The words outlive the layout.
        let memory = unsafe { Memory::new(words.as_mut_ptr().cast(), words.len()) };
        let layout = Layout::of_area(Mode::PcCmp, memory);
        for number in 0..40 {
            recorder(&layout).push_pc(number);
            push(&layout, number as u64);
        }
        // 31 PCs and 7 comparisons fit.
        assert_eq!(layout.dropped(), 9 + 33);
        assert_eq!(words[0], 31);
        assert_eq!(words[31].wrapping_sub(words[1]), 30);
        assert_eq!(words[32], 7);
        assert_eq!(words[57..60], [7, 6, 2]);
        assert_eq!(words[61..], [0, 0, 0]);
    }

    #[test]
    fn records_that_had_no_room() {
        let mut words = [0u64; 2];
        let layout = lay_out(&mut words, Mode::Cmp, 0).unwrap_or(Layout::nothing());
        assert!(!layout.has_records());
        push(&layout, 1);
        assert_eq!(layout.dropped(), 1);
        assert!(layout.has_records());
        let mut words = [0u64; 3];
        let layout = lay_out(&mut words, Mode::Pc, 0).unwrap_or(Layout::nothing());
        assert!(!layout.has_records());
        recorder(&layout).push_pc(1);
        assert_eq!(layout.dropped(), 0);
        assert!(layout.has_records());
        layout.reset_counts();
        assert!(!layout.has_records());
    }

    #[test]
    fn pcs_until_full() {
        let mut words = [0u64; 5];
        let layout = lay_out(&mut words, Mode::Pc, 0).unwrap_or(Layout::nothing());
        for number in 0..5 {
            recorder(&layout).push_pc(FOREIGN + number);
        }
        assert_eq!(layout.dropped(), 2);
        assert_eq!(words[0], 3);
        // PCs are canonical, so they are different numbers if the kernel was moved.
        if !cfg!(CONFIG_RANDOMIZE_BASE) {
            assert_eq!(words[1], 0x1000);
        }
        assert_eq!(words[2].wrapping_sub(words[1]), 1);
        assert_eq!(words[3].wrapping_sub(words[1]), 2);
        assert_eq!(words[4], 0);
    }

    #[test]
    fn comparisons_until_full() {
        // The count, two records, and three words, which are too few for another record.
        let mut words = [0u64; 13];
        let layout = lay_out(&mut words, Mode::Cmp, 0).unwrap_or(Layout::nothing());
        push(&layout, 10);
        push(&layout, 11);
        push(&layout, 12);
        assert_eq!(layout.dropped(), 1);
        assert_eq!(words[0], 2);
        assert_eq!(words[1], 7);
        assert_eq!(words[2], 10);
        assert_eq!(words[3], 2);
        assert_eq!(words[5], 7);
        assert_eq!(words[6], 11);
        assert_eq!(words[4], words[8]);
        assert_eq!(words[9..], [0, 0, 0, 0]);
    }

    #[test]
    fn cases_until_full() {
        let mut words = [0u64; 10];
        let layout = lay_out(&mut words, Mode::Cmp, 0).unwrap_or(Layout::nothing());
        let cases = [5u64, 6, 7];
        // SAFETY: `cases` has three elements.
        unsafe { recorder(&layout).push_cases(1, 9, cases.as_ptr(), 3, 0) };
        assert_eq!(layout.dropped(), 1);
        assert_eq!(words[0], 2);
        assert_eq!(words[1..4], [1, 5, 9]);
        assert_eq!(words[5..8], [1, 6, 9]);
        assert_eq!(words[9], 0);
        // SAFETY: No case is read.
        unsafe { recorder(&layout).push_cases(1, 9, cases.as_ptr(), 0, 0) };
        assert_eq!(words[0], 2);
    }

    #[test]
    fn both_kinds() {
        let mut words = [0u64; 14];
        let layout = lay_out(&mut words, Mode::PcCmp, 3).unwrap_or(Layout::nothing());
        for number in 0..3 {
            recorder(&layout).push_pc(number);
            push(&layout, number as u64);
        }
        // Two PCs and two comparisons fit.
        assert_eq!(layout.dropped(), 2);
        assert_eq!(words[0], 2);
        assert_eq!(words[2].wrapping_sub(words[1]), 1);
        assert_eq!(words[3], 2);
        assert_eq!(words[4..7], [7, 0, 2]);
        assert_eq!(words[8..11], [7, 1, 2]);
        assert_eq!(words[12..], [0, 0]);
    }

    #[test]
    fn forged_counts() {
        let case = [1u64];
        assert_eq!(
            written_with_forged_count::<5>(Mode::Pc, Kind::Pc, |layout| {
                recorder(layout).push_pc(1)
            }),
            None
        );
        assert_eq!(
            written_with_forged_count::<10>(Mode::Cmp, Kind::Comparison, |layout| {
                push(layout, 1)
            }),
            None
        );
        assert_eq!(
            written_with_forged_count::<10>(Mode::Cmp, Kind::Comparison, |layout| {
                // SAFETY: `case` has one element.
                unsafe { recorder(layout).push_cases(1, 1, case.as_ptr(), 1, 1) }
            }),
            None
        );
    }
}
