// SPDX-License-Identifier: GPL-2.0
//! Calls and sections whose records are expected.

use std::ffi::c_long;

use super::{Checked, WORKER, World};
use crate::actor::{self, LOOKS, Look, Request};
use crate::model::{Context, Mode, State};
use crate::sys::{self, SAMPLE_FILE};

const SAMPLE_WORKER: usize = 0x7c91;
const SAMPLE_WORK: usize = 0x7c92;
const SAMPLE_PAIR: usize = 0x4018_7ca1;
const SAMPLE_COMMON_HANDLE: usize = 0xc010_7ca3;

/// The contexts of the sample module.
const CONTEXTS: [(Context, u32, &str); 3] = [
    (Context::Task, 0, "task"),
    (Context::Softirq, 5, "softirq"),
    (Context::HardInterrupt, 6, "hard interrupt"),
];

impl World {
    pub(super) fn probe(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        self.say(actor, |_| "getpriority".to_owned());
        let result = self.observe(
            actor,
            libc::SYS_getpriority,
            [libc::PRIO_PROCESS as usize, 0, 0],
            None,
            bytes[1],
        )?;
        self.compare(result.0, Ok(()))?;
        result.1
    }

    pub(super) fn section(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let (context, number, name) = CONTEXTS[if bytes[3] < 224 {
            0
        } else if bytes[3] < 252 {
            1
        } else {
            2
        }];
        // The implementation in C warns of a section in a task that is being recorded.
        if !self.model.kernel.rust && context == Context::Task && self.model.actor(actor).local.is_some() {
            return Ok(());
        }
        let known = [
            self.bus,
            self.bus + 1,
            self.bus + 2,
            self.common,
            self.common + 1,
            WORKER,
            0,
        ];
        let registered: Vec<u64> = self
            .model
            .registered()
            .map(|(handle, _)| handle)
            .take(16)
            .collect();
        let handles = if bytes[4] < 176 && !registered.is_empty() {
            &registered[..]
        } else {
            &known
        };
        let handle = handles[bytes[2] as usize % handles.len()];
        self.say(actor, |_| format!("section of {handle:#x} in a {name}"));
        // struct kcov_sample_pair with its flag for the outer section.
        let data = sys::data(actor);
        sys::write(data, [handle, 0]);
        sys::write(data + 16, [number, 1]);
        let target = self.model.section(handle, context);
        let result = self.observe(
            actor,
            libc::SYS_ioctl,
            [SAMPLE_FILE, SAMPLE_PAIR, data],
            target,
            bytes[1],
        )?;
        self.compare(result.0, Ok(()))?;
        result.1
    }

    /// A section elsewhere: of the sample module's worker, or of the task's common handle in a work item.
    pub(super) fn work(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let common = bytes[2] < 160;
        let handle = if common {
            self.model.actor(actor).common
        } else {
            WORKER
        };
        let command = if common { SAMPLE_WORK } else { SAMPLE_WORKER };
        self.say(actor, |_| format!("work for {handle:#x} in a kernel thread"));
        let target = self.model.section(handle, Context::Task);
        let result = self.observe(
            actor,
            libc::SYS_ioctl,
            [SAMPLE_FILE, command, 0],
            target,
            bytes[1],
        )?;
        self.compare(result.0, Ok(()))?;
        result.1
    }

    pub(super) fn common_handle(&mut self, actor: usize) -> Checked {
        self.say(actor, |_| "common handle".to_owned());
        let data = sys::data(actor);
        sys::write(data, [0u64, u64::MAX]);
        let result = self.ioctl(actor, SAMPLE_FILE, SAMPLE_COMMON_HANDLE, data)?;
        self.compare(result, Ok(()))?;
        let (found, expected) = (sys::read::<u64>(data + 8), self.model.actor(actor).common);
        if found == expected {
            Ok(())
        } else {
            Err(format!(
                "the common handle is {found:#x} instead of {expected:#x}"
            ))
        }
    }

    /// Makes a call and looks at all buffers that the task's process has mapped. Returns what the call returns, and whether
    /// the buffers are as they should be: the target of a section has records, the task's own buffer as well, no other.
    fn observe(
        &mut self,
        actor: usize,
        number: c_long,
        arguments: [usize; 3],
        target: Option<(usize, [bool; 2])>,
        byte: u8,
    ) -> Result<(i64, Checked), String> {
        let prepare = byte < 176;
        let mut seen: Vec<(usize, bool)> = Vec::new();
        for mapping in &self.model.process(actor).mappings {
            if seen.len() == LOOKS || seen.iter().any(|&(index, _)| index == mapping.descriptor) {
                continue;
            }
            let descriptor = &self.model.descriptors[mapping.descriptor];
            // Another task that waits for its turn may still be recorded on its way to sleep.
            let foreign = matches!(descriptor.state, State::Local { actor: owner, .. } if owner != actor);
            if foreign {
                continue;
            }
            let whole = crate::model::parts(Mode::Pc, descriptor.words, 0);
            let (parts, set) = descriptor.layout().unwrap_or((whole, 0));
            let look = Look {
                address: mapping.address,
                words: descriptor.words,
                set,
                prepare: prepare && mapping.shared && mapping.writable && descriptor.owner().is_some(),
                // The implementation in C may append a part of a record to a full buffer.
                ragged: !self.model.kernel.rust && matches!(descriptor.state, State::Remote { .. }),
                parts,
                ..Look::default()
            };
            sys::write(actor::look_at(actor, seen.len()), look);
            seen.push((mapping.descriptor, look.prepare));
        }
        sys::write(actor::looks_at(actor), seen.len() as u64);
        let call = (number, [arguments[0], arguments[1], arguments[2], 0, 0, 0]);
        let result = self.perform(actor, Request::Observe(call))?;
        let problem = seen.iter().enumerate().find_map(|(index, &(descriptor, _))| {
            let look: Look = sys::read(actor::look_at(actor, index));
            self.judge(actor, descriptor, &look, target)
                .map(|what| format!("descriptor {descriptor}: {what}"))
        });
        Ok((result, problem.map_or(Ok(()), Err)))
    }

    fn judge(
        &self,
        actor: usize,
        index: usize,
        look: &Look,
        target: Option<(usize, [bool; 2])>,
    ) -> Option<String> {
        let descriptor = &self.model.descriptors[index];
        let enabled = descriptor.owner().is_some();
        if enabled {
            if let Some(complaint) = look.complaint() {
                return Some(complaint);
            }
        }
        let unique = matches!(
            descriptor.state,
            State::Local {
                mode: Mode::Unique,
                ..
            } | State::Remote {
                mode: Mode::Unique,
                ..
            }
        );
        for (number, part) in look.parts.iter().enumerate().filter(|(_, part)| part.words > 0) {
            let (before, after) = (look.before[number], look.after[number]);
            let local = matches!(descriptor.state, State::Local { actor: owner, .. } if owner == actor);
            let recorded = local || target.is_some_and(|(to, parts)| to == index && parts[number]);
            let space = enabled && before < part.capacity() as u64;
            // With their bits set, PCs are not recorded again.
            let sure = !unique || look.prepare;
            let right = if recorded && space {
                after > before || (!sure && after == before)
            } else {
                after == before
            };
            if !right {
                let what = if recorded && space {
                    "records are missing"
                } else {
                    "records are not expected"
                };
                return Some(format!(
                    "{what}: the count at word {} was {before} and is {after}",
                    part.at
                ));
            }
        }
        None
    }
}
