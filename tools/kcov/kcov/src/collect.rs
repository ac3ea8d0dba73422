// SPDX-License-Identifier: GPL-2.0
//! Collection: a descriptor with its buffer, and the guard that keeps the collection enabled.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::area::Area;
use crate::error::Error;
use crate::records::{Cmp, Mode, Pc, Records};
use crate::remote::RemoteHandles;
use crate::{abi, sys};

/// A descriptor with its buffer, into which one task at a time collects.
///
/// [`Device::with_buffer`](crate::Device::with_buffer) makes it. It can be used any number of times
/// and allocates nothing after that.
#[derive(Debug)]
pub struct Kcov {
    fd: OwnedFd,
    area: Area,
}

impl Kcov {
    pub(crate) fn new(fd: OwnedFd, area: Area) -> Self {
        Self { fd, area }
    }

    pub(crate) fn parts(&self) -> (BorrowedFd<'_>, &Area) {
        (self.fd.as_fd(), &self.area)
    }

    /// Returns the size of the buffer in words, the count included.
    #[must_use]
    pub fn words(&self) -> usize {
        self.area.words().len()
    }

    /// Empties the buffer and collects the kernel code that the calling thread runs, until the
    /// guard is stopped or dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if the thread or the descriptor collects already, [`Error::NoComparisons`]
    /// if the kernel was built without [`Cmp`].
    pub fn collect<M: Mode>(&mut self) -> Result<Collection<'_, M>, Error> {
        self.area.reset();
        sys::enable(self.fd.as_fd(), M::NUMBER).map_err(|errno| enable_error("KCOV_ENABLE", errno))?;
        Ok(Collection::new(self, false))
    }

    /// Collects PCs, as [`collect`](Self::collect) does.
    ///
    /// # Errors
    ///
    /// The errors of [`collect`](Self::collect).
    pub fn collect_pcs(&mut self) -> Result<Collection<'_, Pc>, Error> {
        self.collect()
    }

    /// Collects comparisons, as [`collect`](Self::collect) does.
    ///
    /// # Errors
    ///
    /// The errors of [`collect`](Self::collect).
    pub fn collect_comparisons(&mut self) -> Result<Collection<'_, Cmp>, Error> {
        self.collect()
    }

    /// Empties the buffer and collects the sections with the given handles, in any task, until the
    /// guard is stopped or dropped.
    ///
    /// A section's records reach the buffer when the section ends.
    ///
    /// # Errors
    ///
    /// [`Error::HandleInUse`] if another descriptor has one of the handles; otherwise the errors of
    /// [`collect`](Self::collect).
    pub fn collect_remote<M: Mode>(&mut self, handles: &RemoteHandles) -> Result<Collection<'_, M>, Error> {
        self.area.reset();
        sys::remote_enable(self.fd.as_fd(), &handles.arg(M::NUMBER, 0))
            .map_err(|errno| enable_error("KCOV_REMOTE_ENABLE", errno))?;
        Ok(Collection::new(self, true))
    }

    /// Returns a value whose [`start`](ChildStart::start) makes a child collect into this buffer.
    /// The child calls it, for example in
    /// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec).
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the descriptor cannot be duplicated.
    pub fn child_start<M: Mode>(&self) -> Result<ChildStart<M>, Error> {
        self.start_in_child(Start::Mode(M::NUMBER))
    }

    pub(crate) fn start_in_child<K>(&self, start: Start) -> Result<ChildStart<K>, Error> {
        let fd = self.fd.try_clone().map_err(|cause| Error::System {
            call: "dup of the descriptor",
            cause,
        })?;
        Ok(ChildStart {
            fd,
            start,
            kind: PhantomData,
        })
    }

    /// Returns the records in the buffer. If a child has collected into the buffer and ended, these
    /// are the child's records.
    ///
    /// A child that still runs may add records later; the result does not include them.
    #[must_use]
    pub fn records<M: Mode>(&mut self) -> Records<'_, M> {
        Records::of(&self.area)
    }

    /// Empties the buffer.
    pub fn reset(&mut self) {
        self.area.reset();
    }
}

