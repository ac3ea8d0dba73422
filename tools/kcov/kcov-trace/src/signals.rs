// SPDX-License-Identifier: GPL-2.0
//! The reaction of this program to signals. They end the program, as they end every program, except
//! that during a collection they end only the collection. Before a signal ends the program, a file
//! that is half written is removed.
#![expect(unsafe_code, reason = "installs signal handlers and sends signals")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

/// The signals with which a user ends a program.
const ENDING: [c_int; 4] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP];
/// The signals that result from a file that shrinks while it is mapped, from a limit, or from a
/// panic.
const FAILING: [c_int; 3] = [libc::SIGBUS, libc::SIGXFSZ, libc::SIGABRT];

/// The signals that were caught: a bit for each signal number, and another bit, `FROM_KERNEL` bits
/// higher, if the kernel has sent the signal.
static CAUGHT: AtomicU64 = AtomicU64::new(0);
const FROM_KERNEL: u32 = 32;
/// The name of the file to remove, or null.
static UNFINISHED: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

/// A guard: while it lives, signals are stored and do not end the program.
#[derive(Debug)]
pub struct Catching {
    before: Vec<(c_int, libc::sighandler_t)>,
}

impl Catching {
    /// Makes the guard: from now on, the signals with which a user ends a program do not end this
    /// one. Signals that are ignored stay ignored.
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
    /// Sends the signal to the command that it is meant for. If the kernel has sent it, the command
    /// receives it anyway: the kernel sends signals of a terminal to all foreground processes.
    pub fn pass_on(self, command: i32) {
        if !self.from_kernel {
            // SAFETY: Passes two numbers. A process that has exited does not need the signal any
            // more.
            unsafe { libc::kill(command, self.signal) };
        }
    }
}

/// Returns a signal that was caught and not returned before.
#[must_use]
pub fn take_caught() -> Option<Caught> {
    let caught = CAUGHT.load(Ordering::Relaxed);
    if caught == 0 {
        return None;
    }
    let bit = caught.trailing_zeros();
    CAUGHT.fetch_and(!(1 << bit), Ordering::Relaxed);
    Some(Caught {
        signal: (bit % FROM_KERNEL) as c_int,
        from_kernel: bit >= FROM_KERNEL,
    })
}

/// The reports of children, which SIGCHLD announces while the value lives.
#[derive(Debug)]
pub struct Children {
    before: libc::sighandler_t,
}

impl Children {
    /// The duration of a wait. The end of a process whose first thread has ended before the others
    /// may come without SIGCHLD, depending on how the process was made.
    const WAIT: Duration = Duration::from_secs(1);

    /// Makes SIGCHLD end a wait, even if this program was started with SIGCHLD ignored.
    #[must_use]
    pub fn start() -> Self {
        Self {
            before: set(libc::SIGCHLD, handler(wake), libc::SA_RESTART),
        }
    }

    /// Returns the result of `look`. If that is `None`, waits until another look may have a result,
    /// or until a signal is caught.
    ///
    /// Must be called while the process has one thread only.
    pub fn wait<T>(&self, look: impl FnOnce() -> Option<T>) -> Option<T> {
        Self::wait_at_most(Self::WAIT, look)
    }

    fn wait_at_most<T>(time: Duration, look: impl FnOnce() -> Option<T>) -> Option<T> {
        // Blocks signals, so that none comes between a look and the wait for it.
        let before = block(&[&ENDING[..], &[libc::SIGCHLD]].concat());
        let found = if CAUGHT.load(Ordering::Relaxed) == 0 {
            look().or_else(|| {
                sleep(time, &before);
                None
            })
        } else {
            None
        };
        // SAFETY: The kernel has returned this mask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, null_mut()) };
        found
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        set(libc::SIGCHLD, self.before, 0);
    }
}

/// Blocks signals for this thread; returns the previous mask.
fn block(signals: &[c_int]) -> libc::sigset_t {
    // SAFETY: All-zero bytes are a valid value; the sets are local variables.
    unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut blocked);
        for signal in signals {
            libc::sigaddset(&raw mut blocked, *signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
        before
    }
}

