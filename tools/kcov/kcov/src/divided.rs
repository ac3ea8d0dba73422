// SPDX-License-Identifier: GPL-2.0
//! Collection into a divided buffer: each PC once, with a set in front of the trace, or PCs and
//! comparisons in one run, in two traces that follow each other.
//!
//! Only kernels with CONFIG_KCOV_RUST support it; on others it fails with [`Error::NoDivision`].

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use crate::area::Area;
use crate::collect::{ChildStart, Kcov, Start};
use crate::error::Error;
use crate::records::{Cmp, Pc, Records, capacity};
use crate::remote::RemoteHandles;
use crate::{abi, sys};

/// The file next to KCOV's that contains the size of a set in words.
const SET_WORDS: &str = "kcov_statistics/set_words";

/// The line of the descriptor's fdinfo that counts dropped records.
const DROPPED: &str = "kcov-dropped-records:";

/// The division of a buffer during a collection.
#[derive(Clone, Copy, Debug)]
enum Division {
    /// A set of this many words, followed by a trace of PCs.
    Unique(usize),
    /// This many words for PCs, followed by a trace of comparisons.
    Both(usize),
}

/// Each PC once, as collected by [`Kcov::collect_unique`].
#[derive(Debug)]
pub enum Unique {}

/// PCs and comparisons, as collected by [`Kcov::collect_both`].
#[derive(Debug)]
pub enum Both {}

