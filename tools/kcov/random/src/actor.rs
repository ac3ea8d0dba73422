// SPDX-License-Identifier: GPL-2.0
//! Actors: tasks that do as they are told, and allocate no memory while they do, as most of them are processes that were
//! forked from a process with threads.

use std::ffi::c_long;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use crate::sys::{self, Call, Mailbox, PAGE};

/// An order for an actor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// Makes a system call.
    Call(Call),
    /// Makes a system call and looks at buffers before it and after it, as described by the actor's data.
    Observe(Call),
    /// Forks; the child is the actor of that slot.
    Fork { slot: usize, sibling: bool },
    /// Starts a thread, the actor of that slot.
    Spawn { slot: usize },
    /// Executes this program again.
    Execute,
    /// Reads the file whose name is in the data, to the data.
    Read,
    /// Ends the process, or only the thread.
    Exit { process: bool },
}

const CALL: u32 = 0;
const OBSERVE: u32 = 1;
const FORK: u32 = 2;
const SPAWN: u32 = 3;
const EXECUTE: u32 = 4;
const READ: u32 = 5;
const EXIT: u32 = 6;

fn put(mailbox: &Mailbox, operation: u32, arguments: &[u64]) {
    mailbox.operation.store(operation, Ordering::Relaxed);
    for (place, argument) in mailbox.arguments.iter().zip(arguments) {
        place.store(*argument, Ordering::Relaxed);
    }
}

impl Request {
    /// Puts the request into a mailbox.
    pub(crate) fn put(self, mailbox: &Mailbox) {
        let all = |(number, a): Call| {
            [
                number as u64,
                a[0] as u64,
                a[1] as u64,
                a[2] as u64,
                a[3] as u64,
                a[4] as u64,
                a[5] as u64,
            ]
        };
        match self {
            Request::Call(call) => put(mailbox, CALL, &all(call)),
            Request::Observe(call) => put(mailbox, OBSERVE, &all(call)),
            Request::Fork { slot, sibling } => put(mailbox, FORK, &[slot as u64, u64::from(sibling)]),
            Request::Spawn { slot } => put(mailbox, SPAWN, &[slot as u64]),
            Request::Execute => put(mailbox, EXECUTE, &[]),
            Request::Read => put(mailbox, READ, &[]),
            Request::Exit { process } => put(mailbox, EXIT, &[u64::from(process)]),
        }
    }
}

/// Threads of the first process.
static THREADS: Mutex<Vec<(usize, JoinHandle<()>)>> = Mutex::new(Vec::new());

/// Does what is in the mailbox; nothing is returned by the thread that ends.
pub(crate) fn run(slot: usize) -> Option<i64> {
    let mailbox = sys::mailbox(slot);
    let argument = |index: usize| mailbox.arguments[index].load(Ordering::Relaxed) as usize;
    let call = || -> Call {
        (
            argument(0) as c_long,
            [
                argument(1),
                argument(2),
                argument(3),
                argument(4),
                argument(5),
                argument(6),
            ],
        )
    };
    Some(match mailbox.operation.load(Ordering::Relaxed) {
        CALL => sys::call(call()),
        OBSERVE => observe(slot, call()),
        FORK => fork(argument(0), argument(1) != 0),
        SPAWN => spawn(argument(0)),
        EXECUTE => execute(slot),
        READ => read(slot),
        _ if argument(0) != 0 => sys::call_with(libc::SYS_exit_group, &[0]),
        _ => return None,
    })
}

/// Works until the actor is told to end.
pub(crate) fn serve(slot: usize) {
    loop {
        sys::mailbox(slot).await_request();
        let Some(result) = run(slot) else { return };
        sys::mailbox(slot).answer(result);
    }
}

/// Goes on as an actor that has executed this program.
pub(crate) fn resume(slot: usize) {
    sys::mailbox(slot).answer(0);
    serve(slot);
}

fn fork(slot: usize, sibling: bool) -> i64 {
    // All processes are children of the first one, which waits for them.
    let parent = if sibling { libc::CLONE_PARENT } else { 0 };
    let pid = sys::call_with(libc::SYS_clone, &[(libc::SIGCHLD | parent) as usize]);
    if pid == 0 {
        serve(slot);
        sys::call_with(libc::SYS_exit_group, &[0]);
    }
    pid
}

fn spawn(slot: usize) -> i64 {
    match thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || serve(slot))
    {
        Ok(thread) => {
            THREADS
                .lock()
                .expect("a thread has panicked")
                .push((slot, thread));
            0
        }
        Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EAGAIN)),
    }
}

/// Waits for the end of a thread of this process.
pub(crate) fn join(slot: usize) {
    let mut threads = THREADS.lock().expect("a thread has panicked");
    if let Some(index) = threads.iter().position(|(of, _)| *of == slot) {
        let _ = threads.swap_remove(index).1.join();
    }
}

fn execute(slot: usize) -> i64 {
    let digits = [b'0' + slot as u8, 0];
    let words = [
        sys::address(c"kcov-random"),
        sys::address(c"serve"),
        digits.as_ptr() as usize,
        0,
    ];
    let nothing = [0usize];
    let arguments = [
        sys::address(c"/proc/self/exe"),
        words.as_ptr() as usize,
        nothing.as_ptr() as usize,
    ];
    sys::call_with(libc::SYS_execve, &arguments)
}

fn read(slot: usize) -> i64 {
    let data = sys::data(slot);
    let file = sys::call_with(
        libc::SYS_openat,
        &[libc::AT_FDCWD as usize, data, libc::O_RDONLY as usize],
    );
    if file < 0 {
        return file;
    }
    let length = sys::call_with(libc::SYS_read, &[file as usize, data, sys::DATA]);
    sys::call_with(libc::SYS_close, &[file as usize]);
    length
}

