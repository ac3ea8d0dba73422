// SPDX-License-Identifier: GPL-2.0

//! Memory next to a page that cannot be accessed.

use crate::memory::Memory;
use std::ptr;

const PAGE: usize = 4096;

/// Words that end, or begin, at a page that ends the test when it is read or written.
///
/// The unused part of the pages on the other side is checked at the end.
pub(super) struct Guarded {
    map: *mut u8,
    bytes: usize,
    start: *mut u64,
    words: usize,
}

/// The content of memory outside the words.
const UNUSED: u8 = 0xa5;

impl Guarded {
    pub(super) fn new(words: usize, at_end: bool) -> Self {
        let inner = (words * 8).next_multiple_of(PAGE).max(PAGE);
        let bytes = inner + 2 * PAGE;
        // SAFETY: A new mapping, anywhere.
        let map = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(map, libc::MAP_FAILED);
        let map: *mut u8 = map.cast();
        // SAFETY: The pages are in the mapping.
        let status = unsafe {
            libc::mprotect(
                map.add(PAGE).cast(),
                inner,
                libc::PROT_READ | libc::PROT_WRITE,
            )
        };
        assert_eq!(status, 0);
        let offset = if at_end { inner - words * 8 } else { 0 };
        // SAFETY: As above.
        let start = unsafe {
            map.add(PAGE).write_bytes(UNUSED, inner);
            map.add(PAGE + offset)
        };
        // SAFETY: As above.
        unsafe { start.write_bytes(0, words * 8) };
        Self {
            map,
            bytes,
            start: start.cast(),
            words,
        }
    }

    pub(super) fn memory(&self) -> Memory {
        // SAFETY: The words are valid as long as this lives.
        unsafe { Memory::new(self.start.cast(), self.words) }
    }

    pub(super) fn content(&self) -> Vec<u64> {
        (0..self.words).map(|index| self.get(index)).collect()
    }

    pub(super) fn get(&self, index: usize) -> u64 {
        assert!(index < self.words);
        // SAFETY: The index is that of a word.
        unsafe { self.start.add(index).read_volatile() }
    }

    pub(super) fn set(&self, index: usize, word: u64) {
        assert!(index < self.words);
        // SAFETY: As above.
        unsafe { self.start.add(index).write_volatile(word) }
    }

    pub(super) fn fill(&self, words: &[u64]) {
        for (index, &word) in words.iter().enumerate() {
            self.set(index, word);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let inner = self.map.wrapping_add(PAGE);
        let before = self.start as usize - inner as usize;
        let after = self.bytes - 2 * PAGE - before - self.words * 8;
        let end = self.start.wrapping_add(self.words).cast::<u8>();
        for (start, number) in [(inner, before), (end, after)] {
            // SAFETY: The bytes are in the pages that may be read.
            let unused = unsafe { std::slice::from_raw_parts(start, number) };
            assert!(
                std::thread::panicking() || unused.iter().all(|&byte| byte == UNUSED),
                "memory next to the words was written to"
            );
        }
        // SAFETY: The mapping is that of `new`.
        unsafe { libc::munmap(self.map.cast(), self.bytes) };
    }
}
