// SPDX-License-Identifier: GPL-2.0
//! Starts collection on a stopped task, with a descriptor that the tracer has opened, sized and
//! mapped.
//!
//! Only the task itself can start its collection, and for that it needs the descriptor. The task
//! may not be able to see debugfs or be allowed to open the file, so the tracer sends the
//! descriptor: the task makes a pair of sockets, and the tracer takes one of them with
//! `pidfd_getfd` and sends the descriptor through it. The task receives the descriptor, starts the
//! collection and closes all three. The collection continues without them, even across `execve`.

use std::ffi::c_int;
use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Resource, Rlimit};

use super::inject::{Failure, Injection, SCRATCH};
use super::ptrace::{self, Tid};

// The offsets of the arguments in the scratch memory.
const MESSAGE: usize = 0;
const VECTOR: usize = 64;
const DATA: usize = 80;
const CONTROL: usize = 96;
const PAIR: usize = 128;
const _: () = assert!(PAIR + 8 <= SCRATCH);

/// The call that starts a collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Enable {
    pub(super) command: u64,
    pub(super) argument: u64,
}

/// Makes the task collect into the descriptor's buffer. `alone` means that no other task runs in
/// its memory.
pub(super) fn start(tid: Tid, kcov: impl AsFd, enable: Enable, alone: bool) -> Result<(), Failure> {
    let status = Status::of(tid)?;
    if status.filtered {
        ptrace::set_options(tid, ptrace::OPTIONS | ptrace::SUSPEND_SECCOMP).map_err(filter_stays)?;
    }
    let result = inject(tid, status.process, kcov.as_fd(), enable, alone);
    // Restores the filter even if the start failed, or the task would continue without it. A task
    // that has exited needs nothing restored.
    if status.filtered && !matches!(result, Err(Failure::Gone(_))) {
        ptrace::set_options(tid, ptrace::OPTIONS)?;
    }
    result
}

/// Returns the reason why a seccomp filter could not be suspended.
fn filter_stays(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EINVAL) => io::Error::other(
            "a seccomp filter is in force, and the kernel was built without CONFIG_CHECKPOINT_RESTORE, which would suspend it",
        ),
        Some(libc::EPERM) => io::Error::other(
            "a seccomp filter is in force, and only a tracer with CAP_SYS_ADMIN that is under no filter itself may suspend it: run kcov-trace outside of the container or sandbox",
        ),
        _ => error,
    }
}

fn inject(tid: Tid, process: Tid, kcov: BorrowedFd<'_>, enable: Enable, alone: bool) -> Result<(), Failure> {
    let mut injection = Injection::begin(tid, alone)?;
    let mut result = hand_over(&mut injection, tid, process, kcov, enable);
    if matches!(&result, Err(Failure::System(error)) if error.raw_os_error() == Some(libc::EMFILE)) {
        result = with_more_files(process, || hand_over(&mut injection, tid, process, kcov, enable));
    }
    if !matches!(result, Err(Failure::Gone(_))) {
        injection.end()?;
    }
    result
}

/// Runs `work` while the task may have a few more descriptors than its limit allows.
fn with_more_files(process: Tid, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let limit = files_limit(process)?;
    let used = fs::read_dir(format!("/proc/{process}/fd"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok())
        .max();
    let enough = used.unwrap_or(0) + 8;
    prlimit(
        process,
        Rlimit {
            current: Some(enough),
            // The maximum is never lowered: only a privileged task could raise it again.
            maximum: limit.maximum.map(|maximum| maximum.max(enough)),
        },
    )?;
    let result = work();
    let restored = prlimit(process, limit);
    result.and_then(|()| Ok(restored?))
}

/// Returns the largest number of descriptors that a process may have.
fn files_limit(process: Tid) -> io::Result<Rlimit> {
    let text = fs::read_to_string(format!("/proc/{process}/limits"))?;
    limit_in(&text).ok_or_else(|| io::Error::other("/proc does not tell how many files the task may open"))
}

/// Returns the limit of open files from the text of a limits file.
fn limit_in(text: &str) -> Option<Rlimit> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut numbers = line.split_whitespace().map(|word| match word {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    });
    Some(Rlimit {
        current: numbers.next()??,
        maximum: numbers.next()??,
    })
}

fn prlimit(process: Tid, limit: Rlimit) -> io::Result<()> {
    let pid = Pid::from_raw(process).ok_or(io::ErrorKind::InvalidInput)?;
    rustix::process::prlimit(Some(pid), Resource::Nofile, limit)?;
    Ok(())
}

