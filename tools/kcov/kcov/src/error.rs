// SPDX-License-Identifier: GPL-2.0
//! What can go wrong, one variant per remedy.

use std::path::PathBuf;

use rustix::io::Errno;

/// Why KCOV could not be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no debugfs where KCOV's file would be.
    #[error(
        "debugfs is not mounted on {}: mount it with 'mount -t debugfs none {}'",
        .at.display(), .at.display()
    )]
    DebugfsNotMounted {
        /// Where it was looked for.
        at: PathBuf,
    },
    /// debugfs is there, KCOV's file is not.
    #[error(
        "{} does not exist although debugfs is mounted: the kernel was built without CONFIG_KCOV; boot one built with it",
        .path.display()
    )]
    NotInKernel {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The file may not be opened.
    #[error("{} may not be opened: run as root (and, if the kernel is locked down, without lockdown)", .path.display())]
    Permission {
        /// The file in question.
        path: PathBuf,
    },
    /// The file exists but is not KCOV's.
    #[error("{} is not a KCOV file: it refused KCOV_INIT_TRACE as unknown", .path.display())]
    NotKcov {
        /// The file in question.
        path: PathBuf,
    },
    /// This descriptor or this task already collects.
    #[error(
        "collection is already on for this task or this descriptor: end the other collection first, or use one descriptor for each task"
    )]
    Busy,
    /// The descriptor has a buffer already, from whoever has opened it.
    #[error("the descriptor has a buffer already, and is given one only once: open another")]
    HasBuffer,
    /// A remote handle belongs to another descriptor, or was given twice.
    #[error(
        "a remote handle is in use by another descriptor, or was named twice: choose another handle, or end the other collection first"
    )]
    HandleInUse,
    /// Comparisons were asked of a kernel that does not collect them.
    #[error("the kernel does not collect comparisons: build it with CONFIG_KCOV_ENABLE_COMPARISONS")]
    NoComparisons,
    /// A divided buffer was asked of a kernel that knows only whole ones.
    #[error(
        "the kernel does not divide buffers: boot one built with CONFIG_KCOV_RUST and CONFIG_KCOV_UNIQUE, or collect PCs and comparisons one after the other and sort them"
    )]
    NoDivision,
    /// A part of the buffer would have no room for anything.
    #[error(
        "a buffer of {words} words can't be divided behind word {front}: each part needs room for a count and a record, a set for a word"
    )]
    Division {
        /// The size of the first part.
        front: usize,
        /// The size of the buffer.
        words: usize,
    },
    /// The buffer's size is out of range or does not fill whole pages.
    #[error(
        "a buffer of {words} words is not possible: take a number of words that fills whole pages (a multiple of {}) and stays below 2 GiB",
        crate::words_per_page()
    )]
    BufferSize {
        /// The size asked for.
        words: usize,
    },
    /// There is no memory for the buffer.
    #[error("the kernel has no memory for a buffer of {words} words: ask for a smaller one")]
    NoMemory {
        /// The size asked for.
        words: usize,
    },
    /// More handles than one call takes.
    #[error(
        "no more than {} handles can be attached at once: use a second descriptor in another task",
        crate::abi::REMOTE_MAX_HANDLES
    )]
    TooManyHandles,
    /// Anything else that the system answered.
    #[error("{call} failed: {cause}")]
    System {
        /// The call that failed.
        call: &'static str,
        /// What it answered.
        cause: std::io::Error,
    },
}

impl Error {
    pub(crate) fn system(call: &'static str, errno: Errno) -> Self {
        Self::System {
            call,
            cause: errno.into(),
        }
    }
}
