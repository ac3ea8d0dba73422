// SPDX-License-Identifier: GPL-2.0
//! Injection into real tasks, without KCOV: the tests hand an ordinary file over, with which a
//! start must fail.
//!
//! The tests run one at a time: a process has only one queue of reports, which also contains the
//! ends of its children.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};
use tempfile::TempDir;

use super::inject::{self, Failure};
use super::ptrace::{self, Report, Stop, Tid};
use super::registers::Registers;
use super::{handover, start};

const ENABLE: handover::Enable = handover::Enable {
    command: kcov::abi::ENABLE as u64,
    argument: 0,
};

pub(super) static QUEUE: Mutex<()> = Mutex::new(());

#[derive(Debug, Default)]
struct Seen {
    status: Option<Report>,
    /// The number of tasks that received the file and reported that it is not KCOV's.
    handed_over: usize,
    failures: Vec<String>,
}

/// Runs the command, and hands a file to every task at its first stop.
fn run(command: &[OsString]) -> Seen {
    let file = memfd_create("not KCOV", MemfdFlags::CLOEXEC).unwrap();
    let (first, mut failure) = start(command).unwrap();
    let mut seen = Seen::default();
    let mut known: HashSet<Tid> = HashSet::new();
    let mut pending = Vec::new();
    while let Some((tid, report)) = pending.pop().or_else(|| ptrace::wait(None).unwrap()) {
        let Report::Stopped(stop) = report else {
            if tid == first {
                seen.status = Some(report);
            }
            continue;
        };
        let fresh = tid != first && !known.contains(&tid);
        let result = match stop {
            Stop::Exec if tid == first && known.insert(tid) => {
                inject::finish_exec(tid).and_then(|()| hand_over(tid, &file, true))
            }
            Stop::Trap | Stop::Group if fresh && known.insert(tid) => hand_over(tid, &file, false),
            _ => Ok(()),
        };
        match result {
            Ok(()) => {}
            Err(Failure::System(error)) if error.raw_os_error() == Some(libc::ENOTTY) => {
                seen.handed_over += 1
            }
            Err(Failure::System(error)) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(Failure::System(error)) => seen.failures.push(error.to_string()),
            Err(Failure::Gone(report)) => {
                pending.push((tid, report));
                continue;
            }
        }
        let signal = if let Stop::Signal(number) = stop {
            number
        } else {
            0
        };
        let done = match stop {
            // The same as in the tracer.
            Stop::Group if fresh => ptrace::interrupt(tid).and_then(|()| ptrace::go_on(tid, 0)),
            Stop::Group => ptrace::stay_stopped(tid),
            _ => ptrace::go_on(tid, signal),
        };
        if let Err(error) = done {
            assert_eq!(error.raw_os_error(), Some(libc::ESRCH), "{tid} {stop:?}");
        }
    }
    let mut number = Vec::new();
    failure.read_to_end(&mut number).unwrap();
    assert!(number.is_empty(), "the command did not run");
    seen
}

/// Hands the file over, and checks that the task's state is the same as before.
fn hand_over(tid: Tid, file: &OwnedFd, alone: bool) -> Result<(), Failure> {
    let state = || {
        let registers = Registers::of(tid)?;
        let code = ptrace::peek(tid, registers.instruction_pointer())?;
        let stack = ptrace::peek(tid, registers.stack_pointer() - 256)?;
        io::Result::Ok(format!(
            "{registers:x?} {code:x} {stack:x} {:x}",
            ptrace::signal_mask(tid)?
        ))
    };
    let before = state()?;
    let result = handover::start(tid, file, ENABLE, alone);
    let killed = match &result {
        Err(Failure::Gone(_)) => true,
        Err(Failure::System(error)) => error.raw_os_error() == Some(libc::ESRCH),
        Ok(()) => false,
    };
    // A task that was killed may be at its exit stop by now, with the registers that the kill has
    // left.
    if !killed {
        assert_eq!(state()?, before);
    }
    result
}

/// Returns a folder for programs that are run. It is next to this program, because the folder for
/// temporary files may be mounted noexec.
pub(super) fn folder() -> TempDir {
    let program = std::env::current_exe().unwrap();
    tempfile::tempdir_in(program.parent().unwrap()).unwrap()
}

/// Returns whether a seccomp filter prevents tasks from running the tracer's calls, and prints
/// that. Tasks inherit the filter from this process.
fn filtered() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let filtered = !status
        .lines()
        .any(|line| line.split_whitespace().eq(["Seccomp:", "0"]));
    if filtered {
        eprintln!("skipped: a seccomp filter is in force, as in most containers");
    }
    filtered
}

pub(super) fn compiled(folder: &Path, name: &str, source: &str, options: &[&str]) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixture")
        .join(source);
    let program = folder.join(name);
    let status = Command::new("gcc")
        .args(["-O1", "-static", "-pthread"])
        .args(options)
        .arg("-o")
        .args([&program, &source])
        .stderr(Stdio::null())
        .status()
        .expect("gcc is installed");
    status.success().then_some(program)
}

#[test]
fn tasks_are_left_as_they_were() {
    if filtered() {
        return;
    }
    let _alone = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    let mut programs = vec![compiled(folder.path(), "tasks", "tasks.c", &[]).expect("tasks.c compiles")];
    match compiled(folder.path(), "tasks32", "tasks.c", &["-m32"]) {
        Some(program) => programs.push(program),
        None => eprintln!("no 32-bit C library was found: 32-bit tasks are not tested"),
    }
    for program in programs {
        let alone = Command::new(&program).output().unwrap();
        let files = String::from_utf8(alone.stdout).unwrap().trim().to_owned();
        let command = [program.clone().into(), "first".into(), files.into()];
        for _ in 0..3 {
            let seen = run(&command);
            assert_eq!(
                seen.status,
                Some(Report::Exited(0)),
                "{}: {seen:?}",
                program.display()
            );
            // At least the first task, 8 threads, 3 children and 50 tasks made by the alarm; tasks
            // that are killed at birth may be missed.
            assert!(seen.handed_over >= 1 + 8 + 3 + 50, "{seen:?}");
            assert!(seen.failures.is_empty(), "{seen:?}");
        }
    }
}

#[test]
fn threads_made_during_a_stop_are_stopped_and_go_on() {
    if filtered() {
        return;
    }
    let _alone = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    let program = compiled(folder.path(), "stops", "stops.c", &[]).expect("stops.c compiles");
    let seen = run(&[program.into()]);
    assert_eq!(seen.status, Some(Report::Exited(0)), "{seen:?}");
    assert!(seen.failures.is_empty(), "{seen:?}");
    // The first task, the child that sends the signals, and two threads for each of its 200 pairs.
    assert!(seen.handed_over >= 2 + 2 * 200, "{seen:?}");
}
