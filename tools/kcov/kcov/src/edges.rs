// SPDX-License-Identifier: GPL-2.0
//! Collection of edges: pairs of consecutive PCs, each once.
//!
//! Only kernels with CONFIG_KCOV_RUST support it; on others it fails with [`Error::NoDivision`].

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use crate::area::Area;
use crate::collect::Kcov;
use crate::error::Error;
use crate::remote::RemoteHandles;
use crate::{abi, sys};

/// The number of words before the table.
const HEADER: usize = 4;
/// The word that is 0 after a reset, and 1 after the first PC.
const LAST: usize = 0;
const FIRST: usize = 1;
const COUNT: usize = 2;
/// The sizes of a table: powers of two in this range.
const TABLES: std::ops::RangeInclusive<usize> = 4..=1 << 17;

/// Returns the size of a table that suits a buffer of `words` words: the largest one that takes up to
/// a quarter of it. Three quarters or more are for edges.
#[must_use]
pub fn edge_table(words: usize) -> usize {
    let most = (words / 4).clamp(*TABLES.start(), *TABLES.end());
    1 << most.ilog2()
}

/// A PC, and the PC that was reached before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge {
    /// The PC before, or 0 if `pc` was the first.
    pub previous: u64,
    /// The PC.
    pub pc: u64,
}

impl Edge {
    /// Returns the signal that syzkaller computes from the edge.
    #[must_use]
    pub fn signal(self) -> u64 {
        let mut hash = (self.previous & 0xfff) as u32;
        hash = (hash ^ 61) ^ (hash >> 16);
        hash = hash.wrapping_add(hash << 3);
        hash ^= hash >> 4;
        hash = hash.wrapping_mul(0x27d4_eb2d);
        hash ^= hash >> 15;
        self.pc ^ u64::from(hash & 0xfff)
    }
}

impl Kcov {
    /// Empties the buffer and collects each edge once that the calling thread runs in the kernel,
    /// until the guard is stopped or dropped.
    ///
    /// `table` is the number of words for the edges that the kernel remembers, two words each: a
    /// power of two from 4 to 131072. An edge that it does not remember is collected again.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut kcov = kcov::Device::open()?.with_buffer(64 << 10)?;
    /// let collection = kcov.collect_edges(4096)?;
    /// std::fs::read("/proc/version")?;
    /// for edge in collection.stop()?.iter() {
    ///     println!("{:#x} {:#x}", edge.previous, edge.pc);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoDivision`] if the kernel does not support it, [`Error::Division`] if the table
    /// has no possible size, or leaves no space for an edge; otherwise the errors of
    /// [`collect`](Self::collect).
    pub fn collect_edges(&mut self, table: usize) -> Result<EdgeCollection<'_>, Error> {
        self.start_edges(table, false, |fd| {
            sys::edge_enable(fd, table).map_err(|errno| error("KCOV_EDGE_ENABLE", errno))
        })
    }

    /// Empties the buffer and collects the sections with the given handles, in any task, each edge
    /// once, until the guard is stopped or dropped. The PC before the first of a section is 0.
    ///
    /// # Errors
    ///
    /// [`Error::HandleInUse`] if another descriptor has one of the handles; otherwise the errors of
    /// [`collect_edges`](Self::collect_edges).
    pub fn collect_remote_edges(
        &mut self,
        handles: &RemoteHandles,
        table: usize,
    ) -> Result<EdgeCollection<'_>, Error> {
        self.start_edges(table, true, |fd| {
            sys::remote_enable(fd, &handles.arg(abi::TRACE_EDGE, table)).map_err(|errno| match errno {
                Errno::EXIST => Error::HandleInUse,
                // An older kernel rejects the mode with the same error as a descriptor that
                // collects already, but it does not know this call.
                Errno::INVAL if sys::edge_enable(fd, 0) == Err(Errno::NOTTY) => Error::NoDivision,
                errno => error("KCOV_REMOTE_ENABLE", errno),
            })
        })
    }

    /// Returns the buffer in the form in which another task uses it that collects edges, with a table
    /// of `table` words.
    ///
    /// # Errors
    ///
    /// [`Error::Division`] if the table has no possible size, or leaves no space for an edge.
    pub fn edge_buffer(&mut self, table: usize) -> Result<EdgeBuffer<'_>, Error> {
        check(table, self.words())?;
        let area = self.parts().1;
        Ok(EdgeBuffer { area, table })
    }

    fn start_edges(
        &mut self,
        table: usize,
        remote: bool,
        enable: impl FnOnce(BorrowedFd<'_>) -> Result<(), Error>,
    ) -> Result<EdgeCollection<'_>, Error> {
        check(table, self.words())?;
        let (fd, area) = self.parts();
        area.reset();
        enable(fd)?;
        Ok(EdgeCollection {
            fd,
            area,
            table,
            remote,
            thread: PhantomData,
        })
    }
}

