// SPDX-License-Identifier: GPL-2.0
//! The system calls of tracing: `ptrace`, `wait4`, and the calls that start a command.
#![expect(unsafe_code, reason = "ptrace, fork and wait have no safe wrapper")]

use std::ffi::{CString, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::recording::SystemCall;

/// A thread id.
pub(super) type Tid = libc::pid_t;

/// Options for a traced task: its children are traced too, and it dies with the tracer.
pub(super) const OPTIONS: c_int = libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACEEXIT
    | libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_EXITKILL;
/// No seccomp filter applies while this is set.
pub(super) const SUSPEND_SECCOMP: c_int = 1 << 21;

// Numbers that some libcs lack.
const PTRACE_GETSIGMASK: c_int = 0x420a;
const PTRACE_SETSIGMASK: c_int = 0x420b;
const PTRACE_GET_SYSCALL_INFO: c_int = 0x420e;
const PTRACE_EVENT_STOP: c_int = 128;
const PIDFD_THREAD: c_int = libc::O_EXCL;

/// The report of a task to its tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Exited(i32),
    Killed(i32),
    Stopped(Stop),
}

/// The reason why a task stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It was just made, or interrupted, or continues after a group stop.
    Trap,
    /// A signal stopped its whole process.
    Group,
    /// It made a child or thread, whose id is the event's message.
    Child,
    /// It runs another program; the message is its previous id.
    Exec,
    /// It is about to exit.
    Exit,
    /// It enters or leaves a system call.
    SystemCall,
    /// A signal is about to be delivered to it.
    Signal(i32),
}

/// The end of a system call at which a task stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The call, without its result.
    Entry(SystemCall),
    /// The result.
    Exit(i64),
    Neither,
}

fn request(request: c_int, tid: Tid, address: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: The callers pass the arguments of their request. If one is a pointer, it comes from a
    // reference to memory of this program that is large enough.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            c_long::from(request),
            c_long::from(tid),
            address,
            data,
        )
    };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub(super) fn seize(tid: Tid) -> io::Result<()> {
    request(libc::PTRACE_SEIZE as c_int, tid, 0, OPTIONS as usize).map(drop)
}

pub(super) fn set_options(tid: Tid, options: c_int) -> io::Result<()> {
    request(libc::PTRACE_SETOPTIONS as c_int, tid, 0, options as usize).map(drop)
}

pub(super) fn go_on(tid: Tid, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_CONT as c_int, tid, 0, signal as usize).map(drop)
}

pub(super) fn go_on_to_system_call(tid: Tid, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL as c_int, tid, 0, signal as usize).map(drop)
}

pub(super) fn stay_stopped(tid: Tid) -> io::Result<()> {
    request(libc::PTRACE_LISTEN as c_int, tid, 0, 0).map(drop)
}

pub(super) fn interrupt(tid: Tid) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT as c_int, tid, 0, 0).map(drop)
}

pub(super) fn detach(tid: Tid, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH as c_int, tid, 0, signal as usize).map(drop)
}

pub(super) fn event_message(tid: Tid) -> io::Result<Tid> {
    let mut message: libc::c_ulong = 0;
    request(
        libc::PTRACE_GETEVENTMSG as c_int,
        tid,
        0,
        &raw mut message as usize,
    )?;
    Ok(message as Tid)
}

pub(super) fn signal_mask(tid: Tid) -> io::Result<u64> {
    let mut mask = 0u64;
    request(PTRACE_GETSIGMASK, tid, size_of::<u64>(), &raw mut mask as usize)?;
    Ok(mask)
}

pub(super) fn set_signal_mask(tid: Tid, mask: u64) -> io::Result<()> {
    request(PTRACE_SETSIGMASK, tid, size_of::<u64>(), &raw const mask as usize).map(drop)
}