impl Kcov {
    /// Empties the buffer and collects each PC once that the calling thread runs in the kernel,
    /// until the guard is stopped or dropped.
    ///
    /// The first `set` words of the buffer hold a bit for each address in the kernel's code;
    /// [`Device::set_words`](crate::Device::set_words) returns the number of words that cover the
    /// kernel image. PCs that have no bit there are collected each time.
    ///
    /// # Errors
    ///
    /// [`Error::NoDivision`] if the kernel does not support it, [`Error::Division`] if the set or
    /// the trace would be too small; otherwise the errors of [`collect`](Self::collect).
    pub fn collect_unique(&mut self, set: usize) -> Result<DividedCollection<'_, Unique>, Error> {
        self.start(Division::Unique(set))
    }

    /// Empties the buffer and collects PCs and comparisons at the same time, until the guard is
    /// stopped or dropped.
    ///
    /// The first `pcs` words of the buffer are for PCs and their count, the others for comparisons.
    ///
    /// # Errors
    ///
    /// The errors of [`collect_unique`](Self::collect_unique), and [`Error::NoComparisons`].
    pub fn collect_both(&mut self, pcs: usize) -> Result<DividedCollection<'_, Both>, Error> {
        self.start(Division::Both(pcs))
    }

    /// Empties the buffer and collects the sections with the given handles, in any task, each PC
    /// once, until the guard is stopped or dropped.
    ///
    /// A section's records reach the buffer when the section ends. PCs that the set has by then are
    /// left out; the set takes the first `set` words.
    ///
    /// ```no_run
    /// use kcov::{CommonHandle, Device, RemoteHandles};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = Device::open()?;
    /// let set = device.set_words()?;
    /// let mut kcov = device.with_buffer(set + (64 << 10))?;
    /// let handles = RemoteHandles::new(4096).common(CommonHandle::new(std::process::id()).ok_or("no handle")?);
    /// let collection = kcov.collect_remote_unique(&handles, set)?;
    /// // Children inherit the handle: the kernel's work for them elsewhere is collected.
    /// std::process::Command::new("some-test").status()?;
    /// for pc in &collection.stop()? {
    ///     println!("{pc:#x}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::HandleInUse`] if another descriptor has one of the handles; otherwise the errors of
    /// [`collect_unique`](Self::collect_unique).
    pub fn collect_remote_unique(
        &mut self,
        handles: &RemoteHandles,
        set: usize,
    ) -> Result<DividedCollection<'_, Unique>, Error> {
        self.start_remote(Division::Unique(set), handles)
    }

    /// Empties the buffer and collects PCs and comparisons of the sections with the given handles,
    /// until the guard is stopped or dropped.
    ///
    /// The first `pcs` words of the buffer are for PCs and their count, the others for comparisons.
    ///
    /// # Errors
    ///
    /// [`Error::HandleInUse`] if another descriptor has one of the handles; otherwise the errors of
    /// [`collect_both`](Self::collect_both).
    pub fn collect_remote_both(
        &mut self,
        handles: &RemoteHandles,
        pcs: usize,
    ) -> Result<DividedCollection<'_, Both>, Error> {
        self.start_remote(Division::Both(pcs), handles)
    }

    /// Does the same as [`child_start`](Self::child_start), for a child that collects each PC once.
    /// [`unique_buffer`](Self::unique_buffer) reads the records of the child.
    ///
    /// # Errors
    ///
    /// [`Error::Division`] if the set or the trace would be too small, [`Error::System`] if the
    /// descriptor cannot be duplicated.
    pub fn child_start_unique(&self, set: usize) -> Result<ChildStart<Unique>, Error> {
        Division::Unique(set).check(self.words())?;
        self.start_in_child(Start::Unique(set))
    }

    /// Returns the buffer in the form in which a child uses it that collects each PC once.
    ///
    /// # Errors
    ///
    /// [`Error::Division`] if the set or the trace would be too small.
    pub fn unique_buffer(&mut self, set: usize) -> Result<UniqueBuffer<'_>, Error> {
        Division::Unique(set).check(self.words())?;
        Ok(UniqueBuffer {
            words: self.parts().1.words(),
            set,
        })
    }

    /// Returns the number of records that did not fit in the last collection, in any mode; `None`
    /// if the kernel does not count them.
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        let path = format!("/proc/self/fdinfo/{}", self.as_fd().as_raw_fd());
        dropped_in(&fs::read_to_string(path).ok()?)
    }

    fn start<K>(&mut self, division: Division) -> Result<DividedCollection<'_, K>, Error> {
        self.start_with(division, false, |fd| {
            let enabled = match division {
                Division::Unique(set) => sys::unique_enable(fd, set),
                Division::Both(pcs) => sys::pc_cmp_enable(fd, pcs),
            };
            enabled.map_err(|errno| division.error(errno))
        })
    }

    fn start_remote<K>(
        &mut self,
        division: Division,
        handles: &RemoteHandles,
    ) -> Result<DividedCollection<'_, K>, Error> {
        let mode = match division {
            Division::Unique(_) => abi::TRACE_UNIQUE_PC,
            Division::Both(_) => abi::TRACE_PC_CMP,
        };
        self.start_with(division, true, |fd| {
            sys::remote_enable(fd, &handles.arg(mode, division.front())).map_err(|errno| match errno {
                Errno::EXIST => Error::HandleInUse,
                // A kernel that does not support divided buffers rejects the mode with the same
                // error as a descriptor that collects already, but it does not know this call.
                Errno::INVAL if sys::reset_trace(fd) == Err(Errno::NOTTY) => Error::NoDivision,
                errno => division.error(errno),
            })
        })
    }

    /// Empties the buffer and calls `enable` to start the collection.
    fn start_with<K>(
        &mut self,
        division: Division,
        remote: bool,
        enable: impl FnOnce(BorrowedFd<'_>) -> Result<(), Error>,
    ) -> Result<DividedCollection<'_, K>, Error> {
        division.check(self.words())?;
        let (fd, area) = self.parts();
        division.reset(area.words());
        enable(fd)?;
        Ok(DividedCollection {
            fd,
            area,
            division,
            remote,
            kind: PhantomData,
        })
    }
}

impl Division {
    /// Returns an error if one of the parts is too small for a record.
    fn check(self, words: usize) -> Result<(), Error> {
        let (front, fits) = match self {
            Self::Unique(set) => (set, set > 0 && capacity::<Pc>(words.saturating_sub(set)) > 0),
            Self::Both(pcs) => {
                let back = words.saturating_sub(pcs);
                (pcs, capacity::<Pc>(pcs) > 0 && capacity::<Cmp>(back) > 0)
            }
        };
        if fits {
            Ok(())
        } else {
            Err(Error::Division { front, words })
        }
    }

