// SPDX-License-Identifier: GPL-2.0
//! A world: one run of a sequence of steps in a process of its own, with the model at its side.
//!
//! A step is some numbers. They are read as a call that makes sense in the state that the steps before it have led to, or as
//! nothing. So any part of a sequence is a sequence, which makes it easy to find a short one that fails.

mod commands;
mod files;
mod kinds;
mod memory;
mod processes;
mod records;

use std::ffi::c_long;
use std::sync::atomic::Ordering;

use kinds::{KINDS, RESULTS};
pub(crate) use kinds::{Kind, WEIGHTS, counts, errno_name};

use crate::actor::{self, Request};
use crate::model::{Descriptor, File, Kernel, Mapping, Mode, Model, Outcome, State};
use crate::sys::{self, SLOTS};

/// Numbers for a step: its kind, and what it needs.
pub(crate) type Step = (u16, [u8; 8]);

/// A difference between the kernel and the model, or what kept it from being found.
pub(crate) type Checked = Result<(), String>;

const USB: u64 = 1 << 56;
/// Instances that no machine and no program has. Each world has some of its own: if the kernel does not forget them, the
/// next world does not suffer.
const FIRST_INSTANCE: u64 = 0x7e5d_0000;
const INSTANCES: u64 = 512;
/// The handle of the sample module's worker.
const WORKER: u64 = USB | 0x6b63_6f76;
/// The most files and the most mappings that there are at one time.
const MOST: usize = 12;
/// The limits for an actor, and for a world, in seconds.
const PATIENCE: i64 = 60;

/// The numbers of the whole system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) descriptors: i64,
    pub(crate) handles: i64,
}

/// Reads what the implementation in Rust tells of the whole system.
pub(crate) fn statistics() -> Result<Statistics, String> {
    let number = |name: &str| {
        let path = format!("/sys/kernel/debug/kcov_statistics/{name}");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        text.trim().parse().map_err(|error| format!("{path}: {error}"))
    };
    Ok(Statistics {
        descriptors: number("descriptors")?,
        handles: number("handles")?,
    })
}

pub(crate) struct World {
    model: Model,
    /// The numbers before the first call.
    before: Option<Statistics>,
    sample: bool,
    log: bool,
    /// The first global handle and the first common one.
    bus: u64,
    common: u64,
    /// The call that is being made, for the log.
    text: String,
    kind: usize,
}

impl World {
    pub(crate) fn new(kernel: Kernel, sample: bool, log: bool, number: u64) -> Result<Self, String> {
        let before = if kernel.rust { Some(statistics()?) } else { None };
        for slot in 0..SLOTS {
            sys::mailbox(slot).reset();
        }
        let instance = (FIRST_INSTANCE + number * INSTANCES) & u64::from(u32::MAX);
        Ok(Self {
            model: Model::new(kernel, SLOTS),
            before,
            sample,
            log,
            bus: USB | instance,
            common: instance,
            text: String::new(),
            kind: 0,
        })
    }

    /// Makes all calls until one differs from the model.
    pub(crate) fn run(&mut self, steps: &[Step]) -> Checked {
        for &step in steps {
            self.step(step)?;
        }
        Ok(())
    }

    fn step(&mut self, (number, bytes): Step) -> Checked {
        let mut left = number;
        for (index, &(kind, weight, _)) in KINDS.iter().enumerate() {
            if left < weight {
                self.kind = index;
                self.text.clear();
                return self.dispatch(kind, bytes);
            }
            left -= weight;
        }
        Ok(())
    }

    /// Describes the call that follows, if it is for the log.
    fn say(&mut self, actor: usize, text: impl FnOnce(&Model) -> String) {
        if self.log {
            self.text = format!("task {actor}: {}", text(&self.model));
        }
    }

    /// Has an actor work.
    fn perform(&self, actor: usize, request: Request) -> Result<i64, String> {
        let mailbox = sys::mailbox(actor);
        request.put(mailbox);
        if actor == 0 {
            return actor::run(0).ok_or_else(|| "the first task has ended".to_owned());
        }
        mailbox
            .request(PATIENCE)
            .ok_or_else(|| format!("task {actor} did not answer within {PATIENCE} seconds"))
    }

    fn call(&self, actor: usize, number: c_long, arguments: &[usize]) -> Result<i64, String> {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        self.perform(actor, Request::Call((number, all)))
    }

    fn ioctl(&self, actor: usize, file: usize, command: usize, argument: usize) -> Result<i64, String> {
        self.call(actor, libc::SYS_ioctl, &[file, command, argument])
    }

    /// Compares a result with the model's.
    fn compare(&mut self, result: i64, expected: Outcome) -> Checked {
        let found = if result < 0 { -result as i32 } else { 0 };
        let wanted = expected.err().unwrap_or(0);
        let column = RESULTS
            .iter()
            .position(|&known| known == found)
            .unwrap_or(RESULTS.len() - 1);
        sys::report().counters[self.kind * RESULTS.len() + column].fetch_add(1, Ordering::Relaxed);
        sys::report().calls.fetch_add(1, Ordering::Relaxed);
        if self.log {
            sys::write_line(&format!("{} = {}", self.text, errno_name(found)));
        }
        if found == wanted {
            Ok(())
        } else {
            Err(format!("{} instead of {}", errno_name(found), errno_name(wanted)))
        }
    }

