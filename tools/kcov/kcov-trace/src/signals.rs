// SPDX-License-Identifier: GPL-2.0
//! What signals do to this program: they end it, as they end every program, but for the time of a collection, which
//! they end instead; and before they end it a file that is half written is removed.
#![expect(unsafe_code, reason = "installs signal handlers and sends signals")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

/// Those by which a user ends a program.
const ENDING: [c_int; 4] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP];
/// Those that a file that shrinks under its mapping, a limit or a panic sends.
const FAILING: [c_int; 3] = [libc::SIGBUS, libc::SIGXFSZ, libc::SIGABRT];

/// The number of a signal, negative if the kernel has sent it, or 0.
static CAUGHT: AtomicI32 = AtomicI32::new(0);
/// The name of the file to be removed, or null.
static UNFINISHED: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

/// Signals are noted, and end waits, while this lives.
#[derive(Debug)]
pub struct Catching {
    before: Vec<(c_int, libc::sighandler_t)>,
}

impl Catching {
    /// From now on the signals by which a user ends a program no longer end this one. What is ignored stays so.
    #[must_use]
    pub fn start() -> Self {
        Self {
            before: handle(&ENDING, note as *const () as libc::sighandler_t, libc::SA_SIGINFO),
        }
    }
}

impl Drop for Catching {
    fn drop(&mut self) {
        for (signal, before) in &self.before {
            set(*signal, *before, 0);
        }
    }
}

/// A signal that was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    signal: c_int,
    from_kernel: bool,
}

impl Caught {
    /// Sends the signal to the command that it is meant for. What the kernel has sent is on its way there already: it
    /// sends what comes of a terminal to everything that runs in its foreground.
    pub fn pass_on(self, command: i32) {
        if !self.from_kernel {
            // SAFETY: Two numbers. A process that is gone needs no signal any more.
            unsafe { libc::kill(command, self.signal) };
        }
    }
}

/// The last signal that was caught since this was asked before.
#[must_use]
pub fn take_caught() -> Option<Caught> {
    match CAUGHT.swap(0, Ordering::Relaxed) {
        0 => None,
        number => Some(Caught {
            signal: number.abs(),
            from_kernel: number < 0,
        }),
    }
}

/// A file that is removed if a signal ends this program. There is one at a time.
#[derive(Debug)]
pub struct Unfinished {
    before: Vec<(c_int, libc::sighandler_t)>,
}

impl Unfinished {
    /// Notes the name of a file that is going to be written. A name with a NUL byte is none, and cannot be written.
    #[must_use]
    pub fn note(path: &Path) -> Self {
        let name = CString::new(path.as_os_str().as_bytes()).map_or(null_mut(), CString::into_raw);
        // Never freed: a handler may be reading it, on any thread. This happens once in a run.
        UNFINISHED.store(name, Ordering::Release);
        let mut before = handle(&ENDING, handler(remove), libc::SA_RESTART);
        before.extend(handle(&FAILING, handler(remove), libc::SA_RESTART));
        Self { before }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        UNFINISHED.store(null_mut(), Ordering::Release);
        for (signal, before) in &self.before {
            set(*signal, *before, 0);
        }
    }
}

fn handler(function: extern "C" fn(c_int)) -> libc::sighandler_t {
    function as *const () as libc::sighandler_t
}

/// Handles those of the signals that are not ignored; gives what they did.
fn handle(signals: &[c_int], action: libc::sighandler_t, flags: c_int) -> Vec<(c_int, libc::sighandler_t)> {
    let mut before = Vec::new();
    for signal in signals {
        let old = set(*signal, action, flags);
        if old == libc::SIG_IGN {
            set(*signal, old, 0);
        } else {
            before.push((*signal, old));
        }
    }
    before
}

/// Sets what a signal does; gives what it did.
fn set(signal: c_int, action: libc::sighandler_t, flags: c_int) -> libc::sighandler_t {
    // SAFETY: The handlers call only what is safe in a handler and touch atomics only. A wait is to be interrupted
    // where the caller does not pass SA_RESTART.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = action;
        new.sa_flags = flags;
        libc::sigaction(signal, &raw const new, &raw mut old);
        old.sa_sigaction
    }
}

extern "C" fn note(signal: c_int, info: *const libc::siginfo_t, _: *const c_void) {
    // SAFETY: The kernel passes a valid one to a handler with SA_SIGINFO.
    let from_kernel = unsafe { (*info).si_code } == libc::SI_KERNEL;
    CAUGHT.store(if from_kernel { -signal } else { signal }, Ordering::Relaxed);
}

extern "C" fn remove(signal: c_int) {
    let name = UNFINISHED.load(Ordering::Acquire);
    // SAFETY: The name is never freed. unlink, signal and raise may be called in a handler; the signal comes again when
    // this one returns, and then ends the program.
    unsafe {
        if !name.is_null() {
            libc::unlink(name);
        }
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends this thread a signal as the kernel does. Only to itself may a process say that.
    fn send_as_kernel(signal: c_int) {
        // SAFETY: All bytes zero are a valid value, and the call only reads it.
        let ret = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            info.si_code = libc::SI_KERNEL;
            libc::syscall(
                libc::SYS_rt_tgsigqueueinfo,
                libc::getpid(),
                libc::gettid(),
                signal,
                &raw const info,
            )
        };
        assert_eq!(ret, 0, "{}", std::io::Error::last_os_error());
    }

    /// Both signals are for this thread: other tests, on other threads, would have their system calls interrupted.
    #[test]
    fn the_kernels_signals_are_known() {
        // A shell lets what it runs in the background ignore it.
        let before = set(libc::SIGINT, libc::SIG_DFL, 0);
        let catching = Catching::start();
        assert_eq!(take_caught(), None);
        // SAFETY: The signal is caught.
        unsafe { libc::raise(libc::SIGINT) };
        let sent = take_caught().unwrap();
        assert_eq!((sent.signal, sent.from_kernel), (libc::SIGINT, false));
        send_as_kernel(libc::SIGINT);
        let typed = take_caught().unwrap();
        assert_eq!((typed.signal, typed.from_kernel), (libc::SIGINT, true));
        assert_eq!(take_caught(), None);
        drop(catching);
        set(libc::SIGINT, before, 0);
    }
}
