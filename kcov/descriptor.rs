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
    area::EndedArea,
    buffer::{Buffer, LaidOutBuffer},
    mode::Mode,
    records::Kind,
    remote::{
        handle::HandleList,
        pool,
        registry::{Attachment, Registration}, //
    },
    statistics, //
    task,
};
use core::{mem, ops::Deref};
use kernel::{
    new_mutex, new_spinlock_irq,
    prelude::*,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        Arc,
        ArcBorrow,
        Mutex,
        SpinLockIrq, //
    },
};

/// The number of records that are merged before the state is checked again. Limits the time for
/// which interrupts are off: at most 32 KiB of comparisons or 8 KiB of PCs are copied in it.
const MERGE_STEP: usize = 1024;

/// The number of words of a set that are cleared before the state is checked again.
const CLEAR_STEP: usize = 4096;

/// The number of words of an area that a section may use in the modes that are not plain, even if
/// the buffer is smaller: 512 KiB.
const DIVIDED_AREA_WORDS: usize = 64 * 1024;

/// The state of a descriptor.
enum State {
    /// The descriptor does not have a buffer yet, or has lost it.
    Fresh,
    /// The descriptor has a buffer that is not recorded into; its last layout has no meaning.
    Ready(KBox<LaidOutBuffer>),
    /// A task records its own calls into the buffer.
    Local(KBox<LaidOutBuffer>),
    /// Remote sections record into the buffer on behalf of a task.
    Remote(KBox<LaidOutBuffer>, Registration),
}

impl State {
    fn buffer(&self) -> Option<&Arc<Buffer>> {
        match self {
            State::Fresh => None,
            State::Ready(laid_out) | State::Local(laid_out) | State::Remote(laid_out, _) => {
                Some(laid_out.buffer())
            }
        }
    }

    /// Returns the buffer with its layout, if it is recorded into.
    fn laid_out(&self) -> Option<&LaidOutBuffer> {
        match self {
            State::Fresh | State::Ready(_) => None,
            State::Local(laid_out) | State::Remote(laid_out, _) => Some(laid_out),
        }
    }
}

struct Inner {
    state: State,
    /// The number of records that had not fitted when the descriptor was last disabled.
    dropped: usize,
}

impl Inner {
    /// Takes the ready buffer and replaces its layout by `laid_out`. The caller must put it into
    /// another state.
    ///
    /// Allocates no memory: a ready descriptor already has a box for the buffer.
    fn take_ready(&mut self, laid_out: LaidOutBuffer) -> Result<KBox<LaidOutBuffer>> {
        match mem::replace(&mut self.state, State::Fresh) {
            State::Ready(mut slot) => {
                *slot = laid_out;
                Ok(slot)
            }
            other => {
                self.state = other;
                Err(EINVAL)
            }
        }
    }
}

/// The part of a descriptor that remote sections record into.
#[pin_data]
pub(crate) struct Sink {
    #[pin]
    inner: SpinLockIrq<Inner>,
    /// The number of sections that were not recorded because the pool had no area for them.
    lost: Atomic<u64>,
}

/// One open file.
#[pin_data]
pub(crate) struct Descriptor {
    /// Serialises enable and disable: the state and the registry change in two steps, and no other
    /// enable or disable may run in between.
    #[pin]
    control: Mutex<()>,
    sink: OwnedSink,
    _counted: statistics::CountedDescriptor,
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
                _counted: statistics::CountedDescriptor::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the buffer, if there is one.
    pub(crate) fn buffer(&self) -> Option<Arc<Buffer>> {
        self.sink.inner.lock().state.buffer().cloned()
    }

    /// Returns the buffer if the descriptor can be enabled; [`EINVAL`] if it has no buffer or is
    /// enabled already.
    fn ready_buffer(&self) -> Result<Arc<Buffer>> {
        match &self.sink.inner.lock().state {
            State::Ready(laid_out) => Ok(laid_out.buffer().clone()),
            _ => Err(EINVAL),
        }
    }

    /// `KCOV_INIT_TRACE`: gives the descriptor a buffer of `words` words. May sleep.
    pub(crate) fn init(&self, words: usize) -> Result {
        // The size is checked before the state, which is the order of the interface's table of
        // errors.
        let buffer = Arc::new(Buffer::new(words)?, GFP_KERNEL)?;
        // With this box, enabling allocates nothing and cannot fail for lack of memory. The box is
        // declared before the guard, so that it is freed after the unlock.
        let ready = KBox::new(LaidOutBuffer::new(buffer, Mode::Pc, 0)?, GFP_KERNEL)?;
        let mut inner = self.sink.inner.lock();
        if !matches!(inner.state, State::Fresh) {
            return Err(EBUSY);
        }
        inner.state = State::Ready(ready);
        Ok(())
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
        let _control = self.control.lock();
        let buffer = self.ready_buffer()?;
        if paused.has_local(None) {
            return Err(EBUSY);
        }
        let mode = mode?;
        let laid_out = LaidOutBuffer::new(buffer, mode, front)?;
        laid_out.buffer().fault_in();
        laid_out.prepare();

        let mut inner = self.sink.inner.lock();
        let laid_out = inner.take_ready(laid_out)?;
        // SAFETY: The descriptor keeps the box until `leave`, which only the task that has enabled
        // the descriptor calls, after `detach_local`.
        unsafe { paused.attach_local(self.into(), &laid_out, mode) };
        inner.state = State::Local(laid_out);
        Ok(())
    }

