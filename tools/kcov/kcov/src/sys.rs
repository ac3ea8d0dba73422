// SPDX-License-Identifier: GPL-2.0
//! The ioctls.
#![expect(unsafe_code, reason = "issues ioctls")]

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Setter, ioctl};

use crate::abi::{self, RemoteArg};

pub(crate) fn init_trace(fd: BorrowedFd<'_>, words: usize) -> Result<(), Errno> {
    // SAFETY: The argument is a number; the kernel does not access memory of this program.
    unsafe { ioctl(fd, IntegerSetter::<{ abi::INIT_TRACE }>::new_usize(words)) }
}

pub(crate) fn enable(fd: BorrowedFd<'_>, mode: usize) -> Result<(), Errno> {
    // SAFETY: As above. From now on the kernel writes to the buffer, which is its own memory.
    unsafe { ioctl(fd, IntegerSetter::<{ abi::ENABLE }>::new_usize(mode)) }
}

pub(crate) fn unique_enable(fd: BorrowedFd<'_>, set: usize) -> Result<(), Errno> {
    // SAFETY: As above.
    unsafe { ioctl(fd, IntegerSetter::<{ abi::UNIQUE_ENABLE }>::new_usize(set)) }
}

pub(crate) fn pc_cmp_enable(fd: BorrowedFd<'_>, pcs: usize) -> Result<(), Errno> {
    // SAFETY: As above.
    unsafe { ioctl(fd, IntegerSetter::<{ abi::PC_CMP_ENABLE }>::new_usize(pcs)) }
}

pub(crate) fn edge_enable(fd: BorrowedFd<'_>, table: usize) -> Result<(), Errno> {
    // SAFETY: As above.
    unsafe { ioctl(fd, IntegerSetter::<{ abi::EDGE_ENABLE }>::new_usize(table)) }
}

pub(crate) fn reset_trace(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: The argument is a number.
    unsafe { ioctl(fd, IntegerSetter::<{ abi::RESET_TRACE }>::new_usize(0)) }
}

pub(crate) fn disable(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: The argument is a number.
    unsafe { ioctl(fd, IntegerSetter::<{ abi::DISABLE }>::new_usize(0)) }
}

pub(crate) fn remote_enable(fd: BorrowedFd<'_>, arg: &RemoteArg) -> Result<(), Errno> {
    // SAFETY: The kernel reads the header and the handles that it counts, and `RemoteArg` holds all
    // of them.
    unsafe { ioctl(fd, Setter::<{ abi::REMOTE_ENABLE }, RemoteArg>::new(*arg)) }
}