pub(super) fn end_of_system_call(tid: Tid) -> io::Result<End> {
    // struct ptrace_syscall_info: the operation, and the interface; three words about the task; then
    // number and arguments, or the result.
    let mut info = [0u8; 128];
    request(
        PTRACE_GET_SYSCALL_INFO,
        tid,
        info.len(),
        info.as_mut_ptr() as usize,
    )?;
    let word = |at: usize| {
        info[at..]
            .first_chunk()
            .map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    };
    Ok(match info[0] {
        1 => End::Entry(SystemCall {
            interface: word(4) as u32,
            number: word(24),
            arguments: [32, 40, 48, 56, 64, 72].map(word),
            ..SystemCall::default()
        }),
        2 => End::Exit(word(24) as i64),
        _ => End::Neither,
    })
}

pub(super) fn peek(tid: Tid, address: u64) -> io::Result<u64> {
    let mut word = 0u64;
    request(
        libc::PTRACE_PEEKDATA as c_int,
        tid,
        address as usize,
        &raw mut word as usize,
    )?;
    Ok(word)
}

pub(super) fn poke(tid: Tid, address: u64, word: u64) -> io::Result<()> {
    request(
        libc::PTRACE_POKEDATA as c_int,
        tid,
        address as usize,
        word as usize,
    )
    .map(drop)
}

/// Reads general registers; `words` has as many elements as the architecture has registers.
pub(super) fn registers(tid: Tid, words: &mut [u64]) -> io::Result<()> {
    #[cfg(target_arch = "x86_64")]
    {
        // Not the register set, which has another layout for a 32-bit task.
        request(libc::PTRACE_GETREGS as c_int, tid, 0, words.as_mut_ptr() as usize).map(drop)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut vector = libc::iovec {
            iov_base: words.as_mut_ptr().cast(),
            iov_len: size_of_val(words),
        };
        request(
            libc::PTRACE_GETREGSET as c_int,
            tid,
            NT_PRSTATUS,
            &raw mut vector as usize,
        )
        .map(drop)
    }
}

/// Writes general registers.
pub(super) fn set_registers(tid: Tid, words: &[u64]) -> io::Result<()> {
    #[cfg(target_arch = "x86_64")]
    {
        request(libc::PTRACE_SETREGS as c_int, tid, 0, words.as_ptr() as usize).map(drop)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut vector = libc::iovec {
            iov_base: words.as_ptr().cast_mut().cast(),
            iov_len: size_of_val(words),
        };
        request(
            libc::PTRACE_SETREGSET as c_int,
            tid,
            NT_PRSTATUS,
            &raw mut vector as usize,
        )
        .map(drop)
    }
}

#[cfg(not(target_arch = "x86_64"))]
const NT_PRSTATUS: usize = 1;

/// Waits for a report of one task, or of any; `None` if no task is left.
///
/// A signal that this process handles ends the wait with [`io::ErrorKind::Interrupted`].
pub(super) fn wait(tid: Option<Tid>) -> io::Result<Option<(Tid, Report)>> {
    reported(tid.unwrap_or(-1), 0)
}

/// Returns a report of any task as [`wait`] does; [`io::ErrorKind::WouldBlock`] if none has
/// arrived.
pub(super) fn look() -> io::Result<Option<(Tid, Report)>> {
    reported(-1, libc::WNOHANG)
}

fn reported(tid: Tid, options: c_int) -> io::Result<Option<(Tid, Report)>> {
    let mut status = 0;
    // SAFETY: The status is written to a local variable.
    let found = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | options) };
    match found {
        -1 => {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ECHILD) => Ok(None),
                _ => Err(error),
            }
        }
        0 => Err(io::ErrorKind::WouldBlock.into()),
        tid => Ok(Some((tid, decode(status)))),
    }
}

fn decode(status: c_int) -> Report {
    if libc::WIFEXITED(status) {
        return Report::Exited(libc::WEXITSTATUS(status));
    }
    if libc::WIFSIGNALED(status) {
        return Report::Killed(libc::WTERMSIG(status));
    }
    let signal = libc::WSTOPSIG(status);
    Report::Stopped(match status >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => Stop::SystemCall,
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => Stop::Child,
        libc::PTRACE_EVENT_EXEC => Stop::Exec,
        libc::PTRACE_EVENT_EXIT => Stop::Exit,
        PTRACE_EVENT_STOP if signal != libc::SIGTRAP => Stop::Group,
        _ => Stop::Trap,
    })
}

