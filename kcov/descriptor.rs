// SPDX-License-Identifier: GPL-2.0

//! One open file of the interface: its states, its lock, its lifetime.
//!
//! A descriptor is referred to by the open file, by the task that has enabled it, by the registry
//! of handles while it is enabled for remote sections, and by each section that records for it.

use crate::{
    buffer::{Buffer, Records},
    mode::Mode,
    remote::{
        handle::HandleList,
        registry::{Attachment, Registration}, //
    },
    session,
    statistics, //
};
use core::mem;
use kernel::{
    new_spinlock_irq,
    prelude::*,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        Arc,
        ArcBorrow,
        SpinLockIrq, //
    },
};

/// How many records are merged between two looks at the state. Bounds the time with interrupts off:
/// 32 KiB of comparisons, 8 KiB of PCs.
const MERGE_STEP: usize = 1024;

/// What a descriptor is used for.
enum State {
    /// Opened; there is no buffer yet.
    Fresh,
    /// There is a buffer that nobody records into.
    Ready(Arc<Buffer>),
    /// A task records what it does itself.
    Local(Arc<Buffer>),
    /// A task has sections recorded that run elsewhere.
    Remote(Arc<Buffer>, Registration),
}

impl State {
    fn buffer(&self) -> Option<&Arc<Buffer>> {
        match self {
            State::Fresh => None,
            State::Ready(buffer) | State::Local(buffer) | State::Remote(buffer, _) => Some(buffer),
        }
    }
}

struct Inner {
    state: State,
    /// Counts the times that the descriptor was disabled. Sections that started before don't merge
    /// any more.
    sequence: u64,
}

/// One open file.
#[pin_data]
pub(crate) struct Descriptor {
    #[pin]
    inner: SpinLockIrq<Inner>,
    /// Sections that were not recorded for lack of an area.
    lost: Atomic<u64>,
    _counted: statistics::CountedDescriptor,
}

/// The argument of `KCOV_REMOTE_ENABLE`.
pub(crate) struct RemoteRequest {
    pub(crate) mode: usize,
    /// How many words a section of a task may use.
    pub(crate) area_words: usize,
    pub(crate) handles: HandleList,
}

impl Descriptor {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                inner <- new_spinlock_irq!(Inner {
                    state: State::Fresh,
                    sequence: 1,
                }),
                lost: Atomic::new(0),
                _counted: statistics::CountedDescriptor::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// The buffer, if there is one.
    pub(crate) fn buffer(&self) -> Option<Arc<Buffer>> {
        self.inner.lock().state.buffer().cloned()
    }

    /// `KCOV_INIT_TRACE`: gives the descriptor a buffer of `words` words. Sleeps.
    pub(crate) fn init(&self, words: usize) -> Result {
        // Before the state, as the interface's table of errors has it.
        let buffer = Arc::new(Buffer::new(words)?, GFP_KERNEL)?;
        // `buffer` is declared before the guard, so that it is freed after the unlock.
        let mut inner = self.inner.lock();
        if !matches!(inner.state, State::Fresh) {
            return Err(EBUSY);
        }
        inner.state = State::Ready(buffer);
        Ok(())
    }

    /// `KCOV_ENABLE`: lets the current task record into the buffer.
    pub(crate) fn enable(self: ArcBorrow<'_, Self>, raw_mode: usize) -> Result {
        let mut paused = session::pause();
        let mut inner = self.inner.lock();
        let State::Ready(buffer) = &inner.state else {
            return Err(EINVAL);
        };
        if paused.has_local() {
            return Err(EBUSY);
        }
        let mode = Mode::from_user(raw_mode)?;
        let buffer = buffer.clone();
        inner.state = State::Local(buffer.clone());
        drop(inner);

        buffer.fault_in();
        paused.attach_local(self.into(), &buffer, mode);
        Ok(())
    }

    /// `KCOV_REMOTE_ENABLE`: has sections recorded that are started with any of the requested
    /// handles. Sleeps.
    pub(crate) fn remote_enable(self: ArcBorrow<'_, Self>, request: &RemoteRequest) -> Result {
        let mut paused = session::pause();
        let (mode, words, sequence) = {
            let inner = self.inner.lock();
            let State::Ready(buffer) = &inner.state else {
                return Err(EINVAL);
            };
            if paused.has_remote() {
                return Err(EBUSY);
            }
            // More than the buffer has room for can't be merged.
            let words = request.area_words.min(buffer.words());
            (Mode::from_user(request.mode)?, words, inner.sequence)
        };
        // Sections may start as soon as this returns. They merge once the state has changed.
        let registration = Registration::new(
            Attachment {
                descriptor: self.into(),
                sequence,
                mode,
                words,
            },
            &request.handles,
        )?;

        let mut inner = self.inner.lock();
        match mem::replace(&mut inner.state, State::Fresh) {
            State::Ready(buffer) if inner.sequence == sequence => {
                inner.state = State::Remote(buffer, registration);
            }
            // Another thread was faster. The registration is dropped after the unlock.
            other => {
                inner.state = other;
                return Err(EINVAL);
            }
        }
        drop(inner);
        paused.attach_remote(self.into(), request.handles.common());
        Ok(())
    }

    /// `KCOV_DISABLE`: undoes [`Descriptor::enable`] or [`Descriptor::remote_enable`] of the
    /// current task.
    pub(crate) fn disable(&self, unused: usize) -> Result {
        let mut paused = session::pause();
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

    /// Returns to [`State::Ready`], after the task has let go of the descriptor. Sleeps.
    pub(crate) fn leave(&self) {
        let mut inner = self.inner.lock();
        let Some(buffer) = inner.state.buffer().cloned() else {
            return;
        };
        inner.sequence = inner.sequence.wrapping_add(1);
        let left = mem::replace(&mut inner.state, State::Ready(buffer));
        drop(inner);
        // Takes handles out of the registry, which sleeps.
        drop(left);
    }

    /// Appends what a section recorded, unless the descriptor was disabled since the section
    /// started.
    pub(crate) fn merge(&self, sequence: u64, records: &Records<'_>) {
        let mut done = 0;
        while done < records.count() {
            let inner = self.inner.lock();
            let State::Remote(buffer, _) = &inner.state else {
                return;
            };
            if inner.sequence != sequence {
                return;
            }
            done += buffer.append(records, done, MERGE_STEP);
        }
    }

    /// Notes that a section was not recorded.
    pub(crate) fn lose_section(&self) {
        self.lost.add(1u64, Relaxed);
        statistics::section_lost();
    }

    /// The number of sections that were not recorded.
    pub(crate) fn lost_sections(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// What a person sees of the state: its name, the size of the buffer in words, the number of
    /// handles.
    pub(crate) fn summary(&self) -> (&'static str, usize, usize) {
        let inner = self.inner.lock();
        let words = inner.state.buffer().map_or(0, |buffer| buffer.words());
        match &inner.state {
            State::Fresh => ("opened", words, 0),
            State::Ready(_) => ("ready", words, 0),
            State::Local(_) => ("enabled", words, 0),
            State::Remote(_, registration) => ("remote", words, registration.handles()),
        }
    }
}
