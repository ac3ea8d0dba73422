// SPDX-License-Identifier: GPL-2.0
//! The kinds of steps, and how often each had which result.

use std::sync::atomic::Ordering;

use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Init,
    Map,
    Enable,
    RemoteEnable,
    Disable,
    DisableAny,
    Probe,
    Section,
    Work,
    CommonHandle,
    Unique,
    PcCmp,
    Reset,
    Unknown,
    File,
    Fdinfo,
    Statistics,
    Duplicate,
    Close,
    Unmap,
    Protect,
    Remap,
    Fork,
    Spawn,
    Take,
    Exit,
    Kill,
    Execute,
}

/// The kinds, each with how often it is chosen and the name of the call.
pub(super) const KINDS: [(Kind, u16, &str); 29] = [
    (Kind::Open, 60, "open"),
    (Kind::Init, 90, "KCOV_INIT_TRACE"),
    (Kind::Map, 90, "mmap"),
    (Kind::Enable, 120, "KCOV_ENABLE"),
    (Kind::RemoteEnable, 140, "KCOV_REMOTE_ENABLE"),
    (Kind::Disable, 120, "KCOV_DISABLE"),
    (Kind::DisableAny, 40, "KCOV_DISABLE_ANY"),
    (Kind::Probe, 140, "getpriority"),
    (Kind::Section, 120, "section"),
    (Kind::Work, 40, "work"),
    (Kind::CommonHandle, 30, "common handle"),
    (Kind::Unique, 60, "KCOV_UNIQUE_ENABLE"),
    (Kind::PcCmp, 60, "KCOV_PC_CMP_ENABLE"),
    (Kind::Reset, 60, "KCOV_RESET_TRACE"),
    (Kind::Unknown, 20, "unknown command"),
    (Kind::File, 20, "read, write, lseek"),
    (Kind::Fdinfo, 50, "fdinfo"),
    (Kind::Statistics, 30, "statistics"),
    (Kind::Duplicate, 20, "dup"),
    (Kind::Close, 60, "close"),
    (Kind::Unmap, 40, "munmap"),
    (Kind::Protect, 15, "mprotect"),
    (Kind::Remap, 10, "mremap"),
    (Kind::Fork, 3, "fork"),
    (Kind::Spawn, 6, "thread"),
    (Kind::Take, 12, "pidfd_getfd"),
    (Kind::Exit, 6, "exit"),
    (Kind::Kill, 2, "kill"),
    (Kind::Execute, 3, "execve"),
];

/// The sum of the weights: the first number of a step is less.
pub(crate) const WEIGHTS: u16 = {
    let (mut sum, mut index) = (0, 0);
    while index < KINDS.len() {
        sum += KINDS[index].1;
        index += 1;
    }
    sum
};

/// The results that are counted; the last one stands for all others.
pub(super) const RESULTS: [i32; 11] = [
    0,
    libc::EINVAL,
    libc::EBUSY,
    libc::ENOMEM,
    libc::EFAULT,
    libc::EEXIST,
    libc::EACCES,
    libc::ENOTTY,
    libc::ESPIPE,
    crate::model::ENOTSUPP,
    -1,
];

const _: () = assert!(KINDS.len() * RESULTS.len() <= sys::COUNTERS);

/// Returns how often each call had each result.
pub(crate) fn counts() -> impl Iterator<Item = (Kind, &'static str, i32, u64)> {
    KINDS.into_iter().enumerate().flat_map(|(row, (kind, _, name))| {
        RESULTS.into_iter().enumerate().map(move |(column, result)| {
            let count = sys::report().counters[row * RESULTS.len() + column].load(Ordering::Relaxed);
            (kind, name, result, count)
        })
    })
}

pub(crate) fn errno_name(errno: i32) -> String {
    let name = match errno {
        0 => "success",
        libc::EINVAL => "EINVAL",
        libc::EBUSY => "EBUSY",
        libc::ENOMEM => "ENOMEM",
        libc::EFAULT => "EFAULT",
        libc::EEXIST => "EEXIST",
        libc::EACCES => "EACCES",
        libc::ENOTTY => "ENOTTY",
        libc::ESPIPE => "ESPIPE",
        crate::model::ENOTSUPP => "ENOTSUPP",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}
