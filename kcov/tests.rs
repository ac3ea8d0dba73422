// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of what can be tested without a traced task: modes, layouts, handles.

#![expect(unsafe_code)]

use crate::{
    area::Area,
    buffer::{Buffer, LaidOutBuffer},
    layout::Layout,
    memory::Memory,
    mode::Mode,
    recorder::Recorder,
    records::{Comparison, Kind},
    remote::handle::{Handle, HandleList},
    set::{position, start as set_start},
};
use kernel::{prelude::*, sync::Arc};

/// Counts that user space may have written: all that once went wrong somewhere, and some around
/// them.
const FORGED: [u64; 10] = [
    3,
    4,
    u32::MAX as u64,
    (1 << 58) - 1,
    1 << 58,
    (1 << 59) - 1,
    1 << 59,
    1 << 61,
    1 << 63,
    u64::MAX,
];

/// Lays out all but the last of `words`.
fn lay_out<const N: usize>(words: &mut [u64; N], mode: Mode, front: usize) -> Result<Layout> {
    // SAFETY: The words outlive the layout in all tests, which are for 64-bit kernels.
    let memory = unsafe { Memory::new(words.as_mut_ptr().cast(), N - 1) };
    Layout::of_buffer(mode, memory, front)
}

/// Records through a layout as the hooks do.
fn recorder<'a>(layout: &'a Layout, mode: Mode) -> Recorder<impl Fn() -> &'a Layout + use<'a>> {
    let (start, capacity) = layout.fast_path(mode);
    // SAFETY: Where a layout says that there is room, there is.
    unsafe { Recorder::new(start, capacity, move || layout) }
}

/// Records one comparison.
fn push(layout: &Layout, mode: Mode, arg1: u64) {
    recorder(layout, mode).push_comparison(Comparison {
        kind: 7,
        arg1,
        arg2: 2,
        pc: 3,
    });
}

/// Returns the first forged count with which `record` writes anything past the count.
fn written_with_forged_count<const N: usize>(
    mode: Mode,
    kind: Kind,
    record: impl Fn(&Layout),
) -> Option<u64> {
    let full = kind.capacity(N - 1) as u64;
    FORGED
        .into_iter()
        .filter(|&count| count >= full)
        .find(|&count| {
            let mut words = [0; N];
            words[0] = count;
            let Ok(layout) = lay_out(&mut words, mode, 0) else {
                return true;
            };
            record(&layout);
            layout.dropped() != 1 || words[0] != count || words[1..].iter().any(|&word| word != 0)
        })
}

/// Merges an area with two PCs into a buffer with a count; returns the count afterwards, and how
/// many did not fit.
fn merged(words: usize, count: u64) -> Result<(u64, usize)> {
    let buffer = Arc::new(Buffer::new(words)?, GFP_KERNEL)?;
    let start = buffer.start().cast::<u64>();
    let buffer = LaidOutBuffer::new(buffer, Mode::Pc, 0)?;
    let mut area = Area::new(16, GFP_KERNEL)?;
    area.lay_out(Mode::Pc, 16);
    recorder(area.layout(), Mode::Pc).push_pc(1);
    recorder(area.layout(), Mode::Pc).push_pc(2);
    // SAFETY: The count is at the start of the buffer.
    unsafe { start.write_volatile(count) };
    // SAFETY: Nobody else uses the area.
    let records = unsafe { area.layout().records(Kind::Pc) };
    let mut done = 0;
    while done < records.count() {
        done += buffer.append(&records, done, 1);
    }
    // SAFETY: As above.
    Ok((unsafe { start.read_volatile() }, buffer.dropped()))
}

/// Returns the raw handles that pass the check, or the error.
fn checked(global: &[u64], common: u64) -> Result<KVec<u64>> {
    let mut list = KVec::new();
    list.extend_from_slice(global, GFP_KERNEL)?;
    let mut passed = KVec::new();
    for handle in HandleList::new(list, common).keys() {
        passed.push(handle?.raw(), GFP_KERNEL)?;
    }
    Ok(passed)
}

#[kunit_tests(kcov_rust)]
mod cases {
    use super::*;

    #[test]
    fn modes_of_user_space() {
        assert_eq!(Mode::from_user(0), Ok(Mode::Pc));
        if cfg!(CONFIG_KCOV_ENABLE_COMPARISONS) {
            assert_eq!(Mode::from_user(1), Ok(Mode::Cmp));
        } else {
            assert_eq!(Mode::from_user(1), Err(ENOTSUPP));
        }
        assert_eq!(Mode::from_user(2), Err(EINVAL));
        assert_eq!(Mode::from_user(usize::MAX), Err(EINVAL));
    }

