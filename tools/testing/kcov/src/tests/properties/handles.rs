// SPDX-License-Identifier: GPL-2.0

//! Handles: every number is a handle or is rejected.

use crate::remote::handle::{Handle, HandleList};
use kernel::prelude::*;
use proptest::{collection::vec, prelude::*};

fn raw() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        any::<u32>().prop_map(u64::from),
        (0..4_u64, any::<u32>())
            .prop_map(|(subsystem, instance)| subsystem << 56 | u64::from(instance)),
        (0..64_u32, 0..64_u32).prop_map(|(one, other)| 1 << one | 1 << other),
        Just(0),
    ]
}

/// The header's words: the top byte is the subsystem, the lower four bytes are the instance.
fn expected(raw: u64) -> Option<Handle> {
    let bytes = raw.to_be_bytes();
    match (bytes[0], &bytes[1..4]) {
        (0, [0, 0, 0]) if raw == 0 => Some(Handle::None),
        (0, [0, 0, 0]) => Some(Handle::Common(raw)),
        (1, [0, 0, 0]) => Some(Handle::Global(raw)),
        _ => None,
    }
}

fn key(handle: Handle) -> Option<u64> {
    handle.key().map(|key| key.raw())
}

proptest! {
    #[test]
    fn every_number_is_decoded(raw in raw()) {
        let handle = Handle::parse(raw);
        prop_assert_eq!(handle, expected(raw));
        // A decoded number is encoded as it was.
        if let Some(handle) = handle {
            prop_assert_eq!(key(handle).unwrap_or(0), raw);
        }
    }

    #[test]
    fn lists(global in vec(raw(), 0..20), common in raw()) {
        let mut list = KVec::new();
        for &raw in &global {
            list.push(raw, GFP_KERNEL).unwrap();
        }
        let list = HandleList::new(list, common);
        let keys: Vec<Result<u64>> = list.keys().map(|key| key.map(|key| key.raw())).collect();
        let mut wanted: Vec<Result<u64>> = global
            .iter()
            .map(|&raw| if raw >> 56 == 1 && raw << 8 >> 40 == 0 { Ok(raw) } else { Err(EINVAL) })
            .collect();
        if common != 0 {
            wanted.push(if common <= u64::from(u32::MAX) { Ok(common) } else { Err(EINVAL) });
        }
        prop_assert!(keys.len() <= list.len());
        prop_assert_eq!(keys, wanted);
        prop_assert_eq!(list.common(), common);
    }
}
