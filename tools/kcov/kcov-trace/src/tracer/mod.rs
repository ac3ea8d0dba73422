// SPDX-License-Identifier: GPL-2.0
//! Runs a command and collects the coverage of every thread and child that it makes.
//!
//! The command is not changed and need not cooperate. It runs under `ptrace`, which stops every
//! task when it is made, when it runs another program and when it exits. The tracer makes a new
//! task start its own collection at its first stop (see `handover`), because children do not
//! inherit a collection. The tracer maps each task's buffer and empties it when the task exits, or
//! at an earlier stop if the buffer is half full. After the exit, another task uses the descriptor.
//!
//! Tasks made with `CLONE_UNTRACED`, and tasks that another program traces, are not traced.

mod buffer;
#[cfg(test)]
mod calls_test;
#[cfg(test)]
mod following;
mod handover;
mod inject;
mod ptrace;
mod registers;
mod release;
#[cfg(test)]
mod tests;
mod traced;

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use kcov::Kcov;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::recording::Task;
use crate::signals::{self, Catching, Children};
use buffer::Layout;
use inject::Failure;
use ptrace::{Report, Stop, Tid};
use traced::Traced;

/// The kind of records to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// PCs, in order.
    Pcs,
    /// Each PC once per task.
    UniquePcs,
    /// Comparisons, in order.
    Comparisons,
    /// Each edge once per task.
    Edges,
}

/// The options of a collection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The kind of records to collect. Default: PCs.
    pub mode: Mode,
    /// The size of each task's buffer in words, without the set, and with the table of edges.
    /// Default: 256 Ki.
    pub words: usize,
    /// Stop every task at each system call and empty its buffer, so that only a single system call
    /// can fill it. Default: no.
    pub each_system_call: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Pcs,
            words: 256 << 10,
            each_system_call: false,
        }
    }
}

/// The end of the command, and the records of its tasks.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status in the form of a shell: the command's own, or 128 plus the number of the
    /// signal that ended it.
    pub status: i32,
    /// The tasks, in ascending order of thread ids.
    pub tasks: Vec<Task>,
}

