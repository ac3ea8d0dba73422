// SPDX-License-Identifier: GPL-2.0
//! The model: tasks, files, mappings and descriptors, and the result of each call by the tables of
//! Documentation/dev-tools/kcov.rst, in the order of their rows.

mod modes;

use modes::check_front;
pub(crate) use modes::{Kernel, Mode, parts};

use crate::actor::Part;
use crate::sys::PAGE;

/// `ENOTSUPP`, which has no name in user space.
pub(crate) const ENOTSUPP: i32 = 524;
/// The most words of a buffer.
pub(crate) const MAX_WORDS: usize = i32::MAX as usize / 8;
const MAX_HANDLES: usize = 256;
/// The words that a section may use in the modes that divide the buffer, even if that is smaller.
const DIVIDED_AREA_WORDS: usize = 64 << 10;

/// A result: nothing, or an errno.
pub(crate) type Outcome = Result<(), i32>;

/// A descriptor's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Opened,
    Ready,
    Local {
        actor: usize,
        mode: Mode,
        front: usize,
    },
    Remote {
        actor: usize,
        mode: Mode,
        front: usize,
        area: usize,
        handles: Vec<u64>,
    },
}

/// A descriptor that was opened.
#[derive(Clone, Debug)]
pub(crate) struct Descriptor {
    pub(crate) words: usize,
    pub(crate) state: State,
}

impl Descriptor {
    /// Returns whether a task has enabled it.
    pub(crate) fn owner(&self) -> Option<usize> {
        match self.state {
            State::Opened | State::Ready => None,
            State::Local { actor, .. } | State::Remote { actor, .. } => Some(actor),
        }
    }

    /// Returns the parts with counts, and the words of the set.
    pub(crate) fn layout(&self) -> Option<([Part; 2], usize)> {
        let (mode, front) = match self.state {
            State::Opened | State::Ready => return None,
            State::Local { mode, front, .. } | State::Remote { mode, front, .. } => (mode, front),
        };
        Some((
            parts(mode, self.words, front),
            if mode == Mode::Unique { front } else { 0 },
        ))
    }
}

/// A file of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    pub(crate) number: usize,
    pub(crate) descriptor: usize,
    /// `O_RDWR`, `O_RDONLY` or `O_WRONLY`.
    pub(crate) access: i32,
    pub(crate) close_on_exec: bool,
}

/// A mapping of a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    pub(crate) address: usize,
    pub(crate) bytes: usize,
    pub(crate) descriptor: usize,
    /// The access of the file.
    pub(crate) access: i32,
    pub(crate) shared: bool,
    pub(crate) writable: bool,
}

/// A process; the first one is the only one with threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    pub(crate) pid: usize,
    pub(crate) files: Vec<File>,
    pub(crate) mappings: Vec<Mapping>,
}

/// A task.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) process: usize,
    pub(crate) local: Option<usize>,
    pub(crate) remote: Option<usize>,
    pub(crate) common: u64,
}

/// The argument of `KCOV_REMOTE_ENABLE`, and how much of it can be read.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) mode: u32,
    pub(crate) area: u32,
    pub(crate) front: u32,
    pub(crate) common: u64,
    /// The value of `num_handles`.
    pub(crate) number: u32,
    pub(crate) handles: Vec<u64>,
    pub(crate) readable: Readable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readable {
    All,
    /// The struct, and not the handles.
    Struct,
    Nothing,
}

pub(crate) fn is_global(handle: u64) -> bool {
    handle & 0x00ff_ffff_0000_0000 == 0 && handle >> 56 == 1
}

pub(crate) fn is_common(handle: u64) -> bool {
    handle != 0 && handle >> 32 == 0
}

/// Everything that exists.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) kernel: Kernel,
    /// By slot.
    pub(crate) actors: Vec<Option<Actor>>,
    /// By the slot of the first actor.
    pub(crate) processes: Vec<Option<Process>>,
    pub(crate) descriptors: Vec<Descriptor>,
}

impl Model {
    pub(crate) fn new(kernel: Kernel, slots: usize) -> Self {
        let mut model = Self {
            kernel,
            actors: vec![None; slots],
            processes: vec![None; slots],
            descriptors: Vec::new(),
        };
        model.actors[0] = Some(Actor {
            process: 0,
            local: None,
            remote: None,
            common: 0,
        });
        model.processes[0] = Some(Process::default());
        model
    }

    pub(crate) fn actor(&self, slot: usize) -> &Actor {
        self.actors[slot].as_ref().expect("no such actor")
    }

    fn actor_mut(&mut self, slot: usize) -> &mut Actor {
        self.actors[slot].as_mut().expect("no such actor")
    }

    pub(crate) fn process(&self, actor: usize) -> &Process {
        self.processes[self.actor(actor).process]
            .as_ref()
            .expect("no such process")
    }

