// SPDX-License-Identifier: GPL-2.0

//! Which descriptor collects which handle.
//!
//! Lookups happen at every start of a section, in all contexts, and take no lock. Changes come from
//! system calls and exiting tasks, and take one.

use super::{handle::HandleList, pool};
use crate::{descriptor::Descriptor, mode::Mode, session::Target, statistics};
use core::mem::ManuallyDrop;
use kernel::{
    prelude::*,
    sync::{
        rcu,
        rcu_table::{Entry, RcuTable, Writer},
        Arc, //
    },
};

/// One pointer each. A fuzzer has a handful of handles per process, so chains are short.
const BUCKETS: usize = 2048;

static TABLE: RcuTable<Attachment, BUCKETS> = RcuTable::new();

kernel::sync::global_lock! {
    // SAFETY: Initialized in `init`, which runs before the interface exists, and with it the first
    // registration.
    unsafe(uninit) static WRITER: Mutex<Option<Writer<Attachment, BUCKETS>>> = None;
}

/// What the handles of a request lead to.
pub(crate) struct Attachment {
    pub(crate) descriptor: Arc<Descriptor>,
    pub(crate) sequence: u64,
    pub(crate) mode: Mode,
    /// How many words a section of a task may use.
    pub(crate) words: usize,
}

impl Attachment {
    fn target(&self) -> Target {
        Target {
            descriptor: self.descriptor.clone(),
            sequence: self.sequence,
            mode: self.mode,
            words: self.words,
        }
    }
}

/// Prepares the registry for changes.
pub(crate) fn init() {
    init_lock();
    *WRITER.lock() = TABLE.writer();
}

#[expect(unsafe_code)]
fn init_lock() {
    // SAFETY: `init` is called once, at boot.
    unsafe { WRITER.init() };
}

/// Says whether it may be that somebody collects `handle`.
#[inline(always)]
pub(crate) fn may_contain(handle: u64) -> bool {
    TABLE.may_contain(handle)
}

/// Returns where records of a section with `handle` go, if somebody collects it.
pub(crate) fn find(handle: u64) -> Option<Target> {
    TABLE.get(handle, &rcu::read_lock()).map(Attachment::target)
}

/// Handles in the registry. They are taken out when the value is dropped, which sleeps.
pub(crate) struct Registration(ManuallyDrop<Entry<Attachment>>);

impl Registration {
    /// Puts all of `handles` into the registry, or none. Sleeps.
    ///
    /// The first handle that is malformed ([`EINVAL`]) or taken ([`EEXIST`]) decides about the
    /// error.
    pub(crate) fn new(attachment: Attachment, handles: &HandleList) -> Result<Self> {
        let mut writer = WRITER.lock();
        let writer = writer.as_mut().ok_or(ENODEV)?;
        let entry = writer.insert(attachment, handles.len(), handles.checked())?;
        statistics::handles_added(entry.keys());
        pool::open();
        Ok(Self(ManuallyDrop::new(entry)))
    }

    /// The number of handles.
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
