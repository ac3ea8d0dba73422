// SPDX-License-Identifier: GPL-2.0
//! Tests that follow real tasks and let them go, without KCOV. That nothing is collected is a
//! problem of each task.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use tempfile::TempDir;

use super::buffer::Layout;
use super::ptrace::{self, Report, Stop, Tid};
use super::tests::{QUEUE, compiled, folder};
use super::{Options, Traced, Tracer, start};
use crate::recording::Records;

/// A run of `goes-on.c` up to a requested stop.
struct Run {
    tracer: Tracer,
    first: Tid,
    /// The task that has reported the stop, which is handled next.
    stopped: Tid,
    _folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Run {
    /// Runs the part of the program that is called `what`, until `wanted` accepts a task and its
    /// stop.
    fn until(what: &str, wanted: impl Fn(Tid, Stop) -> bool) -> Self {
        let alone = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = folder();
        let program = compiled(folder.path(), "goes-on", "goes-on.c", &[]).expect("goes-on.c compiles");
        let (first, _) = start(&[program.into(), what.into()]).unwrap();
        let mut run = Self {
            tracer: Tracer {
                options: Options::default(),
                layout: Layout::of(&Options::default()).unwrap(),
                pool: Vec::new(),
                tasks: HashMap::new(),
                parents: HashMap::new(),
                finished: Vec::new(),
                pending: VecDeque::new(),
            },
            first,
            stopped: 0,
            _folder: folder,
            _alone: alone,
        };
        let task = Traced::new(&run.tracer.options);
        run.tracer.tasks.insert(first, task);
        while run.stopped == 0 {
            match run.next() {
                (tid, Report::Stopped(stop)) if wanted(tid, stop) => {
                    run.tracer.pending.push_front((tid, Report::Stopped(stop)));
                    run.stopped = tid;
                }
                (tid, Report::Stopped(stop)) => run.tracer.stopped(tid, stop).unwrap(),
                (tid, report) => panic!("{tid} has ended: {report:?}"),
            }
        }
        run
    }

    fn next(&mut self) -> (Tid, Report) {
        let report = self.tracer.pending.pop_front();
        report.unwrap_or_else(|| ptrace::wait(None).unwrap().expect("a task is left"))
    }

    /// Handles the requested stop.
    fn go_on(&mut self) {
        let (tid, report) = self.tracer.pending.pop_front().unwrap();
        if let Report::Stopped(stop) = report {
            self.tracer.stopped(tid, stop).unwrap();
        }
    }

    /// Gives the task records that identify it later.
    fn mark(&mut self, tid: Tid) {
        let task = self.tracer.tasks.get_mut(&tid).unwrap();
        task.started = true;
        task.records = Records::Pcs(vec![tid as u64]);
    }

    /// Returns the tasks that have such records, by their last ids.
    fn marked(&self) -> Vec<(Tid, Records)> {
        let finished = self.tracer.finished.iter();
        finished
            .filter(|task| task.records != Records::Pcs(Vec::new()))
            .map(|task| (task.tid as Tid, task.records.clone()))
            .collect()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Of the tasks that were let go, only the first is a child of this process.
        kill(self.first);
        traced().into_iter().for_each(kill);
        while let Ok(Some((tid, _))) = ptrace::wait(None) {
            // They stop once more, at their exit.
            let _ = ptrace::go_on(tid, 0);
        }
    }
}

fn kill(process: Tid) {
    let pid = rustix::process::Pid::from_raw(process).unwrap();
    // A task that has already ended does not need the signal.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Returns the tasks that this thread traces.
fn traced() -> Vec<Tid> {
    let own = format!("TracerPid:\t{}\n", rustix::thread::gettid());
    let is_traced =
        |task: &Path| fs::read_to_string(task.join("status")).is_ok_and(|text| text.contains(&own));
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|process| fs::read_dir(process.ok()?.path().join("task")).ok())
        .flatten()
        .filter_map(|task| Some(task.ok()?.path()))
        .filter(|task| is_traced(task))
        .filter_map(|task| task.file_name()?.to_str()?.parse().ok())
        .collect()
}

#[test]
fn child_that_is_made_at_the_end_is_let_go() {
    let mut run = Run::until("child", |_, stop| stop == Stop::Child);
    run.tracer.release().unwrap();
    assert_eq!(traced(), [0; 0]);
}

#[test]
fn first_thread_that_has_ended_is_not_waited_for() {
    let mut run = Run::until("leader", |_, stop| stop == Stop::Exit);
    assert_eq!(run.stopped, run.first);
    run.mark(run.first);
    run.go_on();
    run.tracer.release().unwrap();
    let threads = fs::read_dir(format!("/proc/{}/task", run.first)).unwrap();
    assert_eq!(threads.count(), 2, "the other still runs");
    assert_eq!(run.marked(), [(run.first, Records::Pcs(vec![run.first as u64]))]);
}

#[test]
fn thread_that_runs_a_program_at_the_end_keeps_its_records() {
    let mut run = Run::until("exec", |tid, stop| {
        stop == Stop::Exec && ptrace::event_message(tid).unwrap() != tid
    });
    let thread = ptrace::event_message(run.stopped).unwrap();
    run.mark(thread);
    run.tracer.release().unwrap();
    assert_eq!(run.marked(), [(run.first, Records::Pcs(vec![thread as u64]))]);
    assert_eq!(traced(), [0; 0]);
}

#[test]
fn task_that_is_killed_at_a_stop_has_a_name() {
    let mut run = Run::until("signal", |_, stop| stop == Stop::Signal(libc::SIGUSR1));
    kill(run.first);
    // The kill takes the task to its exit stop; the handling of the signal takes it past that stop.
    while ptrace::event_message(run.first).ok() != Some(libc::SIGKILL) {
        std::thread::yield_now();
    }
    run.go_on();
    assert_eq!(run.next(), (run.first, Report::Killed(libc::SIGKILL)));
    run.tracer.finish(run.first);
    assert_eq!(run.tracer.finished[0].name, "goes-on");
}