    /// `KCOV_REMOTE_ENABLE`: records remote sections that are started with any of the requested
    /// handles. May sleep.
    // Not inlined, so that the leaf check can follow the pointer to the task through this function.
    #[inline(never)]
    pub(crate) fn remote_enable(self: ArcBorrow<'_, Self>, request: &RemoteRequest) -> Result {
        let mut paused = task::pause();
        let _control = self.control.lock();
        let buffer = self.ready_buffer()?;
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

        // Nothing but an enable can change the state of a descriptor that is ready.
        laid_out.prepare();
        // The guard is declared after the registration, so that it is dropped first: dropping the
        // registration may sleep.
        let mut inner = self.sink.inner.lock();
        let laid_out = inner.take_ready(laid_out)?;
        inner.state = State::Remote(laid_out, registration);
        drop(inner);
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

    /// Returns to [`State::Ready`] after the task has dropped its reference to the descriptor. May
    /// sleep.
    pub(crate) fn leave(&self) {
        let _control = self.control.lock();
        let mut inner = self.sink.inner.lock();
        let (laid_out, registration) = match mem::replace(&mut inner.state, State::Fresh) {
            State::Local(laid_out) => (laid_out, None),
            State::Remote(laid_out, registration) => (laid_out, Some(registration)),
            other => {
                inner.state = other;
                return;
            }
        };
        inner.dropped = laid_out.dropped();
        inner.state = State::Ready(laid_out);
        drop(inner);
        // Removes handles from the registry, which may sleep.
        drop(registration);
    }

    /// `KCOV_RESET_TRACE`: discards the records of the task that has enabled the descriptor, or of
    /// the sections that were recorded for it. Any task may call it.
    pub(crate) fn reset(&self, unused: usize) -> Result {
        let paused = task::pause();
        if unused != 0 {
            return Err(EINVAL);
        }
        let own = paused.has_local(Some(self));
        // The counts are reset first. A PC that is recorded after that stays in the trace, and may
        // be recorded a second time if its bit is cleared later.
        let inner = self.sink.inner.lock();
        let (rounds, words) = match &inner.state {
            State::Local(laid_out) if !own => {
                laid_out.reset_counts_of_other_task();
                (2, laid_out.set().words())
            }
            State::Local(laid_out) | State::Remote(laid_out, _) => {
                laid_out.reset_counts();
                (1, laid_out.set().words())
            }
            State::Fresh | State::Ready(_) => return Err(EINVAL),
        };
        drop(inner);
        // A hook of another task reads a word of the set, and stores it with one more bit. If it is
        // cleared in between, the old bits are there again, but not their records. The second round
        // clears these bits. The hooks that it comes across find only bits of PCs that are in the
        // trace.
        for _ in 0..rounds {
            self.clear_set(words);
        }
        Ok(())
    }

    /// Clears the first `words` words of the set, unless the descriptor is disabled.
    fn clear_set(&self, words: usize) {
        let mut left = words;
        while left > 0 {
            let inner = self.sink.inner.lock();
            let Some(laid_out) = inner.state.laid_out() else {
                break;
            };
            let from = left.saturating_sub(CLEAR_STEP);
            laid_out.set().clear(from, left - from);
            left = from;
        }
    }

    /// Returns the state in a form for users to read.
    pub(crate) fn summary(&self) -> Summary {
        let inner = self.sink.inner.lock();
        let laid_out = inner.state.laid_out();
        Summary {
            state: match inner.state {
                State::Fresh => "opened",
                State::Ready(_) => "ready",
                State::Local(_) => "enabled",
                State::Remote(..) => "remote",
            },
            mode: laid_out.map_or("none", |laid_out| laid_out.mode().name()),
            words: inner.state.buffer().map_or(0, |buffer| buffer.words()),
            handles: match &inner.state {
                State::Remote(_, registration) => registration.handles(),
                _ => 0,
            },
            dropped: laid_out.map_or(inner.dropped, |laid_out| laid_out.dropped()),
            lost_sections: self.sink.lost.load(Relaxed),
        }
    }
}

impl Sink {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- new_spinlock_irq!(Inner {
                state: State::Fresh,
                dropped: 0,
            }),
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
                let inner = self.inner.lock();
                let State::Remote(laid_out, current) = &inner.state else {
                    return;
                };
                if current.id() != registration {
                    return;
                }
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
            let inner = self.inner.lock();
            let State::Remote(laid_out, current) = &inner.state else {
                return;
            };
            if current.id() != registration {
                return;
            }
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
        let state = mem::replace(&mut self.0.inner.lock().state, State::Fresh);
        drop(state);
    }
}
