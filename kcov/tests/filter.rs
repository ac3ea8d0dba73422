// SPDX-License-Identifier: GPL-2.0

//! The filter of an area, which leaves out most repeated PCs.

use super::*;

/// Returns an area of 64 words that records each PC once, apart from PCs that its filter forgets.
fn filtering(words: &mut [u64; 64]) -> Layout {
    // SAFETY: The words outlive the layout in all tests.
    let memory = unsafe { Memory::new(words.as_mut_ptr().cast(), words.len()) };
    Layout::of_area(Mode::Unique, memory)
}

#[kunit_tests(kcov_filter)]
mod cases {
    use super::*;

    #[test]
    fn repeated_pcs_are_filtered() {
        let mut words = [0; 64];
        let layout = filtering(&mut words);
        for _ in 0..10 {
            layout.push_pc(FOREIGN);
        }
        assert_eq!(layout.dropped(), 0);
        assert_eq!(words[0], if UNIQUE { 1 } else { 10 });
        assert_eq!(words[1], 0x1000);
    }

    #[test]
    fn rounds_of_pcs_are_filtered() {
        let mut words = [0; 64];
        let layout = filtering(&mut words);
        // The filter has 16 slots for 8 PCs: most PCs have a slot of their own, so the second round
        // adds few records.
        for number in 0..16 {
            layout.push_pc(FOREIGN + 0x40 * (number % 8));
        }
        assert_eq!(layout.dropped(), 0);
        assert_eq!(
            words[1..9],
            [0, 1, 2, 3, 4, 5, 6, 7].map(|number| 0x1000 + 0x40 * number)
        );
        if UNIQUE {
            assert!((8..=12).contains(&words[0]));
        } else {
            assert_eq!(words[0], 16);
        }
    }

    #[test]
    fn new_pcs_pass_the_filter() {
        // The filter takes an eighth of the 64 words.
        let room = if UNIQUE { 55 } else { 63 };
        let mut words = [0; 64];
        let layout = filtering(&mut words);
        for number in 0..room {
            layout.push_pc(FOREIGN + 4 * number);
        }
        assert_eq!(layout.dropped(), 0);
        assert_eq!(words[0], room as u64);
        for number in 0..room {
            assert_eq!(words[1 + number], (FOREIGN + 4 * number) as u64);
        }
        let last = words;
        layout.push_pc(FOREIGN + 0x1000);
        assert_eq!(layout.dropped(), 1);
        // Only the words of the filter may have changed.
        assert_eq!(words[..room + 1], last[..room + 1]);
    }

    #[test]
    fn a_filter_may_hold_anything() {
        // Numbers of records, numbers beyond the last record, and the number of the record after
        // the last.
        for garbage in [0, 1, 2, 3, 54, 55, 56, 0x7fff_ffff, 0xffff_ffff] {
            let mut words = [0; 64];
            let layout = filtering(&mut words);
            layout.push_pc(FOREIGN);
            layout.push_pc(FOREIGN + 4);
            if UNIQUE {
                words[56..].fill(garbage << 32 | garbage);
            }
            // The PC after the last record is not part of the trace.
            words[3] = (FOREIGN + 8) as u64;
            layout.push_pc(FOREIGN + 8);
            assert_eq!(words[0], 3);
            assert_eq!(words[1..5], [0x1000, 0x1004, 0x1008, 0]);
        }
    }

    #[test]
    fn a_filter_forgets_the_last_section() {
        let mut words = [0; 64];
        let layout = filtering(&mut words);
        for _ in 0..2 {
            layout.reset_counts();
            layout.push_pc(FOREIGN);
            layout.push_pc(FOREIGN + 4);
            assert_eq!(words[0], 2);
            assert_eq!(words[1..3], [0x1000, 0x1004]);
        }
    }
}
