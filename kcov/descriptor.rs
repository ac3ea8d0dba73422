// SPDX-License-Identifier: GPL-2.0

//! One open file of the interface: its states, its lock, its lifetime.
//!
//! The open file and the task that has enabled the descriptor each hold a reference to a
//! [`Descriptor`]. Dropping the last reference drops the buffer in a context that may sleep, so the
//! memory is free when `close()` or the exit of the task returns.
//!
//! The registry of handles, and sections while they merge their records, refer to the descriptor's
//! [`Sink`], which may outlive the descriptor by a grace period. They use the buffer only under the
//! sink's lock, and only if the sink still has one.

use crate::{
    arch,
    area::EndedArea,
    buffer::{Buffer, LaidOutBuffer},
    memory::{read_once, write_once},
    mode::Mode,
    records::Kind,
    remote::{
        handle::HandleList,
        pool,
        registry::{Attachment, Registration}, //
    },
    statistics,
    task, //
};
use core::{mem, ops::Deref};
use kernel::{
    new_mutex, new_spinlock_irq,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{ordering::Relaxed, Atomic},
        Arc,
        ArcBorrow,
        Mutex,
        SpinLockIrq, //
    },
    task::Task,
};

// With paths, this file can also be compiled by a program that includes it by its path.
#[path = "descriptor/reset.rs"]
mod reset;
#[path = "descriptor/state.rs"]
mod state;

use state::{Recording, State};

/// The number of records that are merged before the state is checked again. Limits the time for
/// which interrupts are off: at most 32 KiB of comparisons or 8 KiB of PCs are copied in it.
const MERGE_STEP: usize = 1024;

/// The number of words of an area that a section may use in the modes that are not plain, even if
/// the buffer is smaller: 512 KiB.
const DIVIDED_AREA_WORDS: usize = 64 * 1024;

/// The part of a descriptor that remote sections record into.
#[pin_data]
pub(crate) struct Sink {
    #[pin]
    state: SpinLockIrq<State>,
    /// The number of sections that were not recorded because the pool had no area for them.
    lost: Atomic<u64>,
}

/// One open file.
#[pin_data]
pub(crate) struct Descriptor {
    /// Serialises enable and disable for remote sections: the state and the registry change in two
    /// steps, and no other enable or disable may run in between.
    #[pin]
    control: Mutex<()>,
    sink: OwnedSink,
    /// The number of times that the descriptor was enabled. Changes under the sink's lock.
    enables: Atomic<usize>,
    _counted: statistics::CountedDescriptor,
}

/// Keeps other tasks from enabling a descriptor that is ready.
struct Claim<'a>(&'a Descriptor);

impl Claim<'_> {
    /// Ends the claim of a task that has locked the descriptor's sink.
    fn end(self, state: &mut State) {
        state.claim(false);
        mem::forget(self);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.sink.state.lock().claim(false);
    }
}

/// The argument of `KCOV_REMOTE_ENABLE`.
pub(crate) struct RemoteRequest {
    /// The mode, or the error to return for it: see [`Descriptor::enable`].
    pub(crate) mode: Result<Mode>,
    /// The size of the buffer's front in words, in the modes that have one.
    pub(crate) front: usize,
    /// The number of words that a section of a task may use.
    pub(crate) area_words: usize,
    pub(crate) handles: HandleList,
}

/// The state of a descriptor in a form for users to read.
pub(crate) struct Summary {
    pub(crate) state: &'static str,
    pub(crate) mode: &'static str,
    /// The size of the buffer in words.
    pub(crate) words: usize,
    pub(crate) handles: usize,
    /// The number of records that did not fit since the descriptor was enabled or reset.
    pub(crate) dropped: usize,
    /// The number of sections that were not recorded because the pool had no area for them.
    pub(crate) lost_sections: u64,
}

