// SPDX-License-Identifier: GPL-2.0

//! Records can be read back, and a forged count leads to no access outside the memory.

use super::{
    forged,
    memory::Guarded,
    pcs,
    reader::{Expected, Record, Shape},
};
use crate::{
    layout::Layout,
    mode::Mode,
    recorder::Recorder,
    records::{Comparison, Kind},
};
use proptest::{collection::vec, prelude::*};

/// The call of a hook.
#[derive(Clone, Debug)]
enum Call {
    Pc(usize),
    Comparison(u64, u64, u64, usize),
    Switch(u64, u64, Vec<u64>, usize),
}

fn calls() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => pcs().prop_map(Call::Pc),
        2 => (0..8_u64, any::<u64>(), any::<u64>(), pcs())
            .prop_map(|(kind, arg1, arg2, pc)| Call::Comparison(kind, arg1, arg2, pc)),
        1 => (0..8_u64, any::<u64>(), vec(any::<u64>(), 0..12), pcs())
            .prop_map(|(kind, value, cases, pc)| Call::Switch(kind, value, cases, pc)),
    ]
}

/// A mode, a number of words and a front that fit each other.
fn shapes() -> impl Strategy<Value = (Mode, usize, usize)> {
    prop_oneof![
        (2..200_usize).prop_map(|words| (Mode::Pc, words, 0)),
        (2..200_usize).prop_map(|words| (Mode::Cmp, words, 0)),
        (3..200_usize)
            .prop_flat_map(|words| (Just(words), 1..=words - 2))
            .prop_map(|(words, front)| (Mode::Unique, words, front)),
        (7..200_usize)
            .prop_flat_map(|words| (Just(words), 2..=words - 5))
            .prop_map(|(words, front)| (Mode::PcCmp, words, front)),
    ]
}

fn shape(mode: Mode, front: usize) -> Shape {
    match mode {
        Mode::Pc => Shape::Pcs,
        Mode::Cmp => Shape::Comparisons,
        Mode::Unique => Shape::Unique(front),
        Mode::PcCmp => Shape::Both(front),
        Mode::Edge => unreachable!("edges have properties of their own"),
    }
}

fn recorder<'a>(layout: &'a Layout) -> Recorder<impl Fn() -> &'a Layout + use<'a>> {
    let (start, capacity) = layout.fast_path();
    // SAFETY: The layout has checked that there is space.
    unsafe { Recorder::new(start, capacity, move || layout) }
}

/// Calls a hook, if the mode has it, as the hooks do.
fn call(layout: &Layout, mode: Mode, call: &Call) -> Vec<Record> {
    // SAFETY: The variable does not change.
    let moved = unsafe { kernel::bindings::kcov_kaslr_offset };
    let canonical = |pc: usize| pc.wrapping_sub(moved) as u64;
    match call {
        Call::Pc(pc) if mode.word() & crate::mode::RECORD_PCS != 0 => {
            recorder(layout).push_pc(*pc);
            vec![Record::Pc(canonical(*pc))]
        }
        &Call::Comparison(kind, arg1, arg2, pc)
            if mode.word() & crate::mode::RECORD_COMPARISONS != 0 =>
        {
            let comparison = Comparison {
                kind,
                arg1,
                arg2,
                pc,
            };
            recorder(layout).push_comparison(comparison);
            vec![Record::Comparison([kind, arg1, arg2, canonical(pc)])]
        }
        Call::Switch(kind, value, cases, pc)
            if mode.word() & crate::mode::RECORD_COMPARISONS != 0 =>
        {
            let (start, number) = (cases.as_ptr(), cases.len() as u64);
            // SAFETY: There are so many cases.
            unsafe { recorder(layout).push_cases(*kind, *value, start, number, *pc) };
            let record = |&case| Record::Comparison([*kind, case, *value, canonical(*pc)]);
            cases.iter().map(record).collect()
        }
        _ => Vec::new(),
    }
}

