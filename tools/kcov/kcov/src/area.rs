// SPDX-License-Identifier: GPL-2.0
//! The mapping of a descriptor's buffer: the only memory that the kernel writes while this program
//! does not know.
//!
//! Every access is atomic, even while nothing is collected: another process that holds the
//! descriptor may write at any time. Then the values are unexpected, but the behaviour of the
//! program stays defined.
#![expect(unsafe_code, reason = "maps memory and turns the mapping into a slice")]

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A mapped buffer: word 0 counts the records, which follow it.
#[derive(Debug)]
pub(crate) struct Area {
    base: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: The mapping belongs to the process, not to a thread, and is accessed only through
// atomics.
unsafe impl Send for Area {}
// SAFETY: As above.
unsafe impl Sync for Area {}

impl Area {
    /// Maps `words` words of `fd`, shared with the kernel.
    pub(crate) fn map(fd: BorrowedFd<'_>, words: usize) -> Result<Self, Errno> {
        let length = words.checked_mul(size_of::<u64>()).ok_or(Errno::INVAL)?;
        // SAFETY: A new mapping at an address that the kernel chooses does not overlap any other
        // memory.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )?
        };
        match NonNull::new(base.cast()) {
            Some(base) => Ok(Self { base, words }),
            None => Err(Errno::FAULT),
        }
    }

    /// Returns all words, the count included.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `map` made a page-aligned mapping of exactly this many words. It exists until
        // `drop`, which cannot run while `self` is borrowed. Any bit pattern is a valid word.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }

    /// Discards all records.
    pub(crate) fn reset(&self) {
        self.words()[0].store(0, Ordering::Relaxed);
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: The mapping is owned, has this length, and is not borrowed any more. With a
        // correct address and length, the call cannot fail.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.words * size_of::<u64>()) };
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::os::fd::AsFd;

    /// Makes an area in ordinary memory, filled with the given words.
    pub(crate) fn area_of(contents: &[u64]) -> Area {
        let fd = memfd_create("area", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, (contents.len() * 8) as u64).unwrap();
        let area = Area::map(fd.as_fd(), contents.len()).unwrap();
        for (word, value) in area.words().iter().zip(contents) {
            word.store(*value, Ordering::Relaxed);
        }
        area
    }

    #[test]
    fn mapping_outlives_the_descriptor_and_is_shared() {
        let area = area_of(&[1, 2, 3]);
        assert_eq!(area.words()[0].load(Ordering::Relaxed), 1);
        assert_eq!(area.words().len(), 3);
        area.reset();
        assert_eq!(area.words()[0].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn absurd_length_is_refused() {
        let fd = memfd_create("area", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(Area::map(fd.as_fd(), usize::MAX).err(), Some(Errno::INVAL));
    }
}