impl Descriptor {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let sink = OwnedSink(Arc::pin_init(Sink::new(), GFP_KERNEL)?);
        Arc::pin_init(
            pin_init!(Self {
                control <- new_mutex!(()),
                sink,
                enables: Atomic::new(0),
                _counted: statistics::CountedDescriptor::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the buffer, if there is one.
    pub(crate) fn buffer(&self) -> Option<Arc<Buffer>> {
        self.sink.state.lock().buffer().cloned()
    }

    /// Keeps other tasks from enabling the descriptor while the claim lives. Returns the buffer,
    /// too; [`EINVAL`] if the descriptor is not ready.
    fn claim(&self) -> Result<(Claim<'_>, Arc<Buffer>)> {
        let mut state = self.sink.state.lock();
        let buffer = state.ready()?.buffer().clone();
        state.claim(true);
        Ok((Claim(self), buffer))
    }

    /// `KCOV_INIT_TRACE`: gives the descriptor a buffer of `words` words. May sleep.
    pub(crate) fn init(&self, words: usize) -> Result {
        // The size is checked before the state, which is the order of the interface's table of
        // errors.
        let buffer = Arc::new(Buffer::new(words)?, GFP_KERNEL)?;
        // With this box, enabling allocates nothing and cannot fail for lack of memory. It is freed
        // without the lock if it is not used.
        let laid_out = LaidOutBuffer::new(buffer, Mode::Pc, 0)?;
        let mut ready = Some(KBox::new(laid_out, GFP_KERNEL)?);
        // The guard of a last expression would be dropped after the box.
        let result = self.sink.state.lock().init(&mut ready);
        result
    }

    /// `KCOV_ENABLE` and its variants: starts recording the current task into the buffer. May
    /// sleep.
    ///
    /// `mode` may be an error, which is returned only after the errors of the state have been
    /// checked: the interface demands this order. `front` is the size of the buffer's front in
    /// words, in the modes that have one.
    #[expect(unsafe_code)]
    pub(crate) fn enable(self: ArcBorrow<'_, Self>, mode: Result<Mode>, front: usize) -> Result {
        let mut paused = task::pause();
        let busy = paused.has_local(None);
        // The parts that take too long for the lock are done before.
        let mut prepared = None;
        let mut claim = None;
        if arch::VMALLOC_FAULTS || mode == Ok(Mode::Edge) {
            let (claimed, buffer) = self.claim()?;
            if busy {
                return Err(EBUSY);
            }
            buffer.fault_in();
            if mode == Ok(Mode::Edge) {
                let laid_out = LaidOutBuffer::new(buffer, Mode::Edge, front)?;
                laid_out.prepare();
                prepared = Some(laid_out);
            }
            claim = Some(claimed);
        }

        let mut state = self.sink.state.lock();
        if let Some(claim) = claim {
            claim.end(&mut state);
        }
        let laid_out = state.ready()?;
        if busy {
            return Err(EBUSY);
        }
        match prepared {
            Some(prepared) => *laid_out = prepared,
            None => laid_out.lay_out(mode?, front)?,
        }
        let mode = laid_out.mode();
        // SAFETY: The descriptor keeps the layout until `leave`, which is called only after
        // `detach_local`.
        unsafe { paused.attach_local(self.into(), laid_out, mode) };
        state.start(Recording::Local);
        self.count_enable();
        Ok(())
    }

    /// `KCOV_REMOTE_ENABLE`: records remote sections that are started with any of the requested
    /// handles. May sleep.
    // Not inlined, so that the leaf check can follow the pointer to the task through this function.
    #[inline(never)]
    pub(crate) fn remote_enable(self: ArcBorrow<'_, Self>, request: &RemoteRequest) -> Result {
        let mut paused = task::pause();
        let _control = self.control.lock();
        let (claim, buffer) = self.claim()?;
        if paused.has_remote(None) {
            return Err(EBUSY);
        }
        let mode = request.mode?;
        let most = if mode.is_plain() {
            // A section cannot merge more words than fit into the buffer.
            buffer.words()
        } else {
            // The parts of an area differ in size from those of the buffer, and PCs that the set
            // already has take space in the area. Therefore a section for a small buffer may use an
            // area that is larger than the buffer.
            buffer.words().max(DIVIDED_AREA_WORDS)
        };
        let words = request.area_words.min(most);
        let laid_out = LaidOutBuffer::new(buffer, mode, request.front)?;
        // Sections can start when this returns, but merge only after the state has changed.
        let registration = Registration::new(
            Attachment::new(self.sink.clone(), mode, words),
            &request.handles,
        )?;

        laid_out.prepare();
        // The guard is declared after the registration, so that it is dropped first: dropping the
        // registration may sleep.
        let mut state = self.sink.state.lock();
        claim.end(&mut state);
        *state.ready()? = laid_out;
        state.start(Recording::Remote(registration));
        self.count_enable();
        drop(state);
        paused.attach_remote(self.into(), request.handles.common());
        // Provides an area for the first section in a context that must not sleep.
        pool::prepare(words);
        Ok(())
    }

    /// `KCOV_DISABLE`: undoes [`Descriptor::enable`] or [`Descriptor::remote_enable`] of the
    /// current task.
    pub(crate) fn disable(&self, unused: usize) -> Result {
        let mut paused = task::pause();
        if unused != 0 {
            return Err(EINVAL);
        }
        let attached = paused
            .detach_local(Some(self))
            .or_else(|| paused.detach_remote(Some(self)))
            .ok_or(EINVAL)?;
        attached.leave();
        Ok(())
    }

    /// Returns the task that has enabled the descriptor, and the number of that enable.
    #[expect(unsafe_code)]
    pub(crate) fn enabled(&self) -> Option<(ARef<Task>, usize)> {
        let state = self.sink.state.lock();
        state.recording()?;
        // SAFETY: The descriptor is enabled. Whoever detaches it from the task keeps the task until
        // `leave`, which takes the lock.
        let owner = unsafe { state.owner().task() }?;
        Some((owner, self.enables()))
    }

    /// Returns whether the descriptor is enabled, and by the enable with the given number.
    pub(crate) fn is_enabled(&self, number: usize) -> bool {
        let state = self.sink.state.lock();
        state.recording().is_some() && self.enables() == number
    }

    /// Returns how often the descriptor was enabled.
    pub(crate) fn enables(&self) -> usize {
        read_once(&self.enables)
    }

    /// Counts an enable. Callers hold the sink's lock.
    fn count_enable(&self) {
        write_once(&self.enables, self.enables().wrapping_add(1));
    }

    /// Ends the recording after the task has dropped its reference to the descriptor. May sleep.
    pub(crate) fn leave(&self) {
        let mut state = self.sink.state.lock();
        if !matches!(state.recording(), Some((_, Recording::Remote(_)))) {
            state.end();
            return;
        }
        drop(state);
        let _control = self.control.lock();
        let ended = self.sink.state.lock().end();
        // Removes handles from the registry, which may sleep.
        drop(ended);
    }

    /// Returns the state in a form for users to read.
    pub(crate) fn summary(&self) -> Summary {
        let state = self.sink.state.lock();
        let recording = state.recording();
        Summary {
            state: state.name(),
            mode: recording.map_or("none", |(laid_out, _)| laid_out.mode().name()),
            words: state.buffer().map_or(0, |buffer| buffer.words()),
            handles: match recording {
                Some((_, Recording::Remote(registration))) => registration.handles(),
                _ => 0,
            },
            dropped: state.dropped(),
            lost_sections: self.sink.lost.load(Relaxed),
        }
    }
}

impl Sink {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_spinlock_irq!(State::fresh()),
            lost: Atomic::new(0),
        })
    }