    pub(crate) fn process_mut(&mut self, actor: usize) -> &mut Process {
        let process = self.actor(actor).process;
        self.processes[process].as_mut().expect("no such process")
    }

    /// Returns the number of descriptors that exist: those with a file, a mapping or a task.
    pub(crate) fn living(&self) -> usize {
        let used = |index: usize| {
            self.descriptors[index].owner().is_some()
                || self.processes.iter().flatten().any(|process| {
                    process.files.iter().any(|file| file.descriptor == index)
                        || process.mappings.iter().any(|mapping| mapping.descriptor == index)
                })
        };
        (0..self.descriptors.len()).filter(|&index| used(index)).count()
    }

    /// Returns all handles that are being collected, each with its descriptor.
    pub(crate) fn registered(&self) -> impl Iterator<Item = (u64, usize)> {
        self.descriptors
            .iter()
            .enumerate()
            .flat_map(|(index, descriptor)| {
                let handles = match &descriptor.state {
                    State::Remote { handles, .. } => handles.as_slice(),
                    _ => &[],
                };
                handles.iter().map(move |&handle| (handle, index))
            })
    }

    pub(crate) fn init(&mut self, descriptor: usize, words: usize, memory: bool) -> Outcome {
        let descriptor = &mut self.descriptors[descriptor];
        if !(2..=MAX_WORDS).contains(&words) {
            return Err(libc::EINVAL);
        }
        if !memory {
            return Err(libc::ENOMEM);
        }
        if descriptor.state != State::Opened {
            return Err(libc::EBUSY);
        }
        (descriptor.words, descriptor.state) = (words, State::Ready);
        Ok(())
    }

    /// Returns what `mmap()` of so many bytes says; the caller adds the mapping.
    pub(crate) fn map(
        &self,
        file: &File,
        bytes: usize,
        offset: usize,
        shared: bool,
        writable: bool,
    ) -> Outcome {
        if file.access == libc::O_WRONLY || (shared && writable && file.access != libc::O_RDWR) {
            return Err(libc::EACCES);
        }
        let descriptor = &self.descriptors[file.descriptor];
        if descriptor.state == State::Opened
            || offset != 0
            || bytes.next_multiple_of(PAGE) != descriptor.words * 8
        {
            return Err(libc::EINVAL);
        }
        Ok(())
    }

    fn check_ready(&self, descriptor: usize) -> Outcome {
        if self.descriptors[descriptor].state == State::Ready {
            Ok(())
        } else {
            Err(libc::EINVAL)
        }
    }

    fn enable_mode(
        &mut self,
        actor: usize,
        descriptor: usize,
        mode: Result<Mode, i32>,
        front: usize,
    ) -> Outcome {
        self.check_ready(descriptor)?;
        if self.actor(actor).local.is_some() {
            return Err(libc::EBUSY);
        }
        let mode = mode?;
        check_front(mode, self.descriptors[descriptor].words, front)?;
        self.descriptors[descriptor].state = State::Local { actor, mode, front };
        self.actor_mut(actor).local = Some(descriptor);
        Ok(())
    }

    pub(crate) fn enable(&mut self, actor: usize, descriptor: usize, mode: usize) -> Outcome {
        self.enable_mode(actor, descriptor, self.kernel.local_mode(mode), 0)
    }

    /// `KCOV_UNIQUE_ENABLE` or `KCOV_PC_CMP_ENABLE`, which the implementation in C does not have.
    pub(crate) fn enable_divided(
        &mut self,
        actor: usize,
        descriptor: usize,
        mode: Mode,
        front: usize,
    ) -> Outcome {
        if !self.kernel.rust {
            return Err(libc::ENOTTY);
        }
        self.enable_mode(actor, descriptor, self.kernel.supported(mode), front)
    }

    fn check_handles(&self, remote: &Remote) -> Result<Vec<u64>, i32> {
        let mut taken: Vec<u64> = self.registered().map(|(handle, _)| handle).collect();
        let others = taken.len();
        let common = Some(remote.common).filter(|&common| common != 0);
        let globals = remote.handles.iter().map(|&handle| (handle, is_global(handle)));
        for (handle, fits) in globals.chain(common.map(|common| (common, is_common(common)))) {
            if !fits {
                return Err(libc::EINVAL);
            }
            if taken.contains(&handle) {
                return Err(libc::EEXIST);
            }
            taken.push(handle);
        }
        Ok(taken.split_off(others))
    }