/// Returns an error if a buffer cannot have a table of this size.
fn check(table: usize, words: usize) -> Result<(), Error> {
    let possible = TABLES.contains(&table) && table.is_power_of_two();
    if !possible || words < HEADER + table + abi::WORDS_PER_EDGE {
        return Err(Error::Division { front: table, words });
    }
    Ok(())
}

fn error(call: &'static str, errno: Errno) -> Error {
    match errno {
        Errno::NOTTY => Error::NoDivision,
        errno if errno.raw_os_error() == abi::ENOTSUPP => Error::NoDivision,
        // The sizes are valid, so the error is about the state of the descriptor.
        Errno::INVAL | Errno::BUSY => Error::Busy,
        other => Error::system(call, other),
    }
}

/// A guard: collection of edges is enabled for the thread that made it, until it is stopped or
/// dropped.
///
/// Like [`Collection`](crate::Collection), it borrows the buffer and stays on its thread.
#[derive(Debug)]
#[must_use = "collection ends when this is dropped"]
pub struct EdgeCollection<'a> {
    fd: BorrowedFd<'a>,
    area: &'a Area,
    table: usize,
    remote: bool,
    // A raw pointer keeps the guard on its thread.
    thread: PhantomData<*mut ()>,
}

impl<'a> EdgeCollection<'a> {
    /// Discards the edges and goes on collecting.
    pub fn reset(&mut self) {
        // The reason is the one in `Collection::reset`.
        if self.remote && sys::reset_trace(self.fd).is_ok() {
            return;
        }
        self.area.reset();
    }

    /// Returns the number of edges so far.
    #[must_use]
    pub fn len(&self) -> usize {
        Edges::of(self.area, self.table).len()
    }

    /// Returns whether nothing has been collected so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the collection and returns its edges.
    ///
    /// # Errors
    ///
    /// The errors of [`Collection::stop`](crate::Collection::stop).
    pub fn stop(self) -> Result<Edges<'a>, Error> {
        let (fd, area, table) = (self.fd, self.area, self.table);
        // The same reason as in `Collection::stop`.
        std::mem::forget(self);
        sys::disable(fd).map_err(|errno| Error::system("KCOV_DISABLE", errno))?;
        Ok(Edges::of(area, table))
    }
}

impl Drop for EdgeCollection<'_> {
    fn drop(&mut self) {
        // This fails only if the collection is already disabled.
        let _ = sys::disable(self.fd);
    }
}

/// A buffer with a table of edges. No task collects into it, or only one that is stopped.
///
/// Made by [`Kcov::edge_buffer`].
#[derive(Debug)]
pub struct EdgeBuffer<'a> {
    area: &'a Area,
    table: usize,
}

impl EdgeBuffer<'_> {
    /// Returns the edges in the buffer.
    #[must_use]
    pub fn edges(&self) -> Edges<'_> {
        Edges::of(self.area, self.table)
    }

    /// Discards the edges. They are not collected again as long as the table has them, and the PC
    /// before the next one stays known.
    ///
    /// A single PC after a reset stays in the buffer: its edge is among the next ones again.
    pub fn discard(&mut self) {
        // The other words stay as they are: a store to the first word would be a reset. Until the
        // second PC after a reset, the kernel does not use the count, and sets it then.
        self.area.words()[COUNT].store(0, Ordering::Relaxed);
    }
}

/// The edges in a buffer, in the order in which they were collected.
#[derive(Clone, Copy, Debug)]
pub struct Edges<'a> {
    /// The words of the edges; without the previous PC if there is one PC only.
    words: &'a [AtomicU64],
    len: usize,
    /// The number of edges that fit.
    capacity: usize,
}

impl<'a> Edges<'a> {
    fn of(area: &'a Area, table: usize) -> Self {
        let words = area.words();
        let records = &words[HEADER + table..];
        let capacity = records.len() / abi::WORDS_PER_EDGE;
        // ORDERING: Acquire, so that the records are those that the count is about.
        let (words, len) = match words[LAST].load(Ordering::Acquire) {
            0 => (&words[..0], 0),
            1 => (&words[FIRST..=FIRST], 1),
            _ => {
                let count = words[COUNT].load(Ordering::Acquire);
                let len = usize::try_from(count).unwrap_or(capacity).min(capacity);
                (&records[..len * abi::WORDS_PER_EDGE], len)
            }
        };
        Self { words, len, capacity }
    }