/// Sleeps until the time is over or a signal comes that the mask does not block and the program
/// does not ignore. SIGCHLD always ends the sleep.
fn sleep(time: Duration, mask: &libc::sigset_t) {
    let mut mask = *mask;
    // SAFETY: The arguments are local variables, and the call waits for no files.
    unsafe {
        libc::sigdelset(&raw mut mask, libc::SIGCHLD);
        let mut limit: libc::timespec = std::mem::zeroed();
        limit.tv_sec = time.as_secs() as libc::time_t;
        libc::ppoll(null_mut(), 0, &raw const limit, &raw const mask);
    }
}

/// A file that is removed if a signal ends this program. The program has one such file at a time.
#[derive(Debug)]
pub struct Unfinished {
    before: Vec<(c_int, libc::sighandler_t)>,
}

impl Unfinished {
    /// Stores the name of a file that is about to be written. A name with a NUL byte is not stored,
    /// as such a file cannot be written.
    #[must_use]
    pub fn note(path: &Path) -> Self {
        let name = CString::new(path.as_os_str().as_bytes()).map_or(null_mut(), CString::into_raw);
        // Not freed, because a handler may be reading it on any thread. This happens once per run.
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

/// Handles those of the signals that are not ignored; returns their previous actions.
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

/// Sets the action of a signal; returns the previous action.
fn set(signal: c_int, action: libc::sighandler_t, flags: c_int) -> libc::sighandler_t {
    // SAFETY: The handlers call only functions that are allowed in a handler, and access only
    // atomics. Without SA_RESTART, a wait is interrupted, as the caller intends.
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
    // SAFETY: The kernel passes a valid pointer to a handler with SA_SIGINFO.
    let from_kernel = unsafe { (*info).si_code } == libc::SI_KERNEL;
    let bit = signal as u32 + if from_kernel { FROM_KERNEL } else { 0 };
    CAUGHT.fetch_or(1 << bit, Ordering::Relaxed);
}

/// Ends a wait by running.
extern "C" fn wake(_: c_int) {}

extern "C" fn remove(signal: c_int) {
    let name = UNFINISHED.load(Ordering::Acquire);
    // SAFETY: The name is never freed. unlink, signal and raise may be called in a handler. The
    // signal comes again when this handler returns, and then ends the program.
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
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Serialises tests that change the action of a signal, which applies to the whole process.
    static ALONE: Mutex<()> = Mutex::new(());

    /// Sends this thread a signal as the kernel does. The kernel allows that only from a process to
    /// itself.
    fn send_as_kernel(signal: c_int) {
        // SAFETY: All-zero bytes are a valid value, and the call only reads it.
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

    /// Sends both signals to this thread: on other threads, they would interrupt system calls of
    /// other tests.
    #[test]
    fn the_kernels_signals_are_known() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // A shell may start background programs with the signal ignored.
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

    #[test]
    fn none_of_several_signals_is_lost() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = set(libc::SIGINT, libc::SIG_DFL, 0);
        let catching = Catching::start();
        send_as_kernel(libc::SIGINT);
        for signal in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: The signal is caught.
            unsafe { libc::raise(signal) };
        }
        let caught: Vec<_> = std::iter::from_fn(take_caught)
            .map(|caught| (caught.signal, caught.from_kernel))
            .collect();
        assert_eq!(
            caught,
            [
                (libc::SIGINT, false),
                (libc::SIGTERM, false),
                (libc::SIGINT, true)
            ]
        );
        drop(catching);
        set(libc::SIGINT, before, 0);
    }

    /// Checks that a wait ends with its signal; if the wait misses it, this test never ends.
    #[test]
    fn signal_right_before_a_wait_ends_it() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let for_good = Duration::from_secs(1 << 30);
        let catching = Catching::start();
        let children = Children::start();
        for signal in [libc::SIGTERM, libc::SIGCHLD] {
            let found: Option<()> = Children::wait_at_most(for_good, || {
                // SAFETY: The signal is caught.
                unsafe { libc::raise(signal) };
                None
            });
            assert_eq!(found, None);
            let caught = take_caught().map(|caught| caught.signal);
            assert_eq!(caught, Some(signal).filter(|signal| *signal != libc::SIGCHLD));
        }
        assert_eq!(Children::wait_at_most(for_good, || Some(7)), Some(7));
        // SAFETY: The signal is caught.
        unsafe { libc::raise(libc::SIGTERM) };
        assert_eq!(
            Children::wait_at_most(for_good, || -> Option<()> { panic!() }),
            None
        );
        assert!(take_caught().is_some());
        drop(children);
        drop(catching);
    }
}
