// SPDX-License-Identifier: GPL-2.0

//! A second implementation of the format, written from Documentation/dev-tools/kcov.rst and not
//! from the sources: a reader of traces, and a recorder that keeps its records in lists.

use std::collections::HashSet;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Record {
    Pc(u64),
    /// Type, two operands, PC.
    Comparison([u64; 4]),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Shape {
    Pcs,
    Comparisons,
    /// A set of so many words before the trace.
    Unique(usize),
    /// A trace of PCs in so many words, and one of comparisons after it.
    Both(usize),
}

/// Reads a trace of PCs.
pub(super) fn pcs_of(words: &[u64]) -> Vec<u64> {
    let count = words[0].min(words.len() as u64 - 1) as usize;
    words[1..=count].to_vec()
}

/// Reads a trace of comparisons.
pub(super) fn comparisons_of(words: &[u64]) -> Vec<[u64; 4]> {
    let Some((&count, records)) = words.split_first() else {
        return Vec::new();
    };
    records
        .chunks_exact(4)
        .take(usize::try_from(count).unwrap_or(usize::MAX))
        .map(|record| record.try_into().unwrap())
        .collect()
}

/// Reads edges: words of the previous PC and of the PC, after a header and a table of so many words.
pub(super) fn edges_of(words: &[u64], table: usize) -> Vec<(u64, u64)> {
    let records = words[4 + table..].chunks_exact(2);
    match words[0] {
        0 => Vec::new(),
        1 => vec![(0, words[1])],
        _ => records
            .take(usize::try_from(words[2]).unwrap_or(usize::MAX))
            .map(|record| (record[0], record[1]))
            .collect(),
    }
}

/// The recorder.
pub(super) struct Expected {
    shape: Shape,
    words: usize,
    pcs: Vec<u64>,
    comparisons: Vec<[u64; 4]>,
    seen: HashSet<u64>,
    pub(super) dropped: usize,
}

impl Expected {
    pub(super) fn new(shape: Shape, words: usize) -> Self {
        Self {
            shape,
            words,
            pcs: Vec::new(),
            comparisons: Vec::new(),
            seen: HashSet::new(),
            dropped: 0,
        }
    }

    /// Returns how many PCs and how many comparisons fit.
    fn capacities(&self) -> (usize, usize) {
        let comparisons = |words: usize| words.saturating_sub(1) / 4;
        match self.shape {
            Shape::Pcs => (self.words.saturating_sub(1), 0),
            Shape::Comparisons => (0, comparisons(self.words)),
            Shape::Unique(set) => ((self.words - set).saturating_sub(1), 0),
            Shape::Both(front) => (front.saturating_sub(1), comparisons(self.words - front)),
        }
    }

    /// Returns the bit of a PC in the set: one for four bytes of code, the image first.
    fn bit(&self, pc: u64) -> Option<u64> {
        let Shape::Unique(set) = self.shape else {
            return None;
        };
        let text = &kernel::bindings::kcov_text;
        let (start, size, modules) = (text.start as u64, text.size as u64, text.modules as u64);
        let in_image = pc >= start && pc - start < size;
        let offset = if in_image {
            pc - start
        } else {
            pc.wrapping_sub(modules).wrapping_add(size)
        };
        (offset / 4 < 64 * set as u64).then_some(offset / 4)
    }

    pub(super) fn record(&mut self, record: Record) {
        let (pcs, comparisons) = self.capacities();
        match record {
            Record::Pc(pc) => {
                let bit = self.bit(pc);
                if bit.is_some_and(|bit| self.seen.contains(&bit)) {
                    return;
                }
                if self.pcs.len() == pcs {
                    self.dropped += 1;
                    return;
                }
                self.seen.extend(bit);
                self.pcs.push(pc);
            }
            Record::Comparison(record) => {
                if self.comparisons.len() == comparisons {
                    self.dropped += 1;
                } else {
                    self.comparisons.push(record);
                }
            }
        }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.shape, self.words);
    }

    /// Compares all written memory with the records.
    pub(super) fn compare(&self, words: &[u64]) {
        let (pcs, comparisons) = match self.shape {
            Shape::Pcs => (words, &[][..]),
            Shape::Comparisons => (&[0][..], words),
            Shape::Unique(set) => (&words[set..], &[][..]),
            Shape::Both(front) => words.split_at(front),
        };
        assert_eq!(pcs_of(pcs), self.pcs);
        assert_eq!(comparisons_of(comparisons), self.comparisons);
        assert_eq!(pcs[0], self.pcs.len() as u64);
        assert_eq!(
            comparisons.first().copied().unwrap_or(0),
            self.comparisons.len() as u64
        );
        if let Shape::Unique(set) = self.shape {
            let bits: HashSet<u64> = (0..64 * set as u64)
                .filter(|bit| words[*bit as usize / 64] >> (bit % 64) & 1 == 1)
                .collect();
            assert_eq!(bits, self.seen);
        }
    }
}