impl AsFd for Kcov {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A guard: collection is enabled for the thread that made it, until it is stopped or dropped.
///
/// It borrows the buffer, so the buffer can be neither read nor unmapped while the guard lives. It
/// cannot leave its thread, because the kernel lets only the collecting task end the collection.
#[derive(Debug)]
#[must_use = "collection ends when this is dropped"]
pub struct Collection<'a, M: Mode> {
    fd: BorrowedFd<'a>,
    area: &'a Area,
    remote: bool,
    // A raw pointer keeps the guard on its thread.
    mode: PhantomData<(M, *mut ())>,
}

impl<'a, M: Mode> Collection<'a, M> {
    fn new(kcov: &'a mut Kcov, remote: bool) -> Self {
        Self {
            fd: kcov.fd.as_fd(),
            area: &kcov.area,
            remote,
            mode: PhantomData,
        }
    }

    /// Discards the records and goes on collecting.
    ///
    /// On kernels without `KCOV_RESET_TRACE`, a remote section that ends at the same time may bring
    /// earlier records back. On these kernels, stop the collection and start it again.
    pub fn reset(&mut self) {
        // The kernel adds a section's records in several steps, and only the kernel can wait for
        // the last of them. For the collection of this thread, clearing the count here is cheaper;
        // and a system call would record the code of its own return.
        if self.remote && sys::reset_trace(self.fd).is_ok() {
            return;
        }
        self.area.reset();
    }

    /// Returns the number of records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        Records::<M>::of(self.area).len()
    }

    /// Returns whether nothing has been collected so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the collection and returns its records.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel does not know the collection any more, because other code
    /// has ended it without the guard.
    pub fn stop(self) -> Result<Records<'a, M>, Error> {
        let (fd, area) = (self.fd, self.area);
        // The destructor would disable a second time: one system call too many in the loop of a
        // fuzzer.
        std::mem::forget(self);
        sys::disable(fd).map_err(|errno| Error::system("KCOV_DISABLE", errno))?;
        Ok(Records::of(area))
    }
}

impl<M: Mode> Drop for Collection<'_, M> {
    fn drop(&mut self) {
        // This fails only if the collection is already disabled.
        let _ = sys::disable(self.fd);
    }
}

/// The call that starts a collection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// In a mode that uses the whole buffer for one trace.
    Mode(usize),
    /// Each PC once, with a set of this many words.
    Unique(usize),
}

/// The start of a collection in a child; made by [`Kcov::child_start`] and
/// [`Kcov::child_start_unique`].
#[derive(Debug)]
pub struct ChildStart<K> {
    fd: OwnedFd,
    start: Start,
    kind: PhantomData<fn() -> K>,
}

impl<K> ChildStart<K> {
    /// Starts collection on the calling task, until the task exits; an `exec` does not end it.
    /// Makes only a system call, so it may be used between `fork` and `exec`.
    ///
    /// # Errors
    ///
    /// The system's error, in the form that `pre_exec` needs.
    pub fn start(&self) -> std::io::Result<()> {
        Ok(match self.start {
            Start::Mode(mode) => sys::enable(self.fd.as_fd(), mode),
            Start::Unique(set) => sys::unique_enable(self.fd.as_fd(), set),
        }?)
    }
}

fn enable_error(call: &'static str, errno: Errno) -> Error {
    match errno {
        // The kernel returns EINVAL if the descriptor collects already, and EBUSY if the task does.
        // The buffer and the form of the handles are valid here.
        Errno::BUSY | Errno::INVAL => Error::Busy,
        Errno::EXIST => Error::HandleInUse,
        other if other.raw_os_error() == abi::ENOTSUPP => Error::NoComparisons,
        other => Error::system(call, other),
    }
}
