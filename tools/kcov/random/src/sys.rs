// SPDX-License-Identifier: GPL-2.0
//! System calls by their numbers, and the memory that all actors share.
#![expect(
    unsafe_code,
    reason = "makes system calls and uses memory that other processes write to"
)]

use std::ffi::{CStr, c_long};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use anyhow::{Result, bail};

/// A system call's number and arguments.
pub(crate) type Call = (c_long, [usize; 6]);

/// Makes a system call. A failure is its negative errno.
pub(crate) fn call((number, a): Call) -> i64 {
    // SAFETY: The callers pass pointers to memory of their own only, or ones that the kernel refuses. Mappings that the
    // calls make or remove are not those of any Rust object.
    let result = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if result == -1 {
        // SAFETY: The pointer is to a variable of this thread.
        return -i64::from(unsafe { *libc::__errno_location() });
    }
    result
}

/// Makes a system call with fewer arguments.
pub(crate) fn call_with(number: c_long, arguments: &[usize]) -> i64 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    call((number, all))
}

/// Returns the address of a string, as an argument.
pub(crate) fn address(text: &CStr) -> usize {
    text.as_ptr() as usize
}

/// The number of actors at one time.
pub(crate) const SLOTS: usize = 8;
/// The number of bytes that an actor has for arguments and results. An inaccessible page follows.
pub(crate) const DATA: usize = 2 * PAGE;
/// The size of a page on the architectures that this program is built for.
pub(crate) const PAGE: usize = 4096;
/// The number of counters of a run.
pub(crate) const COUNTERS: usize = 512;
/// The number of bytes for a text about a run.
const TEXT: usize = 64 * PAGE;

/// The address of the shared memory in each process, also after `execve()`.
const BASE: usize = 0x2_0000_0000;
const SLOT: usize = PAGE + DATA + PAGE;
const REPORT: usize = BASE + SLOTS * SLOT;
const SIZE: usize = SLOTS * SLOT + 2 * PAGE + TEXT;
/// The files that each process has under the same number.
const SHARED_FILE: usize = 100;
/// The sample module's device.
pub(crate) const SAMPLE_FILE: usize = 101;

/// The request for an actor, and its answer.
#[repr(C)]
pub(crate) struct Mailbox {
    turn: AtomicU32,
    /// The kind of the request.
    pub(crate) operation: AtomicU32,
    /// The arguments of the request.
    pub(crate) arguments: [AtomicU64; 7],
    result: AtomicI64,
}

const IDLE: u32 = 0;
const REQUEST: u32 = 1;
const ANSWER: u32 = 2;

impl Mailbox {
    /// Waits until it is somebody's turn; at most so many seconds.
    fn wait(&self, turn: u32, seconds: Option<i64>) -> bool {
        let timeout = seconds.map(|tv_sec| libc::timespec { tv_sec, tv_nsec: 0 });
        let timeout = timeout
            .as_ref()
            .map_or(0, |timeout| std::ptr::from_ref(timeout) as usize);
        loop {
            let now = self.turn.load(Ordering::Acquire);
            if now == turn {
                return true;
            }
            let futex = [
                self.turn.as_ptr() as usize,
                libc::FUTEX_WAIT as usize,
                now as usize,
                timeout,
            ];
            if call_with(libc::SYS_futex, &futex) == -i64::from(libc::ETIMEDOUT) {
                return false;
            }
        }
    }

    fn pass(&self, turn: u32) {
        self.turn.store(turn, Ordering::Release);
        call_with(
            libc::SYS_futex,
            &[self.turn.as_ptr() as usize, libc::FUTEX_WAKE as usize, 1],
        );
    }

    /// Has the actor work. Returns what it answers, or nothing if it does not answer in time.
    pub(crate) fn request(&self, seconds: i64) -> Option<i64> {
        self.pass(REQUEST);
        self.answer_in(seconds)
    }

    /// Has the actor work without an answer.
    pub(crate) fn order(&self) {
        self.pass(REQUEST);
    }