    #[test]
    fn modes_of_remote_requests() {
        assert_eq!(Mode::from_remote_user(0), Ok(Mode::Pc));
        assert_eq!(Mode::from_remote_user(2), Mode::Unique.supported());
        assert_eq!(Mode::from_remote_user(3), Mode::PcCmp.supported());
        assert_eq!(Mode::from_remote_user(4), Err(EINVAL));
    }

    #[test]
    fn capacities() {
        assert_eq!(Kind::Pc.capacity(0), 0);
        assert_eq!(Kind::Pc.capacity(1), 0);
        assert_eq!(Kind::Pc.capacity(2), 1);
        assert_eq!(Kind::Pc.capacity(512), 511);
        assert_eq!(Kind::Comparison.capacity(0), 0);
        assert_eq!(Kind::Comparison.capacity(4), 0);
        assert_eq!(Kind::Comparison.capacity(5), 1);
        assert_eq!(Kind::Comparison.capacity(8), 1);
        assert_eq!(Kind::Comparison.capacity(9), 2);
        assert_eq!(Kind::Comparison.capacity(512), 127);
    }

    #[test]
    fn layouts() {
        const UNIQUE: bool = cfg!(CONFIG_KCOV_UNIQUE);
        let mut words = [0u64; 11];
        let mut fits = |mode, front| lay_out(&mut words, mode, front).is_ok();
        assert!(!fits(Mode::Unique, 0));
        assert_eq!(fits(Mode::Unique, 1), UNIQUE);
        assert_eq!(fits(Mode::Unique, 8), UNIQUE);
        assert!(!fits(Mode::Unique, 9));
        assert!(!fits(Mode::Unique, 10));
        assert!(!fits(Mode::Unique, 11));
        assert!(!fits(Mode::Unique, usize::MAX));
        // A count and a PC in front, a count and a comparison behind.
        assert!(!fits(Mode::PcCmp, 0));
        assert!(!fits(Mode::PcCmp, 1));
        assert!(fits(Mode::PcCmp, 2));
        assert!(fits(Mode::PcCmp, 5));
        assert!(!fits(Mode::PcCmp, 6));
        assert!(!fits(Mode::PcCmp, usize::MAX));
    }

    #[test]
    fn pcs_until_full() {
        let mut words = [0u64; 4];
        let layout = lay_out(&mut words, Mode::Pc, 0).unwrap_or(Layout::nothing());
        for _ in 0..5 {
            recorder(&layout, Mode::Pc).push_pc(0);
        }
        assert_eq!(layout.dropped(), 3);
        assert_eq!(words[0], 2);
        assert_eq!(words[3], 0);
        // PCs are canonical, so that a 0 is not recorded as 0 if the kernel was moved; but all are
        // alike.
        assert_eq!(words[1], words[2]);
    }

    #[test]
    fn comparisons_until_full() {
        // The count, two records, and three words too few for another.
        let mut words = [0u64; 13];
        let layout = lay_out(&mut words, Mode::Cmp, 0).unwrap_or(Layout::nothing());
        push(&layout, Mode::Cmp, 10);
        push(&layout, Mode::Cmp, 11);
        push(&layout, Mode::Cmp, 12);
        assert_eq!(layout.dropped(), 1);
        assert_eq!(words[0], 2);
        assert_eq!(words[1], 7);
        assert_eq!(words[2], 10);
        assert_eq!(words[3], 2);
        assert_eq!(words[5], 7);
        assert_eq!(words[6], 11);
        assert_eq!(words[4], words[8]);
        assert_eq!(words[9..], [0, 0, 0, 0]);
    }

    #[test]
    fn cases_until_full() {
        let mut words = [0u64; 10];
        let layout = lay_out(&mut words, Mode::Cmp, 0).unwrap_or(Layout::nothing());
        let cases = [5u64, 6, 7];
        // SAFETY: There are three cases.
        unsafe { recorder(&layout, Mode::Cmp).push_cases(1, 9, cases.as_ptr(), 3, 0) };
        assert_eq!(layout.dropped(), 1);
        assert_eq!(words[0], 2);
        assert_eq!(words[1..4], [1, 5, 9]);
        assert_eq!(words[5..8], [1, 6, 9]);
        assert_eq!(words[9], 0);
        // SAFETY: No case is looked at.
        unsafe { recorder(&layout, Mode::Cmp).push_cases(1, 9, cases.as_ptr(), 0, 0) };
        assert_eq!(words[0], 2);
    }