fn hand_over(
    injection: &mut Injection,
    tid: Tid,
    process: Tid,
    kcov: BorrowedFd<'_>,
    enable: Enable,
) -> Result<(), Failure> {
    let calls = injection.system_calls();
    let at = |offset: usize| injection.scratch_at() + offset as u64;
    let pair_at = at(PAIR);
    let flags = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64;
    injection.call(calls.socketpair, [libc::AF_UNIX as u64, flags, 0, pair_at])?;
    let pair = injection.read(PAIR)?;
    let ends = [&pair[..4], &pair[4..]].map(|end| end.try_into().map_or(-1, c_int::from_ne_bytes));

    let received = ptrace::take_descriptor(process, tid, ends[0])
        .and_then(|socket| send(&socket, kcov))
        .map_err(|error| Failure::System(of_ours(error)))
        .and_then(|()| receive(injection, ends[1]));
    if matches!(received, Err(Failure::Gone(_))) {
        return received.map(drop);
    }
    // Closes the sockets, whether or not the hand-over succeeded.
    for end in ends {
        injection.call(calls.close, [end as u64, 0, 0, 0])?;
    }
    let fd = received? as u64;
    let enabled = injection.call(calls.ioctl, [fd, enable.command, enable.argument, 0]);
    if !matches!(enabled, Err(Failure::Gone(_))) {
        injection.call(calls.close, [fd, 0, 0, 0])?;
    }
    enabled.map(drop)
}

/// Makes the task receive the descriptor from its end of the pair; returns its number in the task.
fn receive(injection: &mut Injection, end: c_int) -> Result<c_int, Failure> {
    let calls = injection.system_calls();
    let scratch_at = injection.scratch_at();
    injection.write(0, &message(scratch_at, calls.narrow))?;
    injection.call(
        calls.recvmsg,
        [
            end as u64,
            scratch_at + MESSAGE as u64,
            libc::MSG_CMSG_CLOEXEC as u64,
            0,
        ],
    )?;
    // If the task has reached its limit of descriptors, the byte comes without the descriptor.
    let length = injection.read(CONTROL)?;
    if length[..4] == [0; 4] {
        return Err(io::Error::from_raw_os_error(libc::EMFILE).into());
    }
    // The data follow the head of the control message.
    let head = if calls.narrow { 12 } else { 16 };
    let word = injection.read(CONTROL + head / 8 * 8)?;
    let number = &word[head % 8..][..4];
    Ok(number.try_into().map_or(-1, c_int::from_ne_bytes))
}

/// Marks an error of this program's own calls, so that it is not taken for the task's.
fn of_ours(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EMFILE) => io::Error::other(
            "kcov-trace has no file descriptor left, of which it needs one for each task: raise its limit with 'ulimit -n'",
        ),
        _ => error,
    }
}

fn send(socket: impl AsFd, kcov: BorrowedFd<'_>) -> io::Result<()> {
    let descriptors = [kcov];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("a control message has no room for a descriptor"));
    }
    sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Returns `struct msghdr` and `struct iovec` for one byte and one descriptor, as they are in the
/// scratch memory.
fn message(scratch_at: u64, narrow: bool) -> Vec<u8> {
    let at = |offset: usize| scratch_at + offset as u64;
    let number = |value: u64| {
        let bytes = value.to_ne_bytes();
        if narrow {
            bytes[..4].to_vec()
        } else {
            bytes.to_vec()
        }
    };
    let control_length = if narrow { 16 } else { 24 };
    // No name, one vector, the control message, no flags.
    let mut bytes: Vec<u8> = [0, 0, at(VECTOR), 1, at(CONTROL), control_length, 0]
        .into_iter()
        .flat_map(number)
        .collect();
    bytes.resize(VECTOR, 0);
    bytes.extend([at(DATA), 1].into_iter().flat_map(number));
    // The length tells whether a control message came.
    bytes.resize(PAIR, 0);
    bytes
}

/// The state of a task according to `/proc`.
struct Status {
    process: Tid,
    filtered: bool,
}

impl Status {
    fn of(tid: Tid) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{tid}/status")).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("/proc is not mounted or not readable: {error}"),
            )
        })?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        Ok(Self {
            process: field("Tgid:").unwrap_or(tid),
            filtered: field("Seccomp:").unwrap_or(0) != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_the_layout_of_the_c_structures() {
        let wide = message(0x1000, false);
        let pointer = |offset: usize| u64::from_ne_bytes(wide[offset..][..8].try_into().unwrap());
        assert_eq!(pointer(std::mem::offset_of!(libc::msghdr, msg_iov)), 0x1040);
        assert_eq!(pointer(std::mem::offset_of!(libc::msghdr, msg_control)), 0x1060);
        assert_eq!(pointer(std::mem::offset_of!(libc::msghdr, msg_controllen)), 24);
        assert_eq!(pointer(VECTOR), 0x1050);
        assert_eq!(pointer(CONTROL), 0);
        let narrow = message(0x1000, true);
        let word = |offset: usize| u32::from_ne_bytes(narrow[offset..][..4].try_into().unwrap());
        assert_eq!((word(8), word(12), word(16), word(20)), (0x1040, 1, 0x1060, 16));
        assert_eq!((word(VECTOR), word(VECTOR + 4)), (0x1050, 1));
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max file size             unlimited            unlimited            bytes     \n\
                    Max open files            1024                 unlimited            files     \n";
        let limit = limit_in(text).unwrap();
        assert_eq!((limit.current, limit.maximum), (Some(1024), None));
        assert!(limit_in("Max open files").is_none());
        let own = files_limit(std::process::id() as Tid).unwrap();
        assert_eq!(own, rustix::process::getrlimit(Resource::Nofile));
    }
}
