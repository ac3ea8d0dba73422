// SPDX-License-Identifier: GPL-2.0

//! The set: a HashSet of the PCs for which its memory has bits.

use super::{canonical_pcs as pcs, memory::Guarded};
use crate::set::{self, Set};
use proptest::{collection::vec, prelude::*};
use std::collections::HashSet;

fn position(pc: usize) -> usize {
    set::position(pc, set::direct_position(pc))
}

fn bit_of(pc: usize, words: usize) -> Option<usize> {
    Some(position(pc)).filter(|position| position / 64 < words)
}

proptest! {
    #[test]
    fn holds_what_was_put_in(words in 0..300_usize, steps in vec((pcs(), 0..8_u8), 0..200), at_end: bool) {
        let guarded = Guarded::new(words, at_end);
        let set = Set::new(guarded.memory());
        let mut expected = HashSet::new();
        for (pc, what) in steps {
            let bit = set.bit(position(pc));
            prop_assert_eq!(bit.is_some(), bit_of(pc, words).is_some());
            let known = bit_of(pc, words).is_some_and(|bit| expected.contains(&bit));
            prop_assert_eq!(bit.as_ref().is_some_and(|bit| bit.is_set()), known);
            // `has_direct` is for PCs of the image only. It never reports a PC that is not in the set.
            prop_assert!(!set.has_direct(set::direct_position(pc)) || known);
            let text = &kernel::bindings::kcov_text;
            let whole = text.size / 256 * 256;
            if pc.wrapping_sub(text.start) < whole {
                prop_assert_eq!(set.has_direct(set::direct_position(pc)), known);
            }
            match (bit, what) {
                (_, 0) => {
                    let (from, number) = (pc % 400, pc / 7 % 50);
                    set.clear(from, number);
                    expected.retain(|bit| !(from..from + number).contains(&(bit / 64)));
                }
                (Some(bit), _) => {
                    bit.set();
                    expected.insert(bit_of(pc, words).unwrap());
                }
                (None, _) => {}
            }
        }
        let bits: HashSet<usize> = (0..64 * words)
            .filter(|bit| guarded.get(bit / 64) >> (bit % 64) & 1 == 1)
            .collect();
        prop_assert_eq!(bits, expected);
    }

    /// For any PC and any content, the set answers from its memory, and touches no other memory.
    #[test]
    fn forged_memory(content in vec(any::<u64>(), 0..300), pc in prop_oneof![any::<usize>(), pcs()],
                     from: usize, number: usize, at_end: bool) {
        let guarded = Guarded::new(content.len(), at_end);
        guarded.fill(&content);
        let set = Set::new(guarded.memory());
        let there = bit_of(pc, content.len()).is_some_and(|bit| content[bit / 64] >> (bit % 64) & 1 == 1);
        prop_assert_eq!(set.bit(position(pc)).is_some_and(|bit| bit.is_set()), there);
        prop_assert!(!set.has_direct(set::direct_position(pc)) || there);
        set.clear(from, number);
        for (index, &word) in content.iter().enumerate() {
            let cleared = index >= from && index - from < number;
            prop_assert_eq!(guarded.get(index), if cleared { 0 } else { word });
        }
    }

    /// Two places from which a hook can be called never share a bit.
    #[test]
    fn code_has_bits_of_its_own(one in pcs(), other in pcs()) {
        let text = &kernel::bindings::kcov_text;
        let known = |pc: usize| pc.wrapping_sub(text.start) < text.size
            || pc >= text.modules && pc - text.modules < 1 << 30;
        if known(one) && known(other) && one.abs_diff(other) >= set::STEP {
            prop_assert_ne!(position(one), position(other));
        }
    }
}

#[test]
fn the_image_fits_into_its_set() {
    let text = &kernel::bindings::kcov_text;
    let last = position(text.start + text.size - 1);
    assert_eq!(last / 64, set::image_words() - 1);
    assert_eq!(position(set::start()), 0);
    assert!(position(text.modules) > last - 1);
}
