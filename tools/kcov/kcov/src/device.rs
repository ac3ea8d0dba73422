// SPDX-License-Identifier: GPL-2.0
//! Opens KCOV's file and gives the descriptor its buffer.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode as FileMode, OFlags};
use rustix::io::Errno;

use crate::area::Area;
use crate::error::Error;
use crate::{Kcov, sys};

/// The conventional mount point of debugfs.
const DEBUGFS: &str = "/sys/kernel/debug";

/// An open KCOV file that does not have a buffer yet.
///
/// ```no_run
/// # fn main() -> Result<(), kcov::Error> {
/// let kcov = kcov::Device::open()?.with_buffer(64 << 10)?;
/// # let _ = kcov;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
    path: PathBuf,
}

impl Device {
    /// Opens KCOV's file in debugfs, at any mount point of debugfs.
    ///
    /// # Errors
    ///
    /// [`Error::DebugfsNotMounted`], [`Error::NotInKernel`] or [`Error::Permission`], depending on
    /// the obstacle.
    pub fn open() -> Result<Self, Error> {
        let usual = Path::new(DEBUGFS);
        match open_file(&usual.join("kcov")) {
            Ok(fd) => Ok(Self {
                fd,
                path: usual.join("kcov"),
            }),
            Err(Errno::NOENT) => match mounted_debugfs() {
                Some(at) => Self::open_path(&at.join("kcov")),
                None => Err(Error::DebugfsNotMounted { at: usual.into() }),
            },
            Err(errno) => Err(open_error(&usual.join("kcov"), errno)),
        }
    }

    /// Opens KCOV's file at another path.
    ///
    /// # Errors
    ///
    /// The errors of [`Device::open`]; a missing file is taken for a kernel without KCOV.
    pub fn open_path(path: &Path) -> Result<Self, Error> {
        let fd = open_file(path).map_err(|errno| open_error(path, errno))?;
        Ok(Self {
            fd,
            path: path.into(),
        })
    }

    /// Returns the size in words of a set for [`Kcov::collect_unique`] that covers the kernel
    /// image, rounded up to whole pages.
    ///
    /// # Errors
    ///
    /// [`Error::NoDivision`] if the kernel cannot divide buffers and therefore offers no size;
    /// [`Error::Permission`] if this process may not read it.
    pub fn set_words(&self) -> Result<usize, Error> {
        // A descriptor of unknown origin, or a file that is also visible elsewhere, has no
        // statistics next to it.
        match crate::divided::set_words(&self.path) {
            Err(Error::NoDivision) => crate::divided::set_words(&debugfs().join("kcov")),
            other => other,
        }
    }

    /// Gives the descriptor a buffer of `words` 64-bit words and maps it. Word 0 holds the count,
    /// so `words - 1` PCs or `(words - 1) / 4` comparisons fit.
    ///
    /// # Errors
    ///
    /// [`Error::BufferSize`] if the buffer would not fill whole pages, [`Error::NoMemory`] if the
    /// kernel has no memory for it, [`Error::HasBuffer`] if the descriptor has a buffer already.
    pub fn with_buffer(self, words: usize) -> Result<Kcov, Error> {
        if words == 0 || words % crate::words_per_page() != 0 {
            return Err(Error::BufferSize { words });
        }
        sys::init_trace(self.fd.as_fd(), words).map_err(|errno| match errno {
            Errno::INVAL => Error::BufferSize { words },
            Errno::NOMEM => Error::NoMemory { words },
            Errno::BUSY => Error::HasBuffer,
            Errno::NOTTY => Error::NotKcov {
                path: self.path.clone(),
            },
            other => Error::system("KCOV_INIT_TRACE", other),
        })?;
        let area = Area::map(self.fd.as_fd(), words).map_err(|errno| match errno {
            Errno::NOMEM => Error::NoMemory { words },
            other => Error::system("mmap of the buffer", other),
        })?;
        Ok(Kcov::new(self.fd, area))
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Device {
    /// Takes over a descriptor that was opened elsewhere, in another process for example, and does
    /// not have a buffer yet.
    fn from(fd: OwnedFd) -> Self {
        Self {
            fd,
            path: "the descriptor".into(),
        }
    }
}

fn open_file(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, FileMode::empty())
}

fn open_error(path: &Path, errno: Errno) -> Error {
    let path = path.to_path_buf();
    match errno {
        Errno::NOENT => Error::NotInKernel { path },
        Errno::ACCESS | Errno::PERM => Error::Permission { path },
        other => Error::system("open of KCOV's file", other),
    }
}

/// Returns the mount point of debugfs; the conventional one if it is not mounted.
fn debugfs() -> PathBuf {
    mounted_debugfs().unwrap_or_else(|| DEBUGFS.into())
}

fn mounted_debugfs() -> Option<PathBuf> {
    debugfs_in(&fs::read_to_string("/proc/self/mounts").unwrap_or_default())
}

/// Returns the first mount point of debugfs in the text of a mounts file.
fn debugfs_in(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        (kind == "debugfs").then(|| PathBuf::from(at.replace("\\040", " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_point_is_read_from_the_third_field() {
        let mounts = "debugfs /a tmpfs rw 0 0\nnone /b\\040c debugfs rw 0 0\nnone /d debugfs rw 0 0\n";
        assert_eq!(debugfs_in(mounts), Some(PathBuf::from("/b c")));
        assert_eq!(debugfs_in("proc /proc proc rw 0 0\n"), None);
        assert_eq!(debugfs_in("broken"), None);
    }

    #[test]
    fn missing_file_names_the_option_to_build_with() {
        let error = Device::open_path(Path::new("/nonexistent/kcov")).unwrap_err();
        assert!(matches!(error, Error::NotInKernel { .. }), "{error:?}");
        assert!(error.to_string().contains("CONFIG_KCOV"), "{error}");
    }

    #[test]
    fn foreign_file_is_told_from_kcov() {
        let error = Device::open_path(Path::new("/dev/null"))
            .unwrap()
            .with_buffer(crate::words_per_page())
            .unwrap_err();
        assert!(matches!(error, Error::NotKcov { .. }), "{error:?}");
    }

    #[test]
    fn size_must_fill_whole_pages() {
        for words in [0, 1, crate::words_per_page() + 1] {
            let device = Device::open_path(Path::new("/dev/null")).unwrap();
            let error = device.with_buffer(words).unwrap_err();
            assert!(
                matches!(error, Error::BufferSize { words: w } if w == words),
                "{error:?}"
            );
        }
    }
}
