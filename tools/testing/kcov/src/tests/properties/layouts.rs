// SPDX-License-Identifier: GPL-2.0

//! The parts of memory: inside it, without overlap, and not too large.

use crate::{edges, filter::Filter, layout::Layout, memory::Memory, mode::Mode, records::Kind};
use proptest::prelude::*;
use std::ops::Range;

/// Memory that is laid out, but never touched.
const START: usize = 0x10_0000;

fn untouched(words: usize) -> Memory {
    // SAFETY: The layout is not recorded into.
    unsafe { Memory::new(std::ptr::without_provenance_mut(START), words) }
}

/// Returns the words of a part from its address, which is unused if its size is 0.
fn part(address: usize, words: usize) -> Range<usize> {
    if words == 0 {
        return 0..0;
    }
    assert!(
        address >= START && (address - START) % 8 == 0,
        "{address:#x}"
    );
    let first = (address - START) / 8;
    first..first + words
}

/// Returns the words of the set, of the PCs and of the comparisons, with their counts.
fn parts(layout: &Layout) -> [Range<usize>; 3] {
    let pcs = layout.trace(Kind::Pc);
    let (pcs, capacity) = (pcs.start(), pcs.capacity());
    let pc_words = if capacity == 0 { 0 } else { 1 + capacity };
    let (comparisons, number) = layout.trace_of_comparisons();
    let comparison_words = if number == 0 {
        0
    } else {
        1 + 4 * number as usize
    };
    [
        part(START, layout.set().words()),
        part(pcs as usize, pc_words),
        part(comparisons as usize, comparison_words),
    ]
}

fn check(mode: Mode, words: usize, layout: &Layout, filter: Range<usize>) {
    let [set, pcs, comparisons] = parts(layout);
    let all = [set.clone(), pcs.clone(), comparisons.clone(), filter];
    for (index, one) in all.iter().enumerate() {
        assert!(one.end <= words, "{mode:?} {words}: {one:?}");
        for other in &all[..index] {
            let apart = one.end <= other.start || other.end <= one.start;
            assert!(
                apart || one.is_empty() || other.is_empty(),
                "{mode:?} {words}: {one:?} {other:?}"
            );
        }
    }
    // The unused rest is smaller than a record.
    let used: usize = all.iter().map(|part| part.len()).sum();
    assert!(
        words - used < 5 + if mode == Mode::PcCmp { 5 } else { 0 },
        "{mode:?} {words}: {all:?}"
    );
    assert_eq!(set.is_empty(), mode != Mode::Unique || set.is_empty());
    let (_, capacity) = layout.fast_path();
    // A trace for one PC is not for the fast path, which would take it for edges.
    assert_eq!(
        capacity == 0,
        !mode.is_plain() || words < if mode == Mode::Pc { 3 } else { 5 }
    );
    assert!(capacity != edges::FAST_CAPACITY || mode != Mode::Pc);
}

fn check_buffer(mode: Mode, words: usize, front: usize) {
    let layout = Layout::of_buffer(mode, untouched(words), front);
    let expected = match mode {
        Mode::Pc | Mode::Cmp => true,
        // One word of the set, the count and a PC.
        Mode::Unique => front >= 1 && front <= words && words - front >= 2,
        // The count and a PC, the count and a comparison.
        Mode::PcCmp => front >= 2 && front <= words && words - front >= 5,
        Mode::Edge => unreachable!("edges have properties of their own"),
    };
    assert_eq!(layout.is_ok(), expected, "{mode:?} {words} {front}");
    let Ok(layout) = layout else {
        return;
    };
    check(mode, words, &layout, 0..0);
    let [set, pcs, comparisons] = parts(&layout);
    match mode {
        Mode::Unique => assert_eq!((set, pcs), (0..front, front..words)),
        Mode::PcCmp => assert_eq!((pcs, comparisons.start), (0..front, front)),
        Mode::Pc => assert_eq!(pcs.len(), if words > 1 { words } else { 0 }),
        Mode::Cmp => assert_eq!(
            comparisons.len(),
            if words > 4 {
                1 + (words - 1) / 4 * 4
            } else {
                0
            }
        ),
        Mode::Edge => unreachable!(),
    }
}

const MODES: [Mode; 4] = [Mode::Pc, Mode::Cmp, Mode::Unique, Mode::PcCmp];

/// All small buffers.
#[test]
fn small_buffers() {
    for mode in MODES {
        for words in 2..=130 {
            for front in 0..=words + 1 {
                check_buffer(mode, words, front);
            }
        }
    }
}

/// All areas up to two pages. Areas of a few words have no space for a trace.
#[test]
fn areas() {
    // `of_area` resets the counts.
    let words: Vec<u64> = vec![0; 1024];
    for mode in MODES {
        for number in 0..=words.len() {
            // SAFETY: The words outlive the layout.
            let memory = unsafe { Memory::new(words.as_ptr().cast_mut().cast(), number) };
            let layout = Layout::of_area(mode, memory);
            let start = words.as_ptr() as usize;
            let place = |address: *mut u8, words: usize| {
                part(
                    (address as usize).wrapping_sub(start).wrapping_add(START),
                    words,
                )
            };
            let pcs = layout.trace(Kind::Pc);
            let (pcs, capacity) = (pcs.start(), pcs.capacity());
            let pcs = place(pcs, if capacity == 0 { 0 } else { 1 + capacity });
            let (comparisons, records) = layout.trace_of_comparisons();
            let comparisons = place(
                comparisons.cast(),
                if records == 0 {
                    0
                } else {
                    1 + 4 * records as usize
                },
            );
            assert!(pcs.end <= number && comparisons.end <= number);
            assert!(pcs.end <= comparisons.start || comparisons.is_empty() || pcs.is_empty());
            if mode == Mode::Unique {
                let filter = Filter::at_end_of(untouched(number))
                    .map_or(0, |(front, _)| number - front.words());
                assert!(filter * 8 <= number && pcs.end + filter <= number);
                assert!(number < 16 || filter > 0);
            }
        }
    }
}

proptest! {
    #[test]
    fn large_buffers(words in 2..=usize::try_from(i32::MAX).unwrap() / 8, front: usize, part: prop::sample::Index) {
        for mode in MODES {
            for front in [front, part.index(words), part.index(16), words - part.index(16).min(words)] {
                check_buffer(mode, words, front);
            }
        }
    }
}
