// SPDX-License-Identifier: GPL-2.0

//! Modes: decoding of the numbers of user space, and the hooks that a mode selects.

use super::*;

#[kunit_tests(kcov_modes)]
mod cases {
    use super::*;

    fn only_if(configured: bool, mode: Mode) -> Result<Mode> {
        if configured {
            Ok(mode)
        } else {
            Err(ENOTSUPP)
        }
    }

    #[test]
    fn modes_of_user_space() {
        assert_eq!(Mode::from_user(0), Ok(Mode::Pc));
        assert_eq!(Mode::from_user(1), only_if(COMPARISONS, Mode::Cmp));
        assert_eq!(Mode::from_user(2), Err(EINVAL));
        assert_eq!(Mode::from_user(3), Err(EINVAL));
        assert_eq!(Mode::from_user(4), Err(EINVAL));
        assert_eq!(Mode::from_user(1 << 32), Err(EINVAL));
        assert_eq!(Mode::from_user(usize::MAX), Err(EINVAL));
    }

    #[test]
    fn modes_of_remote_requests() {
        assert_eq!(Mode::from_remote_user(0), Ok(Mode::Pc));
        assert_eq!(Mode::from_remote_user(1), only_if(COMPARISONS, Mode::Cmp));
        assert_eq!(Mode::from_remote_user(2), only_if(UNIQUE, Mode::Unique));
        assert_eq!(Mode::from_remote_user(3), only_if(COMPARISONS, Mode::PcCmp));
        assert_eq!(Mode::from_remote_user(4), only_if(UNIQUE, Mode::Edge));
        assert_eq!(Mode::from_remote_user(5), Err(EINVAL));
        assert_eq!(Mode::from_remote_user(u32::MAX as usize), Err(EINVAL));
    }

    #[test]
    fn modes_of_commands() {
        assert_eq!(Mode::Pc.supported(), Ok(Mode::Pc));
        assert_eq!(Mode::Cmp.supported(), only_if(COMPARISONS, Mode::Cmp));
        assert_eq!(Mode::Unique.supported(), only_if(UNIQUE, Mode::Unique));
        assert_eq!(Mode::PcCmp.supported(), only_if(COMPARISONS, Mode::PcCmp));
        assert_eq!(Mode::Edge.supported(), only_if(UNIQUE, Mode::Edge));
    }

    #[test]
    fn hooks_of_modes() {
        // Bit 0 selects the hooks for PCs, bit 1 those for comparisons.
        assert_eq!(Mode::Pc.word(), 1);
        assert_eq!(Mode::Cmp.word(), 2);
        assert_eq!(Mode::Unique.word(), 1);
        assert_eq!(Mode::PcCmp.word(), 3);
        assert_eq!(Mode::Edge.word(), 1);
        assert!(Mode::Pc.is_plain());
        assert!(Mode::Cmp.is_plain());
        assert!(!Mode::Unique.is_plain());
        assert!(!Mode::PcCmp.is_plain());
        assert!(!Mode::Edge.is_plain());
    }
}
