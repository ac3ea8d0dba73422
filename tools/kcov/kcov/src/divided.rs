// SPDX-License-Identifier: GPL-2.0
//! Collection into a divided buffer: each PC once, with a set in front of the trace, or PCs and comparisons in one
//! run, one trace behind the other.
//!
//! Only kernels with KCOV in Rust have this; on others it is an [`Error::NoDivision`].

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

/// The file that says how many words a set needs, next to KCOV's file.
const SET_WORDS: &str = "kcov_statistics/set_words";

/// The line of the descriptor's fdinfo that counts dropped records.
const DROPPED: &str = "kcov-dropped-records:";

/// How a buffer is divided while something is collected into it.
#[derive(Clone, Copy, Debug)]
enum Division {
    /// A set of so many words, and PCs behind it.
    Unique(usize),
    /// So many words for PCs, and comparisons behind them.
    Both(usize),
}

/// Each PC once: what [`Kcov::collect_unique`] collects.
#[derive(Debug)]
pub enum Unique {}

/// PCs and comparisons: what [`Kcov::collect_both`] collects.
#[derive(Debug)]
pub enum Both {}

impl Kcov {
    /// Empties the buffer and collects each PC once that the calling thread runs in the kernel, until the guard is
    /// stopped or dropped.
    ///
    /// The first `set` words of the buffer hold a bit for each place in the kernel's code;
    /// [`Device::set_words`](crate::Device::set_words) says how many cover the kernel image. PCs that have no bit
    /// there are collected each time.
    ///
    /// # Errors
    ///
    /// [`Error::NoDivision`] if the kernel can't do it, [`Error::Division`] if there is no room for a set or a PC;
    /// otherwise as for [`collect`](Self::collect).
    pub fn collect_unique(&mut self, set: usize) -> Result<DividedCollection<'_, Unique>, Error> {
        self.start(Division::Unique(set))
    }

    /// Empties the buffer and collects PCs and comparisons at the same time, until the guard is stopped or dropped.
    ///
    /// The first `pcs` words of the buffer are for PCs and their count, the others for comparisons.
    ///
    /// # Errors
    ///
    /// As for [`collect_unique`](Self::collect_unique), and [`Error::NoComparisons`].
    pub fn collect_both(&mut self, pcs: usize) -> Result<DividedCollection<'_, Both>, Error> {
        self.start(Division::Both(pcs))
    }

    /// Empties the buffer and collects the sections with the given handles, whichever task runs them, each PC once,
    /// until the guard is stopped or dropped.
    ///
    /// A section's records reach the buffer when the section ends; those that the set, the first `set` words, has seen
    /// are left out then.
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
    /// // Children inherit the handle: what the kernel does for them elsewhere is collected.
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
    /// [`Error::HandleInUse`] if another descriptor has one of the handles; otherwise as for
    /// [`collect_unique`](Self::collect_unique).
    pub fn collect_remote_unique(
        &mut self,
        handles: &RemoteHandles,
        set: usize,
    ) -> Result<DividedCollection<'_, Unique>, Error> {
        self.start_remote(Division::Unique(set), handles)
    }

    /// Empties the buffer and collects PCs and comparisons of the sections with the given handles, until the guard is
    /// stopped or dropped.
    ///
    /// The first `pcs` words of the buffer are for PCs and their count, the others for comparisons.
    ///
    /// # Errors
    ///
    /// [`Error::HandleInUse`] if another descriptor has one of the handles; otherwise as for
    /// [`collect_both`](Self::collect_both).
    pub fn collect_remote_both(
        &mut self,
        handles: &RemoteHandles,
        pcs: usize,
    ) -> Result<DividedCollection<'_, Both>, Error> {
        self.start_remote(Division::Both(pcs), handles)
    }

    /// As [`child_start`](Self::child_start), for a child that collects each PC once. What it has collected is read
    /// with [`unique_buffer`](Self::unique_buffer).
    ///
    /// # Errors
    ///
    /// [`Error::Division`] if there is no room for a set or a PC, [`Error::System`] if the descriptor cannot be
    /// duplicated.
    pub fn child_start_unique(&self, set: usize) -> Result<ChildStart<Unique>, Error> {
        Division::Unique(set).check(self.words())?;
        self.start_in_child(Start::Unique(set))
    }

    /// The buffer as a child uses it that collects each PC once.
    ///
    /// # Errors
    ///
    /// [`Error::Division`] if there is no room for a set or a PC.
    pub fn unique_buffer(&mut self, set: usize) -> Result<UniqueBuffer<'_>, Error> {
        Division::Unique(set).check(self.words())?;
        Ok(UniqueBuffer {
            words: self.parts().1.words(),
            set,
        })
    }

    /// How many records there was no room for in the last collection, in any mode; nothing if the kernel does not
    /// count them.
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
                // A kernel that knows only whole buffers refuses the mode with the same number as a descriptor that
                // collects, and does not know this call.
                Errno::INVAL if sys::reset_trace(fd) == Err(Errno::NOTTY) => Error::NoDivision,
                errno => division.error(errno),
            })
        })
    }

    /// Empties the buffer and has `enable` start the collection.
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
    /// Whether both parts have room for something.
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
            // The sizes are in order, so it is the descriptor's state.
            (_, Errno::INVAL | Errno::BUSY) => Error::Busy,
            (Self::Unique(_), other) => Error::system("KCOV_UNIQUE_ENABLE", other),
            (Self::Both(_), other) => Error::system("KCOV_PC_CMP_ENABLE", other),
        }
    }

    /// Where the front ends, in a buffer that may be anything.
    fn front(self) -> usize {
        match self {
            Self::Unique(front) | Self::Both(front) => front,
        }
    }

    /// Forgets all records, and that they were seen.
    fn reset(self, words: &[AtomicU64]) {
        let cleared = match self {
            Self::Unique(set) => set,
            Self::Both(_) => 1,
        };
        // ORDERING: For this very thread, or before the collection starts.
        for word in &words[..cleared] {
            word.store(0, Ordering::Relaxed);
        }
        words[self.front()].store(0, Ordering::Relaxed);
    }
}

