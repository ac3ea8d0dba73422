// SPDX-License-Identifier: GPL-2.0

//! Edges: the records are the pairs of consecutive PCs of a plain trace, each at least once, in the
//! order in which they first came.

use super::{forged, memory::Guarded, pcs, reader::edges_of};
use crate::{layout::Layout, mode::Mode, recorder::Recorder, records::canonical};
use proptest::{collection::vec, prelude::*};
use std::collections::HashSet;

const HEADER: usize = 4;

/// The pairs of a trace. The PC before the first is 0.
fn pairs(pcs: &[u64]) -> Vec<(u64, u64)> {
    let previous = std::iter::once(&0).chain(pcs);
    previous.copied().zip(pcs.iter().copied()).collect()
}

/// Items in the order in which they first come.
fn firsts<T: Copy + Eq + std::hash::Hash>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    items
        .into_iter()
        .filter(|item| seen.insert(*item))
        .collect()
}

/// The signal that syzkaller computes from the edge to `pc`.
fn signal(previous: u64, pc: u64) -> u64 {
    let mut hash = (previous & 0xfff) as u32;
    hash = (hash ^ 61) ^ (hash >> 16);
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 4;
    hash = hash.wrapping_mul(0x27d4_eb2d);
    hash ^= hash >> 15;
    pc ^ u64::from(hash & 0xfff)
}

/// Traces with loops.
fn traces() -> impl Strategy<Value = Vec<usize>> {
    vec((vec(pcs(), 1..12), 1..6_usize), 0..12).prop_map(|loops| {
        let all = loops
            .into_iter()
            .flat_map(|(body, times)| body.repeat(times));
        all.collect()
    })
}

fn call(layout: &Layout, pc: usize) {
    let (start, capacity) = layout.fast_path();
    // SAFETY: The layout has checked that there is space.
    unsafe { Recorder::new(start, capacity, || layout) }.push_pc(pc);
}

/// Compares edges with the plain trace that has them.
fn check(edges: &[(u64, u64)], plain: &[u64]) -> Result<(), TestCaseError> {
    let expected = pairs(plain);
    prop_assert_eq!(
        firsts(edges.iter().copied()),
        firsts(expected.iter().copied())
    );
    prop_assert!(edges.len() <= expected.len());
    prop_assert_eq!(
        firsts(edges.iter().map(|edge| edge.1)),
        firsts(plain.iter().copied())
    );
    let signals = |edges: &[(u64, u64)]| -> HashSet<u64> {
        edges
            .iter()
            .map(|&(previous, pc)| signal(previous, pc))
            .collect()
    };
    prop_assert_eq!(signals(edges), signals(&expected));
    Ok(())
}