    fn error(self, errno: Errno) -> Error {
        match (self, errno) {
            (_, Errno::NOTTY) => Error::NoDivision,
            (Self::Unique(_), errno) if errno.raw_os_error() == abi::ENOTSUPP => Error::NoDivision,
            (Self::Both(_), errno) if errno.raw_os_error() == abi::ENOTSUPP => Error::NoComparisons,
            // The sizes are valid, so the error is about the state of the descriptor.
            (_, Errno::INVAL | Errno::BUSY) => Error::Busy,
            (Self::Unique(_), other) => Error::system("KCOV_UNIQUE_ENABLE", other),
            (Self::Both(_), other) => Error::system("KCOV_PC_CMP_ENABLE", other),
        }
    }

    /// Returns the end of the front, in a buffer of any size.
    fn front(self) -> usize {
        match self {
            Self::Unique(front) | Self::Both(front) => front,
        }
    }

    /// Discards all records, and clears the set.
    fn reset(self, words: &[AtomicU64]) {
        let cleared = match self {
            Self::Unique(set) => set,
            Self::Both(_) => 1,
        };
        // ORDERING: None needed: the buffer is this thread's, or the collection has not started
        // yet.
        for word in &words[..cleared] {
            word.store(0, Ordering::Relaxed);
        }
        words[self.front()].store(0, Ordering::Relaxed);
    }
}

/// A guard: collection into a divided buffer is enabled for the thread that made it, until it is
/// stopped or dropped.
///
/// Like [`Collection`](crate::Collection), it borrows the buffer and stays on its thread.
#[derive(Debug)]
#[must_use = "collection ends when this is dropped"]
pub struct DividedCollection<'a, K> {
    fd: BorrowedFd<'a>,
    area: &'a Area,
    division: Division,
    /// Set if other tasks write to the buffer: those that end sections.
    remote: bool,
    // A raw pointer keeps the guard on its thread.
    kind: PhantomData<(K, *mut ())>,
}

impl<'a, K> DividedCollection<'a, K> {
    /// Discards the records and goes on collecting.
    pub fn reset(&mut self) {
        // A section that ends at the same time must find both the set and the trace empty, or
        // neither. For the collection of this thread, clearing them here is cheaper; and a system
        // call would record the code of its own return.
        if self.remote && sys::reset_trace(self.fd).is_ok() {
            return;
        }
        self.division.reset(self.area.words());
    }

    fn end(self) -> Result<(&'a [AtomicU64], &'a [AtomicU64]), Error> {
        let (fd, area, division) = (self.fd, self.area, self.division);
        // The same reason as in `Collection::stop`.
        std::mem::forget(self);
        sys::disable(fd).map_err(|errno| Error::system("KCOV_DISABLE", errno))?;
        Ok(area.words().split_at(division.front()))
    }
}

impl<'a> DividedCollection<'a, Unique> {
    /// Ends the collection and returns its records.
    ///
    /// # Errors
    ///
    /// The errors of [`Collection::stop`](crate::Collection::stop).
    pub fn stop(self) -> Result<Records<'a, Pc>, Error> {
        Ok(Records::of_words(self.end()?.1))
    }
}

impl<'a> DividedCollection<'a, Both> {
    /// Ends the collection and returns its records.
    ///
    /// # Errors
    ///
    /// The errors of [`Collection::stop`](crate::Collection::stop).
    pub fn stop(self) -> Result<(Records<'a, Pc>, Records<'a, Cmp>), Error> {
        let (pcs, comparisons) = self.end()?;
        Ok((Records::of_words(pcs), Records::of_words(comparisons)))
    }
}

/// A buffer with a set in front. No task collects into it, or only a child that is stopped.
///
/// Made by [`Kcov::unique_buffer`].
#[derive(Debug)]
pub struct UniqueBuffer<'a> {
    words: &'a [AtomicU64],
    set: usize,
}

