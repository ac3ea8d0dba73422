// SPDX-License-Identifier: GPL-2.0
//! Collected records: iterators over the records of a buffer.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::abi;
use crate::area::Area;

mod sealed {
    pub trait Sealed {}
}

/// The kind of records that are collected: [`Pc`] or [`Cmp`].
pub trait Mode: sealed::Sealed + fmt::Debug + 'static {
    /// One record.
    type Record;
    /// The mode's number for `KCOV_ENABLE`.
    #[doc(hidden)]
    const NUMBER: usize;
    /// The number of words of a record.
    #[doc(hidden)]
    const WORDS: usize;
    /// Reads a record of exactly [`Self::WORDS`] words.
    #[doc(hidden)]
    fn read(words: &[AtomicU64]) -> Self::Record;
}

/// Collection of PCs: for every instrumented block that ran, the return address of its call of the
/// hook.
///
/// If the kernel randomises its address space, it subtracts the offset, so that the PCs fit
/// `vmlinux` as it was linked. The PC is the address *after* the call; look up `pc - 1` to find the
/// block.
#[derive(Debug)]
pub enum Pc {}

/// Collection of comparison operands, as [`Comparison`].
#[derive(Debug)]
pub enum Cmp {}

impl sealed::Sealed for Pc {}
impl sealed::Sealed for Cmp {}

impl Mode for Pc {
    type Record = u64;
    const NUMBER: usize = abi::TRACE_PC;
    const WORDS: usize = abi::WORDS_PER_PC;
    fn read(words: &[AtomicU64]) -> u64 {
        words[0].load(Ordering::Relaxed)
    }
}

impl Mode for Cmp {
    type Record = Comparison;
    const NUMBER: usize = abi::TRACE_CMP;
    const WORDS: usize = abi::WORDS_PER_CMP;
    fn read(words: &[AtomicU64]) -> Comparison {
        let [kind, left, right, pc] = [0, 1, 2, 3].map(|i| words[i].load(Ordering::Relaxed));
        Comparison::from_raw(kind, left, right, pc)
    }
}

/// The size of a comparison's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperandSize {
    /// One byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes.
    Four,
    /// Eight bytes.
    Eight,
}

impl OperandSize {
    /// Returns the size in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// A comparison that the kernel made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Comparison {
    /// The return address of the call of the hook, as for [`Pc`].
    pub pc: u64,
    /// The first operand; if an operand is a constant, it is this one.
    pub left: u64,
    /// The second operand.
    pub right: u64,
    /// The size of the operands.
    pub size: OperandSize,
    /// Set if `left` is a compile-time constant.
    pub constant: bool,
}

impl Comparison {
    /// Makes a comparison from the four words of its record.
    #[must_use]
    pub const fn from_raw(kind: u64, left: u64, right: u64, pc: u64) -> Self {
        let size = match (kind & abi::CMP_SIZE_MASK) >> 1 {
            0 => OperandSize::One,
            1 => OperandSize::Two,
            2 => OperandSize::Four,
            _ => OperandSize::Eight,
        };
        Self {
            pc,
            left,
            right,
            size,
            constant: kind & abi::CMP_CONST != 0,
        }
    }

    /// Returns the type word of this comparison's record.
    #[must_use]
    pub const fn kind(&self) -> u64 {
        let size = match self.size {
            OperandSize::One => 0,
            OperandSize::Two => 1,
            OperandSize::Four => 2,
            OperandSize::Eight => 3,
        };
        size << 1 | self.constant as u64
    }

    /// Returns the operand that is a compile-time constant; `None` if neither is.
    #[must_use]
    pub const fn constant(&self) -> Option<u64> {
        if self.constant { Some(self.left) } else { None }
    }
}

/// The records in a buffer, borrowed from the buffer.
///
/// Iterating allocates nothing. If the count was overwritten, it is limited to the number of
/// records that fit.
#[derive(Debug)]
pub struct Records<'a, M: Mode> {
    words: &'a [AtomicU64],
    len: usize,
    mode: PhantomData<M>,
}

impl<'a, M: Mode> Records<'a, M> {
    pub(crate) fn of(area: &'a Area) -> Self {
        Self::of_words(area.words())
    }