/// Collection into a divided buffer is on for the thread that made this, until it is stopped or dropped.
///
/// As [`Collection`](crate::Collection), it borrows the buffer and stays on its thread.
#[derive(Debug)]
#[must_use = "collection ends when this is dropped"]
pub struct DividedCollection<'a, K> {
    fd: BorrowedFd<'a>,
    area: &'a Area,
    division: Division,
    /// Whether others write to the buffer: those that end sections.
    remote: bool,
    // A raw pointer keeps the guard on its thread.
    kind: PhantomData<(K, *mut ())>,
}

impl<'a, K> DividedCollection<'a, K> {
    /// Discards what was collected so far and goes on collecting.
    pub fn reset(&mut self) {
        // Sections that end meanwhile must find the set and the trace both emptied or neither. For this very thread
        // it is cheaper to do it here; and what it runs on its way back from a call would be collected.
        if self.remote && sys::reset_trace(self.fd).is_ok() {
            return;
        }
        self.division.reset(self.area.words());
    }

    fn end(self) -> Result<(&'a [AtomicU64], &'a [AtomicU64]), Error> {
        let (fd, area, division) = (self.fd, self.area, self.division);
        // As for `Collection::stop`.
        std::mem::forget(self);
        sys::disable(fd).map_err(|errno| Error::system("KCOV_DISABLE", errno))?;
        Ok(area.words().split_at(division.front()))
    }
}

impl<'a> DividedCollection<'a, Unique> {
    /// Ends the collection and gives what was collected.
    ///
    /// # Errors
    ///
    /// As for [`Collection::stop`](crate::Collection::stop).
    pub fn stop(self) -> Result<Records<'a, Pc>, Error> {
        Ok(Records::of_words(self.end()?.1))
    }
}

impl<'a> DividedCollection<'a, Both> {
    /// Ends the collection and gives what was collected.
    ///
    /// # Errors
    ///
    /// As for [`Collection::stop`](crate::Collection::stop).
    pub fn stop(self) -> Result<(Records<'a, Pc>, Records<'a, Cmp>), Error> {
        let (pcs, comparisons) = self.end()?;
        Ok((Records::of_words(pcs), Records::of_words(comparisons)))
    }
}

/// A buffer with a set in front, while nobody collects into it, or a child does that is stopped.
///
/// Made by [`Kcov::unique_buffer`].
#[derive(Debug)]
pub struct UniqueBuffer<'a> {
    words: &'a [AtomicU64],
    set: usize,
}

impl UniqueBuffer<'_> {
    /// The PCs that are in the buffer.
    #[must_use]
    pub fn records(&self) -> Records<'_, Pc> {
        Records::of_words(&self.words[self.set..])
    }

    /// Discards the PCs. They are not collected again, since they count as seen.
    pub fn discard(&mut self) {
        self.words[self.set].store(0, Ordering::Relaxed);
    }

    /// Discards the PCs, and that they were seen.
    pub fn reset(&mut self) {
        Division::Unique(self.set).reset(self.words);
    }
}

impl<K> Drop for DividedCollection<'_, K> {
    fn drop(&mut self) {
        // Fails only if collection is already off.
        let _ = sys::disable(self.fd);
    }
}

/// How many words a set needs, from the file next to `device`; whole pages, so that the buffer can be mapped.
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
