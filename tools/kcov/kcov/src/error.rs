// SPDX-License-Identifier: GPL-2.0
//! The errors, one variant for each remedy.

use std::path::PathBuf;

use rustix::io::Errno;

/// The reason why KCOV could not be used, and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Debugfs is not mounted at the place of KCOV's file.
    #[error(
        "debugfs is not mounted on {}: mount it with 'mount -t debugfs none {}'",
        .at.display(), .at.display()
    )]
    DebugfsNotMounted {
        /// The place where debugfs was expected.
        at: PathBuf,
    },
    /// Debugfs is mounted, but KCOV's file is missing.
    #[error(
        "{} does not exist although debugfs is mounted: the kernel was built without CONFIG_KCOV; boot one built with it",
        .path.display()
    )]
    NotInKernel {
        /// The missing file.
        path: PathBuf,
    },
    /// The file cannot be opened for lack of permission.
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
    /// This descriptor or this task collects already.
    #[error(
        "collection is already on for this task or this descriptor: end the other collection first, or use one descriptor for each task"
    )]
    Busy,
    /// The descriptor has a buffer already, from the code that opened it.
    #[error("the descriptor has a buffer already, and is given one only once: open another")]
    HasBuffer,
    /// A remote handle belongs to another descriptor, or was given twice.
    #[error(
        "a remote handle is in use by another descriptor, or was named twice: choose another handle, or end the other collection first"
    )]
    HandleInUse,
    /// The kernel was built without comparisons.
    #[error("the kernel does not collect comparisons: build it with CONFIG_KCOV_ENABLE_COMPARISONS")]
    NoComparisons,
    /// The kernel does not support divided buffers.
    #[error(
        "the kernel does not divide buffers: boot one built with CONFIG_KCOV_RUST and CONFIG_KCOV_UNIQUE, or collect PCs and comparisons one after the other and sort them"
    )]
    NoDivision,
    /// A part of the buffer would be too small for a record.
    #[error(
        "a buffer of {words} words cannot be divided after word {front}: each part must hold a count and a record, or a word of a set"
    )]
    Division {
        /// The size of the first part in words.
        front: usize,
        /// The size of the buffer in words.
        words: usize,
    },
    /// The buffer's size is out of range or does not fill whole pages.
    #[error(
        "a buffer of {words} words is not possible: take a number of words that fills whole pages (a multiple of {}) and stays below 2 GiB",
        crate::words_per_page()
    )]
    BufferSize {
        /// The requested size in words.
        words: usize,
    },
    /// The kernel has no memory for the buffer.
    #[error("the kernel has no memory for a buffer of {words} words: ask for a smaller one")]
    NoMemory {
        /// The requested size in words.
        words: usize,
    },
    /// The request has more handles than one call takes.
    #[error(
        "no more than {} handles can be attached at once: use a second descriptor in another task",
        crate::abi::REMOTE_MAX_HANDLES
    )]
    TooManyHandles,
    /// Any other error of the system.
    #[error("{call} failed: {cause}")]
    System {
        /// The call that failed.
        call: &'static str,
        /// The error of that call.
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
