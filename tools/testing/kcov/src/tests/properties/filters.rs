// SPDX-License-Identifier: GPL-2.0

//! The filter: a PC that it reports as recorded was recorded, whatever its memory contains.

use super::{memory::Guarded, pcs};
use crate::{layout::Layout, mode::Mode, records::Kind};
use proptest::{collection::vec, prelude::*};

proptest! {
    /// Every PC is in the trace after its hook was called, and the trace has no other PC.
    #[test]
    fn no_pc_is_lost(words in 2..400_usize, pcs in vec(pcs(), 0..300),
                     garbage in vec((0..300_usize, any::<prop::sample::Index>(), any::<u64>()), 0..6),
                     at_end: bool) {
        let guarded = Guarded::new(words, at_end);
        let layout = Layout::of_area(Mode::Unique, guarded.memory());
        let capacity = layout.trace(Kind::Pc).capacity();
        let mut distinct = Vec::new();
        for (number, &pc) in pcs.iter().enumerate() {
            // The words after the trace are those of the filter.
            for (_, index, word) in garbage.iter().filter(|(when, ..)| *when == number) {
                if words > capacity + 1 {
                    guarded.set(capacity + 1 + index.index(words - capacity - 1), *word);
                }
            }
            layout.push_pc(pc);
            if !distinct.contains(&pc) {
                distinct.push(pc);
            }
            // SAFETY: Nothing is recorded at the same time.
            let records = unsafe { layout.records(Kind::Pc) };
            prop_assert!(records.pcs().contains(&pc) || records.count() == capacity && layout.dropped() > 0);
        }
        // SAFETY: As above.
        let records = unsafe { layout.records(Kind::Pc) };
        prop_assert!(records.pcs().iter().all(|pc| distinct.contains(pc)));
        prop_assert!(records.count() <= pcs.len());
        let mut firsts = Vec::new();
        for &pc in records.pcs() {
            if !firsts.contains(&pc) {
                firsts.push(pc);
            }
        }
        // In the order in which they came.
        prop_assert_eq!(&firsts[..], &distinct[..firsts.len()]);
    }
}

/// A PC that comes again at once is filtered, in areas that are large enough for a filter.
#[test]
fn repetitions_are_filtered() {
    for words in 16..600 {
        let guarded = Guarded::new(words, true);
        let layout = Layout::of_area(Mode::Unique, guarded.memory());
        for _ in 0..5 {
            layout.push_pc(0x1234);
        }
        assert_eq!(guarded.get(0), 1, "in {words} words");
    }
}