    /// Returns the number of edges.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no edges.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether the buffer is full, so that later edges were dropped.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.len == self.capacity
    }

    /// Returns the edges, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Edge> + use<'a> {
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        self.words
            .chunks(abi::WORDS_PER_EDGE)
            .map(move |record| match record {
                [previous, pc] => Edge {
                    previous: load(previous),
                    pc: load(pc),
                },
                one => Edge {
                    previous: 0,
                    pc: one.first().map_or(0, load),
                },
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area::tests::area_of;

    fn edges(words: &[u64]) -> Vec<(u64, u64)> {
        let area = area_of(words);
        let edges = Edges::of(&area, 4);
        assert_eq!(edges.len(), edges.iter().count());
        edges.iter().map(|edge| (edge.previous, edge.pc)).collect()
    }

    #[test]
    fn the_first_word_decides() {
        let rest = [7, 2, 0, 9, 9, 9, 9, 0, 10, 10, 20, 30, 40];
        let of = |last: u64| edges(&[&[last], &rest[..]].concat());
        assert_eq!(of(0), []);
        assert_eq!(of(1), [(0, 7)]);
        assert_eq!(of(2), [(0, 10), (10, 20)]);
        assert_eq!(of(u64::MAX), [(0, 10), (10, 20)]);
    }

    #[test]
    fn a_forged_count_stays_in_the_buffer() {
        let words = [5, 0, u64::MAX, 0, 9, 9, 9, 9, 1, 2, 3];
        assert_eq!(edges(&words), [(1, 2)]);
    }

    #[test]
    fn a_full_buffer_is_told() {
        let overflowed = |count: u64| {
            let area = area_of(&[5, 0, count, 0, 9, 9, 9, 9, 1, 2, 3, 4]);
            Edges::of(&area, 4).overflowed()
        };
        assert_eq!([1, 2, 3].map(overflowed), [false, true, true]);
    }

    #[test]
    fn discarded_edges_stay_known() {
        let words = [5, 7, 2, 0, 9, 9, 9, 9, 0, 10, 10, 20];
        let area = area_of(&words);
        let mut buffer = EdgeBuffer {
            area: &area,
            table: 4,
        };
        assert_eq!(buffer.edges().len(), 2);
        buffer.discard();
        assert!(buffer.edges().is_empty());
        let now: Vec<u64> = area
            .words()
            .iter()
            .map(|word| word.load(Ordering::Relaxed))
            .collect();
        assert_eq!(now, [5, 7, 0, 0, 9, 9, 9, 9, 0, 10, 10, 20]);
        // The single PC after a reset is not lost.
        area.words()[LAST].store(1, Ordering::Relaxed);
        buffer.discard();
        assert_eq!(buffer.edges().iter().next(), Some(Edge { previous: 0, pc: 7 }));
    }

    #[test]
    fn tables_have_few_sizes() {
        for (table, words) in [(2, 512), (5, 512), (1 << 18, 1 << 20), (512, 512), (256, 261)] {
            let error = check(table, words).unwrap_err();
            assert!(
                matches!(error, Error::Division { front, .. } if front == table),
                "{error:?}"
            );
        }
        check(4, 10).unwrap();
        check(1 << 17, 1 << 18).unwrap();
        assert_eq!(
            [1, 512, 1 << 18, 3 << 18, 1 << 24].map(edge_table),
            [4, 128, 1 << 16, 1 << 17, 1 << 17]
        );
    }

    #[test]
    fn signals_are_those_of_syzkaller() {
        let edge = |previous, pc| Edge { previous, pc }.signal();
        // The hash of 0 is 0xc0a9496a.
        assert_eq!(edge(0, 0xffff_ffff_8100_0000), 0xffff_ffff_8100_0000 ^ 0x96a);
        // Only 12 bits of the PC before count.
        assert_eq!(edge(0x1234, 5), edge(0xffff_1234, 5));
        assert_ne!(edge(0x1234, 5), edge(0x1235, 5));
    }

    #[test]
    fn errors_are_told_apart() {
        let unsupported = Errno::from_raw_os_error(abi::ENOTSUPP);
        for errno in [Errno::NOTTY, unsupported] {
            assert!(matches!(error("", errno), Error::NoDivision));
        }
        assert!(matches!(error("", Errno::BUSY), Error::Busy));
    }
}