/// A part of a buffer: a count, and records of so many words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Part {
    /// The first word.
    pub(crate) at: usize,
    pub(crate) words: usize,
    /// 1 for PCs, 4 for comparisons.
    pub(crate) record: usize,
}

impl Part {
    /// Returns how many records fit.
    pub(crate) fn capacity(&self) -> usize {
        self.words.saturating_sub(1).checked_div(self.record).unwrap_or(0)
    }
}

/// A mapping that an actor looks at.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Look {
    pub(crate) address: usize,
    /// The size of the buffer.
    pub(crate) words: usize,
    /// The words of a set, in the front of the buffer.
    pub(crate) set: usize,
    /// The buffer is filled with a pattern first.
    pub(crate) prepare: bool,
    /// A part of a record may be in the words after the last record that fits.
    pub(crate) ragged: bool,
    pub(crate) parts: [Part; 2],
    /// The counts, before the call and after it.
    pub(crate) before: [u64; 2],
    pub(crate) after: [u64; 2],
    /// The check that found something: see [`Look::complaint`].
    pub(crate) wrong: u64,
    pub(crate) wrong_at: usize,
}

/// The most mappings that are looked at in one request. They are in the second half of the data, after a number of them.
pub(crate) const LOOKS: usize = 8;
const _: () = assert!(LOOKS * size_of::<Look>() <= PAGE - 8);

/// Returns where the mappings to look at are.
pub(crate) fn look_at(slot: usize, index: usize) -> usize {
    sys::data(slot) + PAGE + 8 + index * size_of::<Look>()
}

/// Returns where their number is.
pub(crate) fn looks_at(slot: usize) -> usize {
    sys::data(slot) + PAGE
}

/// No PC, type or count.
const PATTERN: u64 = 0x5eed_5eed_5eed_5eed;
/// An interrupt between a hook's load and its store of the count is recorded, but not counted: these records follow.
const INTERRUPT_RECORDS: usize = 64;

const TOO_MANY: u64 = 1;
const NOT_A_RECORD: u64 = 2;
const BEYOND: u64 = 3;

impl Look {
    fn word(&self, index: usize) -> u64 {
        sys::read(self.address + 8 * index)
    }

    fn set_word(&self, index: usize, value: u64) {
        sys::write(self.address + 8 * index, value);
    }

    fn counts(&self) -> [u64; 2] {
        self.parts
            .map(|part| if part.words > 0 { self.word(part.at) } else { 0 })
    }

    fn fill(&self) {
        // A page fault may be recorded, so all of them come first.
        for index in (0..self.words).step_by(PAGE / 8) {
            self.set_word(index, PATTERN);
        }
        self.clear();
        // The first records last: an interrupt may leave some.
        for part in self.parts {
            for index in (1..part.words).rev() {
                self.set_word(part.at + index, PATTERN);
            }
        }
        for index in 0..self.set {
            self.set_word(index, 0);
        }
        self.clear();
    }

    fn clear(&self) {
        for part in self.parts.iter().filter(|part| part.words > 0) {
            self.set_word(part.at, 0);
        }
    }

    fn check(&mut self) {
        for (index, part) in self.parts.into_iter().enumerate() {
            let count = self.after[index];
            // A mode with a larger part may have left a larger count.
            if self.before[index] <= part.capacity() as u64 && count > part.capacity() as u64 {
                return (self.wrong, self.wrong_at) = (TOO_MANY, part.at);
            }
            if !self.prepare {
                continue;
            }
            let count = count as usize;
            for at in (0..count).map(|record| part.at + 1 + record * part.record) {
                let (first, last) = (self.word(at), self.word(at + part.record - 1));
                let bad_type = part.record > 1 && first > 7;
                if bad_type || last == PATTERN || last == 0 {
                    return (self.wrong, self.wrong_at) = (NOT_A_RECORD, at);
                }
            }
            let recorded = if self.ragged {
                part.words
            } else {
                1 + part.capacity() * part.record
            };
            let untouched = (1 + (count + INTERRUPT_RECORDS) * part.record).min(recorded);
            if let Some(at) = (untouched..part.words).find(|&at| self.word(part.at + at) != PATTERN) {
                return (self.wrong, self.wrong_at) = (BEYOND, part.at + at);
            }
        }
    }

    /// Returns what is wrong with the contents of the buffer.
    pub(crate) fn complaint(&self) -> Option<String> {
        let what = match self.wrong {
            TOO_MANY => "is a count of more records than fit",
            NOT_A_RECORD => "is counted, but not a record",
            BEYOND => "is beyond the records, but was written to",
            _ => return None,
        };
        Some(format!("word {} {what}", self.wrong_at))
    }
}

fn observe(slot: usize, call: Call) -> i64 {
    let number: u64 = sys::read(looks_at(slot));
    let mut looks = [Look::default(); LOOKS];
    let looks = &mut looks[..LOOKS.min(number as usize)];
    for (index, look) in looks.iter_mut().enumerate() {
        *look = sys::read(look_at(slot, index));
        if look.prepare {
            look.fill();
        }
    }
    for look in looks.iter_mut() {
        look.before = look.counts();
    }
    let result = sys::call(call);
    for look in looks.iter_mut() {
        look.after = look.counts();
    }
    for (index, look) in looks.iter_mut().enumerate() {
        look.check();
        sys::write(look_at(slot, index), *look);
    }
    result
}