impl UniqueBuffer<'_> {
    /// Returns the PCs in the buffer.
    #[must_use]
    pub fn records(&self) -> Records<'_, Pc> {
        Records::of_words(&self.words[self.set..])
    }

    /// Discards the PCs. They are not collected again, because the set still has them.
    pub fn discard(&mut self) {
        self.words[self.set].store(0, Ordering::Relaxed);
    }

    /// Discards the PCs, and clears the set.
    pub fn reset(&mut self) {
        Division::Unique(self.set).reset(self.words);
    }
}

impl<K> Drop for DividedCollection<'_, K> {
    fn drop(&mut self) {
        // This fails only if the collection is already disabled.
        let _ = sys::disable(self.fd);
    }
}

/// Returns the size of a set in words from the file next to `device`, rounded up to whole pages so
/// that the buffer can be mapped.
pub(crate) fn set_words(device: &Path) -> Result<usize, Error> {
    let path = device.with_file_name(SET_WORDS);
    let text = fs::read_to_string(&path).map_err(|cause| match cause.kind() {
        io::ErrorKind::PermissionDenied => Error::Permission { path },
        // A part of the path may be a file.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NoDivision,
        _ => Error::System {
            call: "reading the size of a set",
            cause,
        },
    })?;
    let words: usize = text.trim().parse().map_err(|_| Error::NoDivision)?;
    Ok(words.next_multiple_of(crate::words_per_page()))
}

fn dropped_in(fdinfo: &str) -> Option<u64> {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix(DROPPED))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area::tests::area_of;

    #[test]
    fn each_part_needs_room() {
        for front in [0, 15, 16, 17, usize::MAX] {
            let error = Division::Unique(front).check(16).unwrap_err();
            assert!(matches!(error, Error::Division { words: 16, .. }), "{error:?}");
        }
        Division::Unique(14).check(16).unwrap();
        for front in [0, 1, 12, 16, usize::MAX] {
            Division::Both(front).check(16).unwrap_err();
        }
        Division::Both(2).check(16).unwrap();
        Division::Both(11).check(16).unwrap();
    }

    #[test]
    fn reset_clears_what_counts() {
        let values = |division: Division| -> Vec<u64> {
            let area = area_of(&[7; 6]);
            division.reset(area.words());
            area.words()
                .iter()
                .map(|word| word.load(Ordering::Relaxed))
                .collect()
        };
        assert_eq!(values(Division::Unique(3)), [0, 0, 0, 0, 7, 7]);
        assert_eq!(values(Division::Both(3)), [0, 7, 7, 0, 7, 7]);
    }

    #[test]
    fn discarded_pcs_stay_seen() {
        let area = area_of(&[5, 2, 10, 20, 0, 0]);
        let mut buffer = UniqueBuffer {
            words: area.words(),
            set: 1,
        };
        assert_eq!(buffer.records().iter().collect::<Vec<_>>(), [10, 20]);
        buffer.discard();
        assert!(buffer.records().is_empty());
        assert_eq!(area.words()[0].load(Ordering::Relaxed), 5);
        buffer.reset();
        assert_eq!(area.words()[0].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn errors_are_told_apart() {
        let unsupported = Errno::from_raw_os_error(abi::ENOTSUPP);
        assert!(matches!(
            Division::Unique(1).error(Errno::NOTTY),
            Error::NoDivision
        ));
        assert!(matches!(
            Division::Unique(1).error(unsupported),
            Error::NoDivision
        ));
        assert!(matches!(
            Division::Both(2).error(unsupported),
            Error::NoComparisons
        ));
        assert!(matches!(Division::Both(2).error(Errno::BUSY), Error::Busy));
        assert!(Error::NoDivision.to_string().contains("CONFIG_KCOV_UNIQUE"));
    }

    #[test]
    fn dropped_records_are_found_in_fdinfo() {
        let fdinfo = "pos:\t0\nkcov-mode:\tpc\nkcov-dropped-records:\t42\nkcov-lost-sections:\t1\n";
        assert_eq!(dropped_in(fdinfo), Some(42));
        assert_eq!(dropped_in("pos:\t0\n"), None);
    }
}
