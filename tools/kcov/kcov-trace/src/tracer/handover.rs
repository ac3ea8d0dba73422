// SPDX-License-Identifier: GPL-2.0
//! Starts collection on a stopped task, with a descriptor that the tracer has opened, sized and mapped.
//!
//! Only the task itself can start its collection, and for that it has to have the descriptor. It may neither see
//! debugfs nor be allowed to open the file, so the tracer sends it: the task makes a pair of sockets, the tracer
//! takes one of them with `pidfd_getfd` and sends the descriptor through it. The task receives it, starts the
//! collection and closes all three; collection goes on without them, and across `execve`.

use std::ffi::c_int;
use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Resource, Rlimit};

use super::inject::{Failure, Injection, SCRATCH};
use super::ptrace::{self, Tid};

// Where the arguments stand in the scratch.
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

/// Lets the task collect into the descriptor's buffer. It is `alone` if no other task runs in its memory.
pub(super) fn start(tid: Tid, kcov: impl AsFd, enable: Enable, alone: bool) -> Result<(), Failure> {
    let status = Status::of(tid)?;
    let suspended = status.filtered;
    if suspended && ptrace::set_options(tid, ptrace::OPTIONS | ptrace::SUSPEND_SECCOMP).is_err() {
        return Err(Failure::System(io::Error::other(
            "a seccomp filter is in force, and the kernel was built without CONFIG_CHECKPOINT_RESTORE, which would suspend it",
        )));
    }
    let mut injection = Injection::begin(tid, status.process, alone)?;
    let mut result = hand_over(&mut injection, tid, status.process, kcov.as_fd(), enable);
    if matches!(&result, Err(Failure::System(error)) if error.raw_os_error() == Some(libc::EMFILE)) {
        let limit = raise_limit(status.process)?;
        result = hand_over(&mut injection, tid, status.process, kcov.as_fd(), enable);
        prlimit(status.process, limit)?;
    }
    // A task that is gone has nothing to be put back.
    if !matches!(result, Err(Failure::Gone(_))) {
        injection.end()?;
        if suspended {
            ptrace::set_options(tid, ptrace::OPTIONS)?;
        }
    }
    result
}

/// Lets the task have three more descriptors than it may; gives the limit to be set again.
fn raise_limit(process: Tid) -> io::Result<Rlimit> {
    let used = fs::read_dir(format!("/proc/{process}/fd"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok())
        .max();
    let enough = Some(used.unwrap_or(0) + 8);
    prlimit(
        process,
        Rlimit {
            current: enough,
            maximum: enough,
        },
    )
}

fn prlimit(process: Tid, limit: Rlimit) -> io::Result<Rlimit> {
    let pid = Pid::from_raw(process).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::prlimit(Some(pid), Resource::Nofile, limit)?)
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
    let (pair_at, message_at) = (at(PAIR), at(MESSAGE));
    let flags = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64;
    injection.call(calls.socketpair, [libc::AF_UNIX as u64, flags, 0, pair_at])?;
    let pair = injection.read(PAIR)?;
    let ends = [&pair[..4], &pair[4..]].map(|end| end.try_into().map_or(-1, c_int::from_ne_bytes));

    let received = send(&ptrace::take_descriptor(process, tid, ends[0])?, kcov)
        .map_err(Failure::from)
        .and_then(|()| {
            injection.write(0, &message(injection.scratch_at(), calls.narrow))?;
            injection.call(
                calls.recvmsg,
                [ends[1] as u64, message_at, libc::MSG_CMSG_CLOEXEC as u64, 0],
            )?;
            // Behind the control message's head.
            let head = if calls.narrow { 12 } else { 16 };
            let word = injection.read(CONTROL + head / 8 * 8)?;
            let number = &word[head % 8..][..4];
            Ok(number.try_into().map_or(-1, c_int::from_ne_bytes))
        });
    // The sockets go whether or not that worked.
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

/// `struct msghdr` and `struct iovec` for one byte and one descriptor, as they stand in the scratch.
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
    bytes
}

/// What `/proc` tells of a task.
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
        let narrow = message(0x1000, true);
        let word = |offset: usize| u32::from_ne_bytes(narrow[offset..][..4].try_into().unwrap());
        assert_eq!((word(8), word(12), word(16), word(20)), (0x1040, 1, 0x1060, 16));
        assert_eq!((word(VECTOR), word(VECTOR + 4)), (0x1050, 1));
    }
}