    /// Makes records of a part of a buffer that consists of a count and space for records.
    pub(crate) fn of_words(words: &'a [AtomicU64]) -> Self {
        let capacity = capacity::<M>(words.len());
        // The kernel or any other process that maps the buffer has written the count, so it is not
        // trusted as an index.
        //
        // ORDERING: Acquire pairs with the count that the kernel publishes after it has merged a
        // remote section. For collection on this task, program order is enough.
        let count = words[0].load(Ordering::Acquire);
        let len = usize::try_from(count).map_or(capacity, |count| count.min(capacity));
        Self {
            words: &words[1..],
            len,
            mode: PhantomData,
        }
    }

    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the buffer has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether the buffer is full, so that later records were dropped.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.len == self.words.len() / M::WORDS
    }

    /// Returns the records, in the order in which the kernel made them.
    #[must_use]
    pub fn iter(&self) -> Iter<'a, M> {
        Iter {
            words: self.words,
            range: 0..self.len,
            mode: PhantomData,
        }
    }
}

impl<'a, M: Mode> IntoIterator for &Records<'a, M> {
    type Item = M::Record;
    type IntoIter = Iter<'a, M>;
    fn into_iter(self) -> Iter<'a, M> {
        self.iter()
    }
}

impl<'a, M: Mode> IntoIterator for Records<'a, M> {
    type Item = M::Record;
    type IntoIter = Iter<'a, M>;
    fn into_iter(self) -> Iter<'a, M> {
        self.iter()
    }
}

/// Iterator over the records of a buffer.
#[derive(Clone, Debug)]
pub struct Iter<'a, M: Mode> {
    words: &'a [AtomicU64],
    range: Range<usize>,
    mode: PhantomData<M>,
}

impl<M: Mode> Iter<'_, M> {
    fn at(&self, index: usize) -> M::Record {
        M::read(&self.words[index * M::WORDS..][..M::WORDS])
    }
}

impl<M: Mode> Iterator for Iter<'_, M> {
    type Item = M::Record;
    fn next(&mut self) -> Option<M::Record> {
        let index = self.range.next()?;
        Some(self.at(index))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl<M: Mode> DoubleEndedIterator for Iter<'_, M> {
    fn next_back(&mut self) -> Option<M::Record> {
        let index = self.range.next_back()?;
        Some(self.at(index))
    }
}

impl<M: Mode> ExactSizeIterator for Iter<'_, M> {}
impl<M: Mode> FusedIterator for Iter<'_, M> {}

/// Returns the number of records of the mode that fit into a buffer of `words` words.
#[must_use]
pub const fn capacity<M: Mode>(words: usize) -> usize {
    words.saturating_sub(1) / M::WORDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area::tests::area_of;

    #[test]
    fn pcs_come_in_order_and_from_both_ends() {
        let area = area_of(&[3, 10, 20, 30, 99]);
        let records = Records::<Pc>::of(&area);
        assert_eq!(records.len(), 3);
        assert!(!records.overflowed());
        assert_eq!(records.iter().collect::<Vec<_>>(), [10, 20, 30]);
        assert_eq!(records.iter().rev().collect::<Vec<_>>(), [30, 20, 10]);
    }

    #[test]
    fn forged_count_reads_no_further_than_the_buffer() {
        for forged in [3, 4, u64::MAX, 1 << 63, 1 << 61] {
            let area = area_of(&[forged, 1, 2, 3]);
            let records = Records::<Pc>::of(&area);
            assert_eq!(records.iter().count(), 3, "count {forged:#x}");
            assert!(records.overflowed());
        }
        // Two comparisons would need nine words.
        let area = area_of(&[2, 0, 1, 2, 3, 0, 1, 2]);
        let records = Records::<Cmp>::of(&area);
        assert_eq!(records.len(), 1);
        assert!(records.overflowed());
    }

    #[test]
    fn empty_buffer_has_no_records() {
        let area = area_of(&[0, 1]);
        assert!(Records::<Pc>::of(&area).is_empty());
        assert!(!Records::<Pc>::of(&area).overflowed());
    }

    #[test]
    fn comparison_keeps_its_four_words() {
        for kind in 0..8 {
            let area = area_of(&[1, kind, 7, 9, 0xffff_ffff_8100_0005]);
            let record = Records::<Cmp>::of(&area).iter().next().unwrap();
            assert_eq!(record.kind(), kind);
            assert_eq!(record.size.bytes(), 1 << (kind >> 1));
            assert_eq!(record.constant(), (kind & 1 != 0).then_some(7));
            assert_eq!((record.left, record.right), (7, 9));
            assert_eq!(record.pc, 0xffff_ffff_8100_0005);
        }
    }
}