/// The reason why nothing was traced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// KCOV cannot be used.
    #[error(transparent)]
    Kcov(#[from] kcov::Error),
    /// The command could not be run.
    #[error("{} cannot be run: {cause}", Path::new(.command).display())]
    Command {
        /// Its first word.
        command: OsString,
        /// The error of the system.
        cause: io::Error,
    },
    /// Tracing failed.
    #[error("the command cannot be traced; end any other tracer of this program, and allow ptrace")]
    Trace(#[from] io::Error),
}

/// Runs the command until all its tasks have ended.
///
/// Must be called while the process has one thread only.
///
/// # Errors
///
/// [`Error`]: KCOV cannot be used, the command cannot be run, or tracing failed.
pub fn run(command: &[OsString], options: &Options) -> Result<Outcome, Error> {
    let layout = Layout::of(options)?;
    let mut tracer = Tracer {
        options: options.clone(),
        layout,
        // Makes the first descriptor before anything runs, so that an unusable KCOV is detected
        // here.
        pool: vec![layout.usable()?],
        tasks: HashMap::new(),
        parents: HashMap::new(),
        finished: Vec::new(),
        pending: VecDeque::new(),
    };
    let (first, mut failure) = start(command)?;
    tracer.tasks.insert(first, Traced::new(&tracer.options));
    let catching = Catching::start();
    let status = tracer.follow(first)?;
    drop(catching);
    let mut number = Vec::new();
    failure.read_to_end(&mut number)?;
    if let Some(cause) = ptrace::error_from(&number) {
        return Err(Error::Command {
            command: command[0].clone(),
            cause,
        });
    }
    tracer.finished.sort_by_key(|task| task.tid);
    Ok(Outcome {
        status,
        tasks: tracer.finished,
    })
}

/// Makes the child and seizes it before it runs the command. The pipe reports a failing exec.
fn start(command: &[OsString]) -> Result<(Tid, fs::File), Error> {
    let words = command
        .iter()
        .map(|word| ptrace::c_string(word))
        .collect::<io::Result<Vec<_>>>()?;
    let (go_read, go_write) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let (failure_read, failure_write) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let child = ptrace::fork_command(&words, [go_read.as_fd(), go_write.as_fd()], failure_write.as_fd())?;
    drop(go_read);
    let mut go = fs::File::from(go_write);
    // If this fails, the pipe closes and the child exits.
    ptrace::seize(child)?;
    go.write_all(&[0])?;
    Ok((child, fs::File::from(failure_read)))
}

#[derive(Debug)]
struct Tracer {
    options: Options,
    /// The layout of all buffers.
    layout: Layout,
    /// Descriptors with buffers that no task uses.
    pool: Vec<Kcov>,
    tasks: HashMap<Tid, Traced>,
    /// The parents that were reported before the child appeared.
    parents: HashMap<Tid, Tid>,
    finished: Vec<Task>,
    /// Reports that arrived while a task was being started.
    pending: VecDeque<(Tid, Report)>,
}

impl Tracer {
    /// Handles reports until no task is left; returns the status of the first task.
    fn follow(&mut self, first: Tid) -> io::Result<i32> {
        let mut status = None;
        let children = Children::start();
        loop {
            while let Some(signal) = signals::take_caught() {
                match status {
                    None => signal.pass_on(first),
                    Some(status) => {
                        self.release()?;
                        return Ok(status);
                    }
                }
            }
            let Some(next) = self.next_report(&children) else {
                continue;
            };
            match next? {
                None => break,
                Some((tid, Report::Stopped(stop))) => self.stopped(tid, stop)?,
                Some((tid, Report::Exited(code))) => {
                    self.finish(tid);
                    if tid == first {
                        status = status.or_else(|| self.command_ended(code));
                    }
                }
                Some((tid, Report::Killed(signal))) => {
                    self.finish(tid);
                    if tid == first {
                        status = status.or_else(|| self.command_ended(128 + signal));
                    }
                }
            }
        }
        Ok(status.unwrap_or(1))
    }

    /// Returns the next report; `None` if none has arrived, or if a signal was caught.
    fn next_report(&mut self, children: &Children) -> Option<io::Result<Option<(Tid, Report)>>> {
        let look = || match ptrace::look() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            other => Some(other),
        };
        match self.pending.pop_front() {
            Some(report) => Some(Ok(Some(report))),
            // The first look is made without blocking signals: usually a report is waiting.
            None => look().or_else(|| children.wait(look)),
        }
    }

    /// Returns the command's status, and prints a message if tasks are left.
    fn command_ended(&self, status: i32) -> Option<i32> {
        if !self.tasks.is_empty() {
            // If standard error is closed, the message cannot be printed.
            let _ = writeln!(
                io::stderr(),
                "kcov-trace: the command has ended, {} of its tasks still run and are traced; Ctrl-C ends that",
                self.tasks.len()
            );
        }
        Some(status)
    }

    fn stopped(&mut self, tid: Tid, stop: Stop) -> io::Result<()> {
        let mut stop = stop;
        if !self.tasks.contains_key(&tid) {
            let mut task = Traced::new(&self.options);
            task.parent = self.parents.remove(&tid).unwrap_or(0);
            task.update_name(tid);
            self.tasks.insert(tid, task);
            if matches!(stop, Stop::Trap | Stop::Group)
                && self.start_collection(tid, false) == After::Reported
            {
                return Ok(());
            }
            if stop == Stop::Group {
                // The task has left the stop for the tracer's calls: it reports the stop again
                // before it runs its own code.
                tolerate_exit(ptrace::interrupt(tid))?;
                stop = Stop::Trap;
            }
        }
        let mut signal = 0;
        let mut from = self.layout.half();
        let mut exiting = false;
        match stop {
            Stop::Group => return tolerate_exit(ptrace::stay_stopped(tid)),
            Stop::Trap => {}
            Stop::Child => {
                if let Ok(child) = ptrace::event_message(tid) {
                    match self.tasks.get_mut(&child) {
                        Some(task) => task.parent = tid,
                        None => drop(self.parents.insert(child, tid)),
                    }
                }
            }
            Stop::Exec => {
                if self.executed(tid) == After::Reported {
                    return Ok(());
                }
            }
            Stop::Exit => {
                from = 0;
                exiting = true;
            }
            Stop::SystemCall => from = 1,
            Stop::Signal(number) => signal = number,
        }
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.empty_buffer_at_stop(tid, from, self.layout);
            task.exiting = exiting;
            if stop == Stop::SystemCall {
                // A task that was killed does not answer.
                let end = ptrace::end_of_system_call(tid).unwrap_or(ptrace::End::Neither);
                task.note_call(end);
            }
            if exiting {
                task.update_name(tid);
            }
        }
        tolerate_exit(if self.options.each_system_call {
            ptrace::go_on_to_system_call(tid, signal)
        } else {
            ptrace::go_on(tid, signal)
        })
    }

    /// Renames a task that runs another program: it has the id of its process now, whichever thread
    /// it was, and another name.
    fn rename(&mut self, tid: Tid) {
        let former = ptrace::event_message(tid).unwrap_or(tid);
        if former != tid {
            if let Some(mut task) = self.tasks.remove(&former) {
                // The collection of this task goes on; the collection of the first thread has ended
                // with that thread.
                if let Some(first) = self.tasks.get(&tid) {
                    task.parent = first.parent;
                }
                self.finish(tid);
                self.tasks.insert(tid, task);
            }
        }
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.update_name(tid);
        }
    }

    /// Handles a task that runs another program; the first task starts its collection then.
    fn executed(&mut self, tid: Tid) -> After {
        self.rename(tid);
        match self.tasks.get(&tid) {
            Some(task) if !task.started => match inject::finish_exec(tid) {
                Ok(()) => self.start_collection(tid, true),
                Err(failure) => self.failed(tid, failure),
            },
            _ => After::Stopped,
        }
    }

    fn start_collection(&mut self, tid: Tid, alone: bool) -> After {
        let kcov = match self.pool.pop() {
            Some(kcov) => Ok(kcov),
            None => self.layout.buffer(),
        };
        let Some(task) = self.tasks.get_mut(&tid) else {
            return After::Stopped;
        };
        task.started = true;
        let mut kcov = match kcov {
            Ok(kcov) => kcov,
            Err(error) => {
                task.problem = Some(error.to_string());
                return After::Stopped;
            }
        };
        match handover::start(tid, &kcov, self.layout.enable(), alone) {
            Ok(()) => {
                // Discards the records of the tracer's own system calls.
                self.layout.reset(&mut kcov);
                task.kcov = Some(kcov);
                After::Stopped
            }
            // The descriptor is not used again, because its state is not known.
            Err(failure) => self.failed(tid, failure),
        }
    }

    fn failed(&mut self, tid: Tid, failure: Failure) -> After {
        match failure {
            Failure::Gone(report) => {
                self.pending.push_back((tid, report));
                After::Reported
            }
            // The task was killed; its end is reported later.
            Failure::System(error) if error.raw_os_error() == Some(libc::ESRCH) => After::Stopped,
            Failure::System(error) => {
                if let Some(task) = self.tasks.get_mut(&tid) {
                    task.problem = Some(error.to_string());
                }
                After::Stopped
            }
        }
    }

    /// Handles the end of a task: its records are kept, and its descriptor becomes available to
    /// another task.
    fn finish(&mut self, tid: Tid) {
        let Some(mut task) = self.tasks.remove(&tid) else {
            return;
        };
        task.empty_buffer(0, self.layout);
        task.note_call(ptrace::End::Neither);
        if let Some(mut kcov) = task.kcov.take() {
            self.layout.reset(&mut kcov);
            self.pool.push(kcov);
        }
        // This is the child that never ran the command, or a task that was killed at birth.
        if !task.started {
            return;
        }
        self.finished.push(Task {
            tid: tid as u32,
            parent: task.parent as u32,
            name: task.name,
            overflowed: task.overflowed,
            unique: matches!(self.options.mode, Mode::UniquePcs | Mode::Edges),
            problem: task.problem,
            records: task.records,
            gaps: task.gaps,
            calls: task.calls,
            ..Task::default()
        });
    }
}

/// The state of a task after it was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// It is stopped and waits to be continued.
    Stopped,
    /// It has reported something else, which is handled later.
    Reported,
}

/// Ignores the error of a task that is killed while it is stopped; its end is reported.
fn tolerate_exit(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}
