// SPDX-License-Identifier: GPL-2.0

//! The state of a descriptor: its buffer, and the recording for which it is enabled.

#![deny(unsafe_code)]

use crate::{
    buffer::{Buffer, LaidOutBuffer},
    remote::registry::Registration,
    statistics,
    task::elsewhere::Pointer, //
};
use core::mem;
use kernel::{prelude::*, sync::Arc};

/// The recording for which a descriptor is enabled.
pub(super) enum Recording {
    Nothing,
    /// A task records its own calls into the buffer.
    Local,
    /// Remote sections record into the buffer on behalf of a task.
    Remote(Registration),
}

/// The state of a descriptor.
///
/// # Invariants
///
/// A descriptor without a buffer records nothing. While it records, the buffer and its layout
/// stay, and nothing but the recording changes the layout.
pub(super) struct State {
    /// The buffer; its last layout has no meaning if nothing is recorded.
    buffer: Option<KBox<LaidOutBuffer>>,
    recording: Recording,
    /// The number of records that had not fitted when the descriptor was last disabled.
    dropped: usize,
    /// The task that has enabled the descriptor, if it is enabled.
    owner: Pointer,
    /// True while a task prepares the buffer without the lock, to enable the descriptor.
    claimed: bool,
}

impl State {
    /// Returns the state after open.
    pub(super) const fn fresh() -> Self {
        Self {
            buffer: None,
            recording: Recording::Nothing,
            dropped: 0,
            owner: Pointer::none(),
            claimed: false,
        }
    }

    pub(super) fn buffer(&self) -> Option<&Arc<Buffer>> {
        self.buffer.as_ref().map(|laid_out| laid_out.buffer())
    }

    /// Gives the descriptor its buffer, and leaves nothing in `buffer`. Returns [`EBUSY`] if it has
    /// one. Frees nothing.
    pub(super) fn init(&mut self, buffer: &mut Option<KBox<LaidOutBuffer>>) -> Result {
        if self.buffer.is_some() {
            return Err(EBUSY);
        }
        mem::swap(&mut self.buffer, buffer);
        Ok(())
    }

    /// Takes the buffer away from a descriptor that records nothing any more.
    pub(super) fn take_buffer(&mut self) -> Option<KBox<LaidOutBuffer>> {
        self.buffer.take()
    }

    /// Returns the buffer if the descriptor can be enabled; [`EINVAL`] if it has no buffer, or a
    /// task has enabled it or is about to.
    #[inline(always)]
    pub(super) fn ready(&mut self) -> Result<&mut LaidOutBuffer> {
        match (&mut self.buffer, &self.recording) {
            (Some(laid_out), Recording::Nothing) if !self.claimed => Ok(laid_out),
            _ => Err(EINVAL),
        }
    }

    pub(super) fn claim(&mut self, claimed: bool) {
        self.claimed = claimed;
    }

    /// Returns the buffer with its layout, and what is recorded; `None` if nothing is.
    pub(super) fn recording(&self) -> Option<(&LaidOutBuffer, &Recording)> {
        match (&self.buffer, &self.recording) {
            (_, Recording::Nothing) | (None, _) => None,
            (Some(laid_out), recording) => Some((laid_out, recording)),
        }
    }

    /// Returns the buffer with its layout if the given registration is recorded.
    #[inline(always)]
    pub(super) fn of_registration(&self, id: u64) -> Option<&LaidOutBuffer> {
        match &self.recording {
            Recording::Remote(current) if current.id() == id => self.buffer.as_deref(),
            _ => None,
        }
    }

    /// Starts a recording for the current task. The descriptor is ready.
    #[inline(always)]
    pub(super) fn start(&mut self, recording: Recording) {
        self.recording = recording;
        self.owner = Pointer::current();
    }

    /// Ends the recording, if there is one. The caller must drop the result without the lock.
    #[inline(always)]
    pub(super) fn end(&mut self) -> Recording {
        if let Some((laid_out, _)) = self.recording() {
            self.dropped = laid_out.dropped();
            statistics::records_dropped(self.dropped);
        }
        mem::replace(&mut self.recording, Recording::Nothing)
    }

    /// Returns a pointer to the task that has enabled the descriptor, if it is enabled.
    pub(super) fn owner(&self) -> &Pointer {
        &self.owner
    }

    /// Returns the number of records that did not fit since the last enable or reset.
    pub(super) fn dropped(&self) -> usize {
        match self.recording() {
            Some((laid_out, _)) => laid_out.dropped(),
            None => self.dropped,
        }
    }

    /// Returns the name of the state for users.
    pub(super) fn name(&self) -> &'static str {
        match (&self.buffer, &self.recording) {
            (None, _) => "opened",
            (Some(_), Recording::Nothing) => "ready",
            (Some(_), Recording::Local) => "enabled",
            (Some(_), Recording::Remote(_)) => "remote",
        }
    }
}