    #[test]
    fn both_kinds() {
        let mut words = [0u64; 14];
        let layout = lay_out(&mut words, Mode::PcCmp, 3).unwrap_or(Layout::nothing());
        for number in 0..3 {
            recorder(&layout, Mode::PcCmp).push_pc(number);
            push(&layout, Mode::PcCmp, number as u64);
        }
        // Two PCs and two comparisons had room.
        assert_eq!(layout.dropped(), 2);
        assert_eq!(words[0], 2);
        assert_eq!(words[2].wrapping_sub(words[1]), 1);
        assert_eq!(words[3], 2);
        assert_eq!(words[4..7], [7, 0, 2]);
        assert_eq!(words[8..11], [7, 1, 2]);
        assert_eq!(words[12..], [0, 0]);
    }

    #[test]
    fn positions() {
        let start = set_start();
        assert_eq!(position(start), 0);
        assert_eq!(position(start + 3), 0);
        assert_eq!(position(start + 4), 1);
        assert_eq!(position(start + 0x1000), 0x400);
    }

    #[test]
    fn forged_counts() {
        let case = [1u64];
        assert_eq!(
            written_with_forged_count::<5>(Mode::Pc, Kind::Pc, |layout| {
                recorder(layout, Mode::Pc).push_pc(1)
            }),
            None
        );
        assert_eq!(
            written_with_forged_count::<10>(Mode::Cmp, Kind::Comparison, |layout| {
                push(layout, Mode::Cmp, 1)
            }),
            None
        );
        assert_eq!(
            written_with_forged_count::<10>(Mode::Cmp, Kind::Comparison, |layout| {
                // SAFETY: There is one case.
                unsafe { recorder(layout, Mode::Cmp).push_cases(1, 1, case.as_ptr(), 1, 1) }
            }),
            None
        );
    }

    #[test]
    fn merges() {
        assert_eq!(merged(8, 0), Ok((2, 0)));
        assert_eq!(merged(8, 5), Ok((7, 0)));
        assert_eq!(merged(8, 6), Ok((7, 1)));
        assert_eq!(merged(8, 7), Ok((7, 2)));
        assert_eq!(merged(8, 8), Ok((8, 2)));
        assert_eq!(merged(8, 1 << 61), Ok((1 << 61, 2)));
        assert_eq!(merged(8, u64::MAX), Ok((u64::MAX, 2)));
        assert_eq!(merged(2, 0), Ok((1, 1)));
    }

    #[test]
    fn buffer_sizes() {
        assert_eq!(Buffer::new(0).err(), Some(EINVAL));
        assert_eq!(Buffer::new(1).err(), Some(EINVAL));
        assert_eq!(Buffer::new(2).map(|buffer| buffer.bytes()), Ok(16));
        assert_eq!(Buffer::new(i32::MAX as usize / 8 + 1).err(), Some(EINVAL));
        assert_eq!(Buffer::new(usize::MAX).err(), Some(EINVAL));
    }

    #[test]
    fn handles() {
        assert_eq!(Handle::parse(0), Some(Handle::None));
        assert_eq!(Handle::parse(1), Some(Handle::Common(1)));
        assert_eq!(
            Handle::parse(0xffff_ffff),
            Some(Handle::Common(0xffff_ffff))
        );
        assert_eq!(Handle::parse(1 << 32), None);
        assert_eq!(Handle::parse(1 << 55), None);
        assert_eq!(Handle::parse(1 << 56), Some(Handle::Global(1 << 56)));
        assert_eq!(
            Handle::parse(1 << 56 | 3),
            Some(Handle::Global(1 << 56 | 3))
        );
        assert_eq!(Handle::parse(2 << 56), None);
        assert_eq!(Handle::parse(u64::MAX), None);
    }

    #[test]
    fn handle_lists() {
        const USB: u64 = 1 << 56;
        assert_eq!(checked(&[], 0).map(|list| list.len()), Ok(0));
        assert_eq!(checked(&[USB, USB | 1], 5).map(|list| list.len()), Ok(3));
        assert_eq!(checked(&[], USB).err(), Some(EINVAL));
        assert_eq!(checked(&[5], 0).err(), Some(EINVAL));
        assert_eq!(checked(&[0], 0).err(), Some(EINVAL));
        assert_eq!(checked(&[USB | 1 << 40], 0).err(), Some(EINVAL));
    }
}