    /// Appends the records of a section, unless the descriptor was disabled after the section
    /// started.
    pub(crate) fn merge(&self, registration: u64, area: &EndedArea) {
        if area.section().target().mode == Mode::Edge {
            return self.merge_edges(registration, area);
        }
        let mut dropped = area.dropped();
        for kind in [Kind::Pc, Kind::Comparison] {
            let records = area.records(kind);
            let mut done = 0;
            while done < records.count() || dropped > 0 {
                let state = self.state.lock();
                let Some(laid_out) = state.of_registration(registration) else {
                    return;
                };
                laid_out.drop_records(mem::take(&mut dropped));
                done += laid_out.append(&records, done, MERGE_STEP);
            }
        }
    }

    #[cold]
    fn merge_edges(&self, registration: u64, area: &EndedArea) {
        let mut dropped = area.dropped();
        let mut edges = area.edges();
        while !edges.is_empty() || dropped > 0 {
            let state = self.state.lock();
            let Some(laid_out) = state.of_registration(registration) else {
                return;
            };
            laid_out.drop_records(mem::take(&mut dropped));
            let (step, rest) = edges.split_at(edges.len().min(MERGE_STEP));
            laid_out.append_edges(step);
            edges = rest;
        }
    }

    /// Counts a section that was not recorded because the pool had no area.
    pub(crate) fn lose_section(&self) {
        self.lost.add(1u64, Relaxed);
        statistics::section_lost();
    }
}

/// The sink of a descriptor that exists. Dropping it frees the buffer, even if the sink itself
/// lives on.
struct OwnedSink(Arc<Sink>);

impl Deref for OwnedSink {
    type Target = Arc<Sink>;

    fn deref(&self) -> &Arc<Sink> {
        &self.0
    }
}

impl Drop for OwnedSink {
    /// Frees the buffer. May sleep.
    fn drop(&mut self) {
        // The task that had enabled the descriptor has disabled it, so it has no handles in the
        // registry. Other references may keep the sink itself alive.
        let buffer = self.0.state.lock().take_buffer();
        drop(buffer);
    }
}
