// SPDX-License-Identifier: GPL-2.0
//! Collection: a descriptor with its buffer, and the guard that keeps collection on.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::area::Area;
use crate::error::Error;
use crate::records::{Cmp, Mode, Pc, Records};
use crate::remote::RemoteHandles;
use crate::{abi, sys};

/// A descriptor with its buffer: what one task at a time collects into.
///
/// Made by [`Device::with_buffer`](crate::Device::with_buffer). It can be used as often as one likes and
/// allocates nothing after that.
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

    /// How many words the buffer has, the count included.
    #[must_use]
    pub fn words(&self) -> usize {
        self.area.words().len()
    }

    /// Empties the buffer and collects what the calling thread runs in the kernel, until the guard is stopped
    /// or dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if the thread or the descriptor collects already, [`Error::NoComparisons`] if the kernel
    /// was not built for [`Cmp`].
    pub fn collect<M: Mode>(&mut self) -> Result<Collection<'_, M>, Error> {
        self.area.reset();
        sys::enable(self.fd.as_fd(), M::NUMBER).map_err(|errno| enable_error("KCOV_ENABLE", errno))?;
        Ok(Collection::new(self, false))
    }

    /// [`collect`](Self::collect) of PCs.
    ///
    /// # Errors
    ///
    /// As for [`collect`](Self::collect).
    pub fn collect_pcs(&mut self) -> Result<Collection<'_, Pc>, Error> {
        self.collect()
    }

    /// [`collect`](Self::collect) of comparisons.
    ///
    /// # Errors
    ///
    /// As for [`collect`](Self::collect).
    pub fn collect_comparisons(&mut self) -> Result<Collection<'_, Cmp>, Error> {
        self.collect()
    }

    /// Empties the buffer and collects the sections with the given handles, whichever task runs them, until the
    /// guard is stopped or dropped.
    ///
    /// A section's records reach the buffer when the section ends.
    ///
    /// # Errors
    ///
    /// [`Error::HandleInUse`] if another descriptor has one of the handles; otherwise as for
    /// [`collect`](Self::collect).
    pub fn collect_remote<M: Mode>(&mut self, handles: &RemoteHandles) -> Result<Collection<'_, M>, Error> {
        self.area.reset();
        sys::remote_enable(self.fd.as_fd(), &handles.arg(M::NUMBER, 0))
            .map_err(|errno| enable_error("KCOV_REMOTE_ENABLE", errno))?;
        Ok(Collection::new(self, true))
    }

    /// What is to be called in a child so that the child collects into this buffer: in
    /// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec) for example.
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

    /// The records that are in the buffer. After a child collected into it and ended, these are the child's.
    ///
    /// A child that still runs may add records meanwhile; those are not seen.
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

/// Collection is on for the thread that made this, until it is stopped or dropped.
///
/// It borrows the buffer, which can therefore be neither read nor unmapped meanwhile, and it stays on its
/// thread, since the kernel lets only the collecting task end the collection.
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

    /// Discards what was collected so far and goes on collecting.
    ///
    /// Of a remote collection, a section that ends just now may bring earlier records back, on kernels that do not know
    /// `KCOV_RESET_TRACE`: there, stop and start again.
    pub fn reset(&mut self) {
        // The kernel adds a section's records in several steps, and only it can wait for the last. For this very
        // thread it is cheaper to do it here; and what it runs on its way back from a call would be collected.
        if self.remote && sys::reset_trace(self.fd).is_ok() {
            return;
        }
        self.area.reset();
    }

    /// How many records there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        Records::<M>::of(self.area).len()
    }

    /// Whether nothing was collected so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the collection and gives what was collected.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel does not know of the collection any more, because somebody ended it
    /// behind the guard's back.
    pub fn stop(self) -> Result<Records<'a, M>, Error> {
        let (fd, area) = (self.fd, self.area);
        // The destructor would disable a second time: a system call too many in a fuzzer's loop.
        std::mem::forget(self);
        sys::disable(fd).map_err(|errno| Error::system("KCOV_DISABLE", errno))?;
        Ok(Records::of(area))
    }
}

impl<M: Mode> Drop for Collection<'_, M> {
    fn drop(&mut self) {
        // Fails only if collection is already off.
        let _ = sys::disable(self.fd);
    }
}

/// How a collection is started.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// In a mode that has the buffer for itself.
    Mode(usize),
    /// Each PC once, with a set of so many words.
    Unique(usize),
}

/// Starts collection in a child; made by [`Kcov::child_start`] and [`Kcov::child_start_unique`].
#[derive(Debug)]
pub struct ChildStart<K> {
    fd: OwnedFd,
    start: Start,
    kind: PhantomData<fn() -> K>,
}

impl<K> ChildStart<K> {
    /// Starts collection on the calling task, until it exits; an `exec` does not end it. Only a system call:
    /// it may be used between `fork` and `exec`.
    ///
    /// # Errors
    ///
    /// The system's error, as `pre_exec` wants it.
    pub fn start(&self) -> std::io::Result<()> {
        Ok(match self.start {
            Start::Mode(mode) => sys::enable(self.fd.as_fd(), mode),
            Start::Unique(set) => sys::unique_enable(self.fd.as_fd(), set),
        }?)
    }
}

fn enable_error(call: &'static str, errno: Errno) -> Error {
    match errno {
        // A descriptor that collects is refused with EINVAL, a task that collects with EBUSY. The buffer and
        // the handles' form cannot be wrong here.
        Errno::BUSY | Errno::INVAL => Error::Busy,
        Errno::EXIST => Error::HandleInUse,
        other if other.raw_os_error() == abi::ENOTSUPP => Error::NoComparisons,
        other => Error::system(call, other),
    }
}