    /// Waits for the answer to an earlier request.
    pub(crate) fn answer_in(&self, seconds: i64) -> Option<i64> {
        self.wait(ANSWER, Some(seconds))
            .then(|| self.result.load(Ordering::Relaxed))
    }

    /// Waits for a request.
    pub(crate) fn await_request(&self) {
        self.wait(REQUEST, None);
    }

    /// Answers a request.
    pub(crate) fn answer(&self, result: i64) {
        self.result.store(result, Ordering::Relaxed);
        self.pass(ANSWER);
    }

    /// Prepares the mailbox for a new actor.
    pub(crate) fn reset(&self) {
        self.turn.store(IDLE, Ordering::Release);
    }
}

/// The result of a run.
#[repr(C)]
pub(crate) struct Report {
    /// The number of calls that were compared with the model.
    pub(crate) calls: AtomicU64,
    /// The number of bytes of the text.
    length: AtomicU64,
    /// The number of times that each call had each result.
    pub(crate) counters: [AtomicU64; COUNTERS],
}

/// Makes the memory, before there is any other process.
pub(crate) fn create() -> Result<()> {
    let file = call_with(libc::SYS_memfd_create, &[address(c"kcov-random"), 0]);
    if file < 0 || call_with(libc::SYS_ftruncate, &[file as usize, SIZE]) < 0 {
        bail!("there is no memory to share");
    }
    call_with(libc::SYS_dup3, &[file as usize, SHARED_FILE, 0]);
    call_with(libc::SYS_close, &[file as usize]);
    map()
}

/// Maps the memory, in a program that `execve()` has started.
pub(crate) fn map() -> Result<()> {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE) as usize;
    let mapped = call((libc::SYS_mmap, [BASE, SIZE, protection, flags, SHARED_FILE, 0]));
    if mapped != BASE as i64 {
        bail!("the shared memory can't be mapped: {mapped}");
    }
    for slot in 0..SLOTS {
        call_with(
            libc::SYS_mprotect,
            &[data(slot) + DATA, PAGE, libc::PROT_NONE as usize],
        );
    }
    Ok(())
}

/// Returns an actor's mailbox.
pub(crate) fn mailbox(slot: usize) -> &'static Mailbox {
    assert!(slot < SLOTS);
    // SAFETY: The memory is mapped as long as the program runs, and zeroed memory is valid.
    unsafe { &*((BASE + slot * SLOT) as *const Mailbox) }
}

/// Returns the address of an actor's memory for arguments and results.
pub(crate) fn data(slot: usize) -> usize {
    BASE + slot * SLOT + PAGE
}

/// Returns the result of the run.
pub(crate) fn report() -> &'static Report {
    const { assert!(size_of::<Report>() <= 2 * PAGE) };
    // SAFETY: As for mailboxes.
    unsafe { &*(REPORT as *const Report) }
}

/// Adds a line to the text about the run.
pub(crate) fn write_line(line: &str) {
    let length = report().length.load(Ordering::Relaxed) as usize;
    let bytes = line.bytes().chain([b'\n']);
    let mut written = 0;
    for byte in bytes.take(TEXT - length) {
        write(REPORT + 2 * PAGE + length + written, byte);
        written += 1;
    }
    report()
        .length
        .store((length + written) as u64, Ordering::Relaxed);
}

/// Takes the text about the run.
pub(crate) fn take_text() -> String {
    let length = report().length.swap(0, Ordering::Relaxed) as usize;
    let bytes = (0..length)
        .map(|index| read(REPORT + 2 * PAGE + index))
        .collect::<Vec<u8>>();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads from memory that the kernel or another process may write to.
pub(crate) fn read<T: Copy>(address: usize) -> T {
    // SAFETY: The callers pass addresses in the shared memory, or in a mapping of a buffer that the model knows. Only
    // numbers are read.
    unsafe { (address as *const T).read_volatile() }
}

/// Writes to such memory.
pub(crate) fn write<T: Copy>(address: usize, value: T) {
    // SAFETY: As above; the mapping is writable.
    unsafe { (address as *mut T).write_volatile(value) }
}