/// Gives this process the file of descriptor `fd` of a stopped task.
pub(super) fn take_descriptor(process: Tid, tid: Tid, fd: c_int) -> io::Result<OwnedFd> {
    let handle = pidfd_open(tid, PIDFD_THREAD).or_else(|_| pidfd_open(process, 0))?;
    // SAFETY: Passes only numbers; the result is a new descriptor of this process.
    unsafe { descriptor(libc::syscall(libc::SYS_pidfd_getfd, handle.as_raw_fd(), fd, 0)) }
}

fn pidfd_open(tid: Tid, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: As above.
    unsafe { descriptor(libc::syscall(libc::SYS_pidfd_open, tid, flags)) }
}

/// Takes ownership of a new descriptor, or returns the error.
///
/// # Safety
///
/// `result` is the result of a system call that makes a new descriptor.
unsafe fn descriptor(result: c_long) -> io::Result<OwnedFd> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The descriptor is new, so it has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(result as c_int) })
}

/// Forks a child that waits for a byte from the pipe `go` and then runs the command. If it cannot,
/// it writes the number of the error to `failure`.
///
/// Must be called while the process has one thread only.
pub(super) fn fork_command(
    command: &[CString],
    go: [BorrowedFd<'_>; 2],
    failure: BorrowedFd<'_>,
) -> io::Result<Tid> {
    let mut arguments: Vec<*const libc::c_char> = command.iter().map(|word| word.as_ptr()).collect();
    arguments.push(std::ptr::null());
    // SAFETY: The child only calls functions that are safe after fork: its memory is a copy of a
    // process with a single thread, and it ends in exec or _exit.
    unsafe {
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let mut byte = 0u8;
                // Otherwise the pipe would never end for the child if the parent exits.
                libc::close(go[1].as_raw_fd());
                if libc::read(go[0].as_raw_fd(), (&raw mut byte).cast::<c_void>(), 1) == 1 {
                    // std ignores SIGPIPE; a program expects the default action.
                    libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                    libc::execvp(arguments[0], arguments.as_ptr());
                    let number = *libc::__errno_location();
                    libc::write(
                        failure.as_raw_fd(),
                        (&raw const number).cast::<c_void>(),
                        size_of::<c_int>(),
                    );
                }
                libc::_exit(127)
            }
            child => Ok(child),
        }
    }
}

/// Returns the error with the number that the child has written.
pub(super) fn error_from(number: &[u8]) -> Option<io::Error> {
    Some(io::Error::from_raw_os_error(c_int::from_ne_bytes(
        number.try_into().ok()?,
    )))
}

/// Converts a word of a command to a C string.
pub(super) fn c_string(word: &std::ffi::OsStr) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(word.as_bytes()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "a word of the command holds a NUL byte",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(event: c_int, signal: c_int) -> Report {
        decode(event << 16 | signal << 8 | 0x7f)
    }

    #[test]
    fn statuses_are_told_apart() {
        assert_eq!(decode(3 << 8), Report::Exited(3));
        assert_eq!(decode(libc::SIGKILL), Report::Killed(libc::SIGKILL));
        assert_eq!(
            stopped(0, libc::SIGTRAP | 0x80),
            Report::Stopped(Stop::SystemCall)
        );
        assert_eq!(
            stopped(0, libc::SIGTRAP),
            Report::Stopped(Stop::Signal(libc::SIGTRAP))
        );
        assert_eq!(
            stopped(PTRACE_EVENT_STOP, libc::SIGTRAP),
            Report::Stopped(Stop::Trap)
        );
        assert_eq!(
            stopped(PTRACE_EVENT_STOP, libc::SIGTSTP),
            Report::Stopped(Stop::Group)
        );
        assert_eq!(
            stopped(libc::PTRACE_EVENT_VFORK, libc::SIGTRAP),
            Report::Stopped(Stop::Child)
        );
        assert_eq!(
            stopped(libc::PTRACE_EVENT_EXIT, libc::SIGTRAP),
            Report::Stopped(Stop::Exit)
        );
    }
}