proptest! {
    /// The edges are those of the plain trace, and nothing is recorded twice while the table has
    /// space for it.
    #[test]
    fn edges_are_those_of_the_plain_trace(
        bits in 2..10_u32,
        rounds in vec(traces(), 1..5),
        by_user: bool,
        at_end: bool,
    ) {
        let table = 1 << bits;
        let words = HEADER + table + 2 * 700;
        let guarded = Guarded::new(words, at_end);
        let layout = Layout::of_buffer(Mode::Edge, guarded.memory(), table).unwrap();
        layout.prepare();
        // Each trace comes again after a reset, so that what was known before is recorded.
        for trace in rounds.into_iter().flat_map(|trace| [trace.clone(), trace]) {
            let mut plain = Vec::new();
            for pc in trace {
                call(&layout, pc);
                plain.push(canonical(pc) as u64);
            }
            let edges = edges_of(&guarded.content(), table);
            check(&edges, &plain)?;
            prop_assert_eq!(layout.dropped(), 0);
            prop_assert_eq!(layout.has_records(), !plain.is_empty());
            if by_user {
                guarded.set(0, 0);
            } else {
                layout.reset_counts();
            }
            prop_assert!(edges_of(&guarded.content(), table).is_empty());
        }
    }

    /// Edges that do not fit are counted, and do not get into the table.
    #[test]
    fn edges_that_do_not_fit(
        bits in 2..6_u32,
        space in 1..20_usize,
        trace in traces(),
        at_end: bool,
    ) {
        let table = 1 << bits;
        let guarded = Guarded::new(HEADER + table + 2 * space, at_end);
        let layout = Layout::of_buffer(Mode::Edge, guarded.memory(), table).unwrap();
        let mut plain = Vec::new();
        for pc in trace {
            let (before, dropped) = (edges_of(&guarded.content(), table).len(), layout.dropped());
            call(&layout, pc);
            plain.push(canonical(pc) as u64);
            let known = firsts(pairs(&plain)).len() <= space;
            prop_assert!(!known || before == space || layout.dropped() == dropped);
        }
        let edges = edges_of(&guarded.content(), table);
        prop_assert!(edges.len() <= space);
        let expected = firsts(pairs(&plain));
        let recorded = firsts(edges.iter().copied());
        prop_assert_eq!(&recorded[..], &expected[..recorded.len()]);
        prop_assert!(layout.dropped() > 0 || recorded.len() == expected.len());
        prop_assert!(layout.dropped() == 0 || edges.len() == space);
        // An edge that did not fit is recorded when there is space again.
        if layout.dropped() > 0 {
            let moved = canonical(0).wrapping_neg();
            let [one, other] = [0x7777_0000_usize, 0x7777_1020];
            for pc in [one, other] {
                call(&layout, pc.wrapping_add(moved));
            }
            for pc in [one, other] {
                guarded.set(2, 0);
                call(&layout, pc.wrapping_add(moved));
            }
            let edges = edges_of(&guarded.content(), table);
            prop_assert_eq!(edges, vec![(one as u64, other as u64)]);
        }
    }

    /// Sections append the records that they would have made one after the other, each from a
    /// previous PC of 0.
    #[test]
    fn sections_are_appended(
        bits in 2..9_u32,
        area_words in 24..2500_usize,
        sections in vec(traces(), 1..5),
        step in 1..40_usize,
        reset in 0..10_usize,
        at_end: bool,
    ) {
        let table = 1 << bits;
        let guarded = Guarded::new(HEADER + table + 2 * 7000, at_end);
        let memory = Guarded::new(area_words, at_end);
        let buffer = Layout::of_buffer(Mode::Edge, guarded.memory(), table).unwrap();
        buffer.prepare();
        let area = Layout::of_area(Mode::Edge, memory.memory());
        let mut expected = Vec::new();
        let mut lost = 0;
        let twice = sections.into_iter().flat_map(|section| [section.clone(), section]);
        for (number, section) in twice.enumerate() {
            if number == reset {
                guarded.set(0, 0);
                expected.clear();
                lost = 0;
            }
            area.reset_counts();
            let mut plain = Vec::new();
            for pc in section {
                call(&area, pc);
                plain.push(canonical(pc) as u64);
            }
            // SAFETY: Nothing is recorded at the same time.
            let edges = unsafe { area.edges() };
            prop_assert_eq!(area.has_records(), !plain.is_empty());
            lost += area.dropped();
            for step in edges.chunks(step) {
                buffer.append_edges(step);
            }
            expected.extend(pairs(&plain));
        }
        let edges = edges_of(&guarded.content(), table);
        let (recorded, expected) = (firsts(edges), firsts(expected));
        prop_assert!(recorded.iter().all(|edge| expected.contains(edge)));
        prop_assert!(lost > 0 || recorded == expected);
        prop_assert_eq!(buffer.dropped(), 0);
    }

    /// User space writes anything anywhere. Nothing outside the memory is touched, and nothing
    /// panics.
    #[test]
    fn forged_words_reach_nothing(
        bits in 2..7_u32,
        space in 1..20_usize,
        steps in vec((pcs(), vec((any::<prop::sample::Index>(), forged()), 0..4)), 1..80),
        at_end: bool,
    ) {
        let table = 1 << bits;
        let words = HEADER + table + 2 * space;
        let guarded = Guarded::new(words, at_end);
        let layout = Layout::of_buffer(Mode::Edge, guarded.memory(), table).unwrap();
        for (number, (pc, forgeries)) in steps.into_iter().enumerate() {
            for (index, word) in forgeries {
                // The header is what most depends on.
                let most = if number % 2 == 0 { HEADER } else { words };
                guarded.set(index.index(most), word);
            }
            call(&layout, pc);
            if number % 5 == 0 {
                layout.append_edges(&[[0, pc], [pc, pc]]);
                layout.reset_counts_of_other_task();
                layout.prepare();
            }
            // SAFETY: Nothing is recorded at the same time.
            let edges = unsafe { layout.edges() }.len();
            prop_assert!(edges <= space);
        }
    }

    /// Layouts exist for tables of a power of two, with a record at least.
    #[test]
    fn sizes(
        words in 0..600_usize,
        table in prop_oneof![0..600_usize, (0..20_u32).prop_map(|bits| 1 << bits)],
        at_end: bool,
    ) {
        let guarded = Guarded::new(words, at_end);
        let expected = table >= 4 && table.is_power_of_two() && words >= HEADER + table + 2;
        prop_assert_eq!(Layout::of_buffer(Mode::Edge, guarded.memory(), table).is_ok(), expected);
        // An area of any size can be recorded into.
        let area = Layout::of_area(Mode::Edge, guarded.memory());
        for pc in [1000, 2000] {
            call(&area, pc);
        }
        // SAFETY: Nothing is recorded at the same time.
        let edges = unsafe { area.edges() }.len();
        prop_assert_eq!(edges + area.dropped(), 2);
        prop_assert!(words < 24 || edges > 0);
    }
}

/// A table of 2 edges forgets, and one of 128 has all edges of a short loop.
#[test]
fn tables_of_all_sizes() {
    let body: Vec<usize> = (0..8).map(|number| 0x1000 + 0x40 * number).collect();
    for bits in 2..9 {
        let table = 1 << bits;
        let guarded = Guarded::new(HEADER + table + 2 * 100, true);
        let layout = Layout::of_buffer(Mode::Edge, guarded.memory(), table).unwrap();
        for &pc in body.repeat(10).iter() {
            call(&layout, pc);
        }
        let edges = edges_of(&guarded.content(), table);
        assert_eq!(firsts(edges.iter().copied()).len(), 9);
        assert!(edges.len() <= 80);
        assert!(
            bits < 7 || edges.len() == 9,
            "{} with {table} words",
            edges.len()
        );
    }
}
