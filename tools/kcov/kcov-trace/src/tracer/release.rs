// SPDX-License-Identifier: GPL-2.0
//! Ends the tracing of tasks that continue to run.

use std::io;
use std::mem::take;

use super::ptrace::{self, Report, Stop, Tid};
use super::{Traced, Tracer, tolerate_exit};

impl Tracer {
    /// Lets the remaining tasks run without the tracer.
    pub(super) fn release(&mut self) -> io::Result<()> {
        for tid in self.tasks.keys() {
            tolerate_exit(ptrace::interrupt(*tid))?;
        }
        for child in take(&mut self.parents).into_keys() {
            self.await_child(child);
        }
        // A task that exits may not end for a long time: a first thread waits for all others.
        while self.tasks.values().any(|task| !task.exiting) {
            let next = match self.pending.pop_front() {
                Some(report) => Some(report),
                None => match ptrace::wait(None) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    other => other?,
                },
            };
            match next {
                None => break,
                Some((tid, Report::Stopped(stop))) => self.let_go(tid, stop)?,
                Some((tid, _)) => self.finish(tid),
            }
        }
        let exiting: Vec<Tid> = self.tasks.keys().copied().collect();
        for tid in exiting {
            self.finish(tid);
        }
        Ok(())
    }

    /// Lets a stopped task run without the tracer.
    fn let_go(&mut self, tid: Tid, stop: Stop) -> io::Result<()> {
        let mut signal = 0;
        match stop {
            Stop::Signal(number) => signal = number,
            Stop::Child => {
                if let Ok(child) = ptrace::event_message(tid) {
                    self.await_child(child);
                }
            }
            Stop::Exec => self.rename(tid),
            Stop::Trap | Stop::Group | Stop::Exit | Stop::SystemCall => {}
        }
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.update_name(tid);
            task.empty_buffer_at_stop(tid, 0, self.layout);
        }
        match ptrace::detach(tid, signal) {
            Ok(()) => {
                // The descriptor is dropped with the task, because it still collects.
                if let Some(task) = self.tasks.get_mut(&tid) {
                    task.kcov = None;
                }
                self.finish(tid);
                Ok(())
            }
            // A task that was killed is still traced, and reports its end.
            other => tolerate_exit(other),
        }
    }

    /// Waits for a child. A child is traced from the moment when it is made, and would be killed
    /// when this program ends. If it was let go before its parent reported it, it does not answer
    /// and is not waited for.
    fn await_child(&mut self, child: Tid) {
        if ptrace::interrupt(child).is_ok() {
            let options = &self.options;
            self.tasks.entry(child).or_insert_with(|| Traced::new(options));
        }
    }
}