proptest! {
    /// Every record that fits is in the trace, in order, and every other one is counted.
    #[test]
    fn records_are_read_back(
        (mode, words, front) in shapes(),
        rounds in vec(vec(calls(), 0..60), 1..4),
        at_end: bool,
    ) {
        let guarded = Guarded::new(words, at_end);
        let layout = Layout::of_buffer(mode, guarded.memory(), front).unwrap();
        let mut expected = Expected::new(shape(mode, front), words);
        for round in rounds {
            for each in &round {
                for record in call(&layout, mode, each) {
                    expected.record(record);
                }
                expected.compare(&guarded.content());
                prop_assert_eq!(layout.dropped(), expected.dropped);
                let written = guarded.content().iter().any(|&word| word != 0);
                prop_assert!(written || !layout.has_records() || expected.dropped > 0);
            }
            layout.reset_counts();
            layout.set().clear(0, usize::MAX);
            expected.reset();
            expected.compare(&guarded.content());
        }
    }

    /// Merging an area adds its records to the buffer, in pieces of any size.
    #[test]
    fn records_are_merged(
        (mode, words, front) in shapes(),
        area_words in 64..300_usize,
        rounds in vec(vec(calls(), 0..60), 1..4),
        limit in 1..50_usize,
        at_end: bool,
    ) {
        let (guarded, area) = (Guarded::new(words, at_end), Guarded::new(area_words, at_end));
        let buffer = Layout::of_buffer(mode, guarded.memory(), front).unwrap();
        let layout = Layout::of_area(mode, area.memory());
        let mut expected = Expected::new(shape(mode, front), words);
        for round in rounds {
            layout.reset_counts();
            for each in &round {
                call(&layout, mode, each);
            }
            for kind in [Kind::Pc, Kind::Comparison] {
                // SAFETY: Nothing is recorded at the same time.
                let records = unsafe { layout.records(kind) };
                let mut done = 0;
                while done < records.count() {
                    let more = buffer.append(&records, done, limit);
                    prop_assert!((1..=limit).contains(&more));
                    done += more;
                }
                for index in 0..records.count() {
                    let words = records.record(index).cast::<u64>();
                    // SAFETY: The record is one of the area's.
                    let word = |index| unsafe { words.add(index).read_unaligned() };
                    expected.record(match kind {
                        Kind::Pc => Record::Pc(word(0)),
                        Kind::Comparison => Record::Comparison([0, 1, 2, 3].map(word)),
                    });
                }
            }
            expected.compare(&guarded.content());
            prop_assert_eq!(buffer.dropped(), expected.dropped);
        }
    }

    /// User space writes anything anywhere while hooks record and sections merge. Nothing
    /// outside the memory is touched, nothing panics, and if a count is too large, only the count
    /// is written.
    #[test]
    fn forged_words_reach_nothing(
        (mode, words, front) in shapes(),
        steps in vec((calls(), vec((any::<prop::sample::Index>(), forged()), 0..3)), 1..60),
        at_end: bool,
    ) {
        let (guarded, area) = (Guarded::new(words, at_end), Guarded::new(100, at_end));
        let layout = Layout::of_buffer(mode, guarded.memory(), front).unwrap();
        let source = Layout::of_area(mode, area.memory());
        for (each, forgeries) in steps {
            for (index, word) in forgeries {
                guarded.set(index.index(words), word);
            }
            call(&layout, mode, &each);
            call(&source, mode, &each);
            for kind in [Kind::Pc, Kind::Comparison] {
                // SAFETY: Nothing is recorded at the same time.
                let (forged, records) = unsafe { (layout.records(kind), source.records(kind)) };
                prop_assert!(forged.count() < words);
                prop_assert!(forged.pcs().len() <= forged.count());
                layout.append(&records, 0, 7);
            }
            layout.has_records();
        }
    }

    /// A hook does not write to memory whose count is the capacity or more.
    #[test]
    fn forged_counts_get_nothing_written(
        (mode, words, front) in shapes(),
        each in calls(),
        content in vec(any::<u64>(), 200),
        count in forged(),
        at_end: bool,
    ) {
        let guarded = Guarded::new(words, at_end);
        let layout = Layout::of_buffer(mode, guarded.memory(), front).unwrap();
        guarded.fill(&content[..words]);
        let traces: &[(usize, usize)] = match mode {
            Mode::Pc => &[(0, words - 1)],
            Mode::Cmp => &[(0, (words - 1) / 4)],
            Mode::Unique => &[(front, words - front - 1)],
            Mode::PcCmp => &[(0, front - 1), (front, (words - front - 1) / 4)],
            Mode::Edge => unreachable!(),
        };
        for &(index, capacity) in traces {
            guarded.set(index, count.max(capacity as u64));
        }
        let before = guarded.content();
        let records = call(&layout, mode, &each).len();
        prop_assert_eq!(guarded.content(), before);
        let dropped = layout.dropped();
        // The set may contain any PC.
        prop_assert!(dropped == records || mode == Mode::Unique && dropped == 0);
    }
}
