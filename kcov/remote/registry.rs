// SPDX-License-Identifier: GPL-2.0

//! The table of handles and of the descriptors that collect them.
//!
//! Every start of a section looks its handle up, in all contexts, without a lock. System calls and
//! exiting tasks change the table, under a lock.

use super::{
    handle::{HandleList, Key},
    pool, //
};
use crate::{descriptor::Sink, mode::Mode, recording::Target, statistics};
use core::mem::ManuallyDrop;
use kernel::{
    prelude::*,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        rcu,
        rcu_table::{Entry, NewEntry, RcuTable, Writer},
        Arc, //
    },
};

/// The number of buckets, one pointer each. A fuzzer has a handful of handles per process, so
/// chains are short.
const BUCKETS: usize = 2048;

static TABLE: RcuTable<Attachment, BUCKETS> = RcuTable::new();

kernel::sync::global_lock! {
    // SAFETY: `init` initializes it, and runs before the interface exists and the first
    // registration can be made.
    unsafe(uninit) static WRITER: Mutex<Option<Writer<Attachment, BUCKETS>>> = None;
}

/// The value that is registered with the handles of a request.
pub(crate) struct Attachment {
    sink: Arc<Sink>,
    id: u64,
    mode: Mode,
    /// The number of words that a section of a task may use.
    words: usize,
}

impl Attachment {
    pub(crate) fn new(sink: Arc<Sink>, mode: Mode, words: usize) -> Self {
        static NEXT_ID: Atomic<u64> = Atomic::new(0);
        Self {
            sink,
            id: NEXT_ID.fetch_add(1u64, Relaxed),
            mode,
            words,
        }
    }
}

/// Prepares the registry for changes.
#[expect(unsafe_code)]
pub(crate) fn init() {
    // SAFETY: Called once, at boot.
    unsafe { WRITER.init() };
    // SAFETY: KCOV is built into the kernel.
    *WRITER.lock() = unsafe { TABLE.writer() };
}

/// Returns whether a descriptor may be collecting `key`; false positives are possible.
#[inline(always)]
pub(crate) fn may_contain(key: Key) -> bool {
    TABLE.may_contain(key.raw())
}

/// Returns the destination of the records of a section with `key`; `None` if no descriptor collects
/// `key`.
///
/// The sink is looked up again when the section has records to merge. Therefore a section holds no
/// reference to the sink, and sections of one descriptor on several CPUs do not share a reference
/// count.
#[inline(always)]
pub(crate) fn find(key: Key) -> Option<Target> {
    TABLE
        .get(key.raw(), &rcu::read_lock())
        .map(|attachment| Target {
            key,
            registration: attachment.id,
            mode: attachment.mode,
            words: attachment.words,
        })
}

/// Returns the sink that a section records for; `None` if the descriptor has been disabled since
/// the section started.
pub(crate) fn sink(target: &Target) -> Option<Arc<Sink>> {
    let guard = rcu::read_lock();
    let attachment = TABLE.get(target.key.raw(), &guard)?;
    (attachment.id == target.registration).then(|| attachment.sink.clone())
}

/// Handles in the registry. Dropping the value removes them, which may sleep.
pub(crate) struct Registration(ManuallyDrop<Entry<Attachment, BUCKETS>>);

impl Registration {
    /// Puts all of `handles` into the registry, or none. May sleep.
    ///
    /// The first handle that is malformed ([`EINVAL`]) or taken ([`EEXIST`]) determines the error.
    /// [`ENOMEM`] if memory is short.
    pub(crate) fn new(attachment: Attachment, handles: &HandleList) -> Result<Self> {
        // Allocates before it takes the lock: an exiting task takes the lock too, and must not wait
        // for memory.
        let new = NewEntry::new(attachment, handles.len())?;
        let mut writer = WRITER.lock();
        let writer = writer.as_mut().ok_or(ENODEV)?;
        let entry = writer.insert(new, handles.keys().map(|key| key.map(Key::raw)))?;
        statistics::handles_added(entry.keys());
        pool::open();
        Ok(Self(ManuallyDrop::new(entry)))
    }

    /// Returns a number that no other registration has.
    pub(crate) fn id(&self) -> u64 {
        self.0.value().id
    }

    /// Returns the number of handles.
    pub(crate) fn handles(&self) -> usize {
        self.0.keys()
    }
}

impl Drop for Registration {
    #[expect(unsafe_code)]
    fn drop(&mut self) {
        statistics::handles_removed(self.handles());
        // SAFETY: The value is not used again.
        let entry = unsafe { ManuallyDrop::take(&mut self.0) };
        if let Some(writer) = WRITER.lock().as_mut() {
            writer.remove(entry);
        }
        pool::close();
    }
}