    pub(crate) fn remote_enable(&mut self, actor: usize, descriptor: usize, remote: &Remote) -> Outcome {
        if remote.readable == Readable::Nothing {
            return Err(libc::EFAULT);
        }
        if remote.number as usize > MAX_HANDLES {
            return Err(libc::EINVAL);
        }
        if remote.readable == Readable::Struct && remote.number > 0 {
            return Err(libc::EFAULT);
        }
        self.check_ready(descriptor)?;
        if self.actor(actor).remote.is_some() {
            return Err(libc::EBUSY);
        }
        let mode = self.kernel.remote_mode(remote.mode)?;
        let (words, front) = (self.descriptors[descriptor].words, remote.front as usize);
        check_front(mode, words, front)?;
        let handles = self.check_handles(remote).inspect_err(|_| {
            // The implementation in C undoes the enable when it meets a wrong handle, and with it forgets the common
            // handle that the task had before.
            if !self.kernel.rust {
                self.actor_mut(actor).common = 0;
            }
        })?;
        // Rust cuts it to what can be appended to the buffer; C does not.
        let most = if mode.plain() {
            words
        } else {
            words.max(DIVIDED_AREA_WORDS)
        };
        let area = if self.kernel.rust {
            most.min(remote.area as usize)
        } else {
            remote.area as usize
        };
        self.descriptors[descriptor].state = State::Remote {
            actor,
            mode,
            front,
            area,
            handles,
        };
        let actor = self.actor_mut(actor);
        actor.remote = Some(descriptor);
        if remote.common != 0 {
            actor.common = remote.common;
        }
        Ok(())
    }

    pub(crate) fn disable(&mut self, actor: usize, descriptor: usize, argument: usize) -> Outcome {
        if argument != 0 || self.descriptors[descriptor].owner() != Some(actor) {
            return Err(libc::EINVAL);
        }
        let local = matches!(self.descriptors[descriptor].state, State::Local { .. });
        self.descriptors[descriptor].state = State::Ready;
        let actor = self.actor_mut(actor);
        if local {
            actor.local = None;
        } else {
            (actor.remote, actor.common) = (None, 0);
        }
        Ok(())
    }

    /// Any task may disable what another one has enabled.
    pub(crate) fn disable_any(&mut self, descriptor: usize, argument: usize) -> Outcome {
        if !self.kernel.rust {
            return Err(libc::ENOTTY);
        }
        match self.descriptors[descriptor].owner() {
            Some(owner) => self.disable(owner, descriptor, argument),
            None => Err(libc::EINVAL),
        }
    }

    /// Any task may reset what another one has enabled.
    pub(crate) fn reset(&self, descriptor: usize, argument: usize) -> Outcome {
        if !self.kernel.rust {
            return Err(libc::ENOTTY);
        }
        if argument != 0 || self.descriptors[descriptor].owner().is_none() {
            return Err(libc::EINVAL);
        }
        Ok(())
    }

    /// A new task, which inherits the common handle, and as a process all files and mappings.
    pub(crate) fn start(&mut self, parent: usize, slot: usize, pid: Option<usize>) {
        let common = self.actor(parent).common;
        let mut process = self.actor(parent).process;
        if let Some(pid) = pid {
            self.processes[slot] = Some(Process {
                pid,
                ..self.process(parent).clone()
            });
            process = slot;
        }
        self.actors[slot] = Some(Actor {
            process,
            local: None,
            remote: None,
            common,
        });
    }

    /// The end of a task, which makes its descriptors ready.
    pub(crate) fn exit(&mut self, slot: usize) {
        for descriptor in &mut self.descriptors {
            if descriptor.owner() == Some(slot) {
                descriptor.state = State::Ready;
            }
        }
        self.actors[slot] = None;
        if slot > 0 {
            self.processes[slot] = None;
        }
    }

    /// `execve()`: the task keeps its descriptors, the process loses its mappings.
    pub(crate) fn execute(&mut self, slot: usize) {
        let process = self.process_mut(slot);
        process.mappings.clear();
        process.files.retain(|file| !file.close_on_exec);
    }

    /// Returns whether a section with this handle is recorded into the parts of the buffer, for each part.
    pub(crate) fn section(&self, handle: u64, context: Context) -> Option<(usize, [bool; 2])> {
        let (_, index) = self.registered().find(|&(registered, _)| registered == handle)?;
        let State::Remote { mode, area, .. } = self.descriptors[index].state else {
            return None;
        };
        let area = match context {
            Context::Task if area == 0 => return None,
            Context::Task => area,
            // CONFIG_KCOV_IRQ_AREA_SIZE, which is far more than these sections need.
            Context::Softirq => 4096,
            Context::HardInterrupt => return None,
        };
        // The filter of an area is far smaller than its trace.
        let area = if mode == Mode::Unique {
            parts(Mode::Pc, area, 0)
        } else {
            parts(mode, area, area / 2)
        };
        Some((index, area.map(|part| part.capacity() > 0)))
    }
}

/// Where a section runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    Task,
    Softirq,
    HardInterrupt,
}

#[cfg(test)]
mod tests;
