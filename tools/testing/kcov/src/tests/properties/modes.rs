// SPDX-License-Identifier: GPL-2.0

//! Modes: every number is a mode or an error.

use crate::mode::Mode;
use kernel::prelude::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_number_is_decoded(raw in prop_oneof![0..8_usize, any::<usize>()]) {
        let (local, remote) = match raw {
            0 => (Ok(Mode::Pc), Ok(Mode::Pc)),
            1 => (Ok(Mode::Cmp), Ok(Mode::Cmp)),
            2 => (Err(EINVAL), Ok(Mode::Unique)),
            3 => (Err(EINVAL), Ok(Mode::PcCmp)),
            4 => (Err(EINVAL), Ok(Mode::Edge)),
            _ => (Err(EINVAL), Err(EINVAL)),
        };
        prop_assert_eq!(Mode::from_user(raw), local);
        prop_assert_eq!(Mode::from_remote_user(raw), remote);
    }
}
