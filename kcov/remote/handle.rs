// SPDX-License-Identifier: GPL-2.0

//! Handles, which name remote sections: the top byte is the subsystem, the lower four bytes are the
//! instance.

use kernel::{bindings, prelude::*};

/// The header's constants, repeated as numbers: bindgen does not evaluate constants with the suffix
/// `ull`.
const SUBSYSTEM_SHIFT: u32 = 56;
const INSTANCE_MASK: u64 = u32::MAX as u64;
const SUBSYSTEM_COMMON: u64 = 0x00;
const SUBSYSTEM_USB: u64 = 0x01;

/// The largest number of handles in one request, not counting the common handle.
pub(crate) const MAX_HANDLES: usize = bindings::KCOV_REMOTE_MAX_HANDLES as usize;

/// A well-formed handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handle {
    /// Names no section: the code that started the section had no handle.
    None,
    /// Names the sections that work for one task and its children.
    Common(u64),
    /// Names the sections of one instance of a subsystem.
    Global(u64),
}

/// A handle that a descriptor can collect: any well-formed handle except [`Handle::None`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(u64);

impl Key {
    /// Returns the raw handle.
    #[inline(always)]
    pub(crate) fn raw(self) -> u64 {
        self.0
    }
}

impl Handle {
    /// Decodes a raw handle; `None` if it is malformed.
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

    /// Returns the key; `None` for [`Handle::None`].
    #[inline(always)]
    pub(crate) fn key(self) -> Option<Key> {
        match self {
            Handle::None => None,
            Handle::Common(raw) | Handle::Global(raw) => Some(Key(raw)),
        }
    }
}

/// The handles of a request, not yet checked.
pub(crate) struct HandleList {
    global: KVec<u64>,
    common: u64,
}

impl HandleList {
    pub(crate) fn new(global: KVec<u64>, common: u64) -> Self {
        Self { global, common }
    }

    /// Returns the largest number of keys that the list can have.
    pub(crate) fn len(&self) -> usize {
        self.global.len() + 1
    }

    /// Returns the common handle; 0 if the request has none.
    pub(crate) fn common(&self) -> u64 {
        self.common
    }

    /// Returns the keys in the order in which they must be checked; an [`EINVAL`] in place of each
    /// handle that is malformed.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Result<Key>> + '_ {
        let global = self.global.iter().map(|&raw| match Handle::parse(raw) {
            Some(Handle::Global(raw)) => Ok(Key(raw)),
            _ => Err(EINVAL),
        });
        let common = (self.common != 0).then(|| match Handle::parse(self.common) {
            Some(Handle::Common(raw)) => Ok(Key(raw)),
            _ => Err(EINVAL),
        });
        Iterator::chain(global, common)
    }
}
