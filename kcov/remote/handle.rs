// SPDX-License-Identifier: GPL-2.0

//! Handles: what names a section. The top byte is the subsystem, the lower four bytes are the
//! instance.

use kernel::{bindings, prelude::*};

/// The values are taken apart by hand, as bindgen does not know those of the header's `ull`
/// constants.
const SUBSYSTEM_SHIFT: u32 = 56;
const INSTANCE_MASK: u64 = u32::MAX as u64;
const SUBSYSTEM_COMMON: u64 = 0x00;
const SUBSYSTEM_USB: u64 = 0x01;

/// The largest number of handles in one request, without the common one.
pub(crate) const MAX_HANDLES: usize = bindings::KCOV_REMOTE_MAX_HANDLES as usize;

/// A well-formed handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handle {
    /// Names nothing: who starts a section has no handle to offer.
    None,
    /// Names the sections that work for one task and its children.
    Common(u64),
    /// Names the sections of one instance of a subsystem.
    Global(u64),
}

impl Handle {
    /// Takes a raw handle for what it is; nothing if it is malformed.
    #[inline(always)]
    pub(crate) fn parse(raw: u64) -> Option<Self> {
        if raw & !(0xff << SUBSYSTEM_SHIFT | INSTANCE_MASK) != 0 {
            return None;
        }
        match raw >> SUBSYSTEM_SHIFT {
            SUBSYSTEM_COMMON if raw == 0 => Some(Handle::None),
            SUBSYSTEM_COMMON => Some(Handle::Common(raw)),
            SUBSYSTEM_USB => Some(Handle::Global(raw)),
            _ => None,
        }
    }
}

/// The handles of a request, still unchecked.
pub(crate) struct HandleList {
    global: KVec<u64>,
    common: u64,
}

impl HandleList {
    pub(crate) fn new(global: KVec<u64>, common: u64) -> Self {
        Self { global, common }
    }

    /// The number of handles at the most.
    pub(crate) fn len(&self) -> usize {
        self.global.len() + 1
    }

    /// The common handle; 0 if there is none.
    pub(crate) fn common(&self) -> u64 {
        self.common
    }

    /// The handles in the order in which they are to be checked, each with its verdict.
    pub(crate) fn checked(&self) -> impl Iterator<Item = Result<u64>> + '_ {
        let global = self.global.iter().map(|&raw| match Handle::parse(raw) {
            Some(Handle::Global(raw)) => Ok(raw),
            _ => Err(EINVAL),
        });
        let common = (self.common != 0).then(|| match Handle::parse(self.common) {
            Some(Handle::Common(raw)) => Ok(raw),
            _ => Err(EINVAL),
        });
        Iterator::chain(global, common)
    }
}