    fn must(&mut self, result: i64) -> Result<usize, String> {
        self.compare(result, Ok(()))?;
        Ok(result as usize)
    }

    /// Chooses a task: the first one every second time, as it needs no other to run.
    fn pick_actor(&self, byte: u8) -> usize {
        let actors: Vec<usize> = (0..SLOTS)
            .filter(|&slot| self.model.actors[slot].is_some())
            .collect();
        if byte < 144 {
            0
        } else {
            actors[byte as usize % actors.len()]
        }
    }

    /// Chooses a file of the task's process, mostly one whose descriptor is preferred.
    fn pick_file(
        &self,
        actor: usize,
        bytes: [u8; 8],
        preferred: impl Fn(&Descriptor, usize) -> bool,
    ) -> Option<File> {
        let files = &self.model.process(actor).files;
        let fits = |file: &&File| preferred(&self.model.descriptors[file.descriptor], file.descriptor);
        let best: Vec<&File> = if bytes[7] < 208 {
            files.iter().filter(fits).collect()
        } else {
            Vec::new()
        };
        let best = if best.is_empty() {
            files.iter().collect()
        } else {
            best
        };
        best.get(bytes[1] as usize % best.len().max(1)).map(|file| **file)
    }

    fn pick_mapping(&self, actor: usize, byte: u8) -> Option<(usize, Mapping)> {
        let mappings = &self.model.process(actor).mappings;
        let index = byte as usize % mappings.len().max(1);
        mappings.get(index).map(|mapping| (index, *mapping))
    }

    fn dispatch(&mut self, kind: Kind, bytes: [u8; 8]) -> Checked {
        let actor = self.pick_actor(bytes[0]);
        let ready = |descriptor: &Descriptor, _| descriptor.state == State::Ready;
        let opened = |descriptor: &Descriptor, _| descriptor.state == State::Opened;
        let own = |descriptor: &Descriptor, _| descriptor.owner() == Some(actor);
        let enabled = |descriptor: &Descriptor, _| descriptor.owner().is_some();
        let any = |_: &Descriptor, _| true;
        let unmapped = |descriptor: &Descriptor, index| {
            let mapped = self
                .model
                .process(actor)
                .mappings
                .iter()
                .any(|mapping| mapping.descriptor == index);
            descriptor.state != State::Opened && descriptor.words % 512 == 0 && !mapped
        };
        let file = match kind {
            Kind::Init => self.pick_file(actor, bytes, opened),
            Kind::Map => self.pick_file(actor, bytes, unmapped),
            Kind::Enable | Kind::RemoteEnable | Kind::Unique | Kind::PcCmp => {
                self.pick_file(actor, bytes, ready)
            }
            Kind::Disable => self.pick_file(actor, bytes, own),
            Kind::Reset | Kind::DisableAny => self.pick_file(actor, bytes, enabled),
            _ => self.pick_file(actor, bytes, any),
        };
        match (kind, file) {
            (Kind::Open, _) => self.open(actor, bytes),
            (Kind::Init, Some(file)) => self.init(actor, file, bytes),
            (Kind::Map, Some(file)) => self.map(actor, file, bytes),
            (Kind::Enable, Some(file)) => self.enable(actor, file, bytes),
            (Kind::RemoteEnable, Some(file)) => self.remote_enable(actor, file, bytes),
            (Kind::Disable, Some(file)) => self.disable(actor, file, bytes),
            (Kind::DisableAny, Some(file)) => self.disable_any(actor, file, bytes),
            (Kind::Unique, Some(file)) => self.enable_divided(actor, file, Mode::Unique, bytes),
            (Kind::PcCmp, Some(file)) => self.enable_divided(actor, file, Mode::PcCmp, bytes),
            (Kind::Reset, Some(file)) => self.reset(actor, file, bytes),
            (Kind::Unknown, Some(file)) => self.unknown(actor, file, bytes),
            (Kind::File, Some(file)) => self.file_calls(actor, file, bytes),
            (Kind::Fdinfo, Some(file)) => self.fdinfo(actor, file),
            (Kind::Duplicate, Some(file)) => self.duplicate(actor, file),
            (Kind::Close, Some(file)) => self.close(actor, file),
            (Kind::Probe, _) => self.probe(actor, bytes),
            (Kind::Section, _) if self.sample => self.section(actor, bytes),
            (Kind::Work, _) if self.sample => self.work(actor, bytes),
            (Kind::CommonHandle, _) if self.sample => self.common_handle(actor),
            (Kind::Statistics, _) => self.statistics(),
            (Kind::Unmap, _) => self.unmap(actor, bytes),
            (Kind::Protect, _) => self.protect(actor, bytes),
            (Kind::Remap, _) => self.remap(actor, bytes),
            (Kind::Fork, _) => self.fork(actor),
            (Kind::Spawn, _) => self.spawn(actor),
            (Kind::Take, _) => self.take(actor, bytes),
            (Kind::Exit, _) => self.end(actor, false),
            (Kind::Kill, _) => self.end(actor, true),
            (Kind::Execute, _) => self.execute(actor),
            _ => Ok(()),
        }
    }
}
