// SPDX-License-Identifier: GPL-2.0
//! Processes and threads.

use super::{Checked, World};
use crate::actor::{self, Request};
use crate::sys::{self, SLOTS, call_with};

impl World {
    pub(super) fn free_slot(&self) -> Option<usize> {
        (1..SLOTS).find(|&slot| self.model.actors[slot].is_none())
    }

    pub(super) fn fork(&mut self, actor: usize) -> Checked {
        let Some(slot) = self.free_slot() else {
            return Ok(());
        };
        self.say(actor, |_| format!("fork of task {slot}"));
        sys::mailbox(slot).reset();
        let sibling = self.model.actor(actor).process != 0;
        let result = self.perform(actor, Request::Fork { slot, sibling })?;
        let pid = self.must(result)?;
        self.model.start(actor, slot, Some(pid));
        Ok(())
    }

    pub(super) fn spawn(&mut self, actor: usize) -> Checked {
        let Some(slot) = self.free_slot() else {
            return Ok(());
        };
        if self.model.actor(actor).process != 0 {
            return Ok(());
        }
        self.say(actor, |_| format!("start of thread {slot}"));
        sys::mailbox(slot).reset();
        let result = self.perform(actor, Request::Spawn { slot })?;
        self.must(result)?;
        self.model.start(actor, slot, None);
        Ok(())
    }

    pub(super) fn end(&mut self, actor: usize, kill: bool) -> Checked {
        let process = self.model.actor(actor).process;
        if actor == 0 || (kill && process == 0) {
            return Ok(());
        }
        self.say(actor, |_| {
            if kill {
                "is killed".to_owned()
            } else {
                "exits".to_owned()
            }
        });
        if process == 0 {
            Request::Exit { process: false }.put(sys::mailbox(actor));
            sys::mailbox(actor).order();
            actor::join(actor);
        } else {
            let pid = self.model.process(actor).pid;
            if kill {
                call_with(libc::SYS_kill, &[pid, libc::SIGKILL as usize]);
            } else {
                Request::Exit { process: true }.put(sys::mailbox(actor));
                sys::mailbox(actor).order();
            }
            let waited = call_with(libc::SYS_wait4, &[pid, 0, libc::__WALL as usize, 0]);
            if waited != pid as i64 {
                return Err(format!("the end of task {actor} can't be waited for: {waited}"));
            }
        }
        self.model.exit(actor);
        self.compare(0, Ok(()))
    }

    pub(super) fn execute(&mut self, actor: usize) -> Checked {
        if self.model.actor(actor).process == 0 {
            return Ok(());
        }
        self.say(actor, |_| "execve".to_owned());
        let result = self.perform(actor, Request::Execute)?;
        self.model.execute(actor);
        self.compare(result, Ok(()))
    }
}
