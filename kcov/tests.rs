// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of what can be tested without a traced task: modes, layouts, handles.

#![expect(unsafe_code)]

use crate::{
    area::Area,
    buffer::{Buffer, Comparison, Recorder},
    mode::Mode,
    remote::handle::{Handle, HandleList},
};
use kernel::prelude::*;

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

/// A recorder for `words`, of which the last is left out of its capacity.
fn recorder<const N: usize>(words: &mut [u64; N], mode: Mode) -> Recorder {
    // SAFETY: The capacity is that of the words without the last. The tests are for 64-bit kernels.
    unsafe { Recorder::new(words.as_mut_ptr().cast(), mode.capacity(N - 1)) }
}

/// Records one comparison.
fn push(recorder: Recorder, arg1: u64) {
    recorder.push_comparison(Comparison {
        kind: 7,
        arg1,
        arg2: 2,
        pc: 3,
    });
}

/// Returns the first forged count with which `record` writes anything past the count.
fn written_with_forged_count<const N: usize>(mode: Mode, record: impl Fn(Recorder)) -> Option<u64> {
    let full = mode.capacity(N - 1) as u64;
    FORGED
        .into_iter()
        .filter(|&count| count >= full)
        .find(|&count| {
            let mut words = [0; N];
            words[0] = count;
            record(recorder(&mut words, mode));
            words[0] != count || words[1..].iter().any(|&word| word != 0)
        })
}

/// Merges an area with two PCs into a buffer with a count; returns the count afterwards.
fn merged_count(words: usize, count: u64) -> Result<u64> {
    let buffer = Buffer::new(words)?;
    let mut area = Area::new(16)?;
    let start = area.reset();
    // SAFETY: The area has room for 16 words.
    let recorder = unsafe { Recorder::new(start, Mode::Pc.capacity(16)) };
    recorder.push_pc(1);
    recorder.push_pc(2);
    // SAFETY: The count is at the start of the buffer.
    unsafe { buffer.start().cast::<u64>().write_volatile(count) };
    let records = area.records(Mode::Pc, 16);
    let mut done = 0;
    while done < records.count() {
        done += buffer.append(&records, done, 1);
    }
    // SAFETY: As above.
    Ok(unsafe { buffer.start().cast::<u64>().read_volatile() })
}

/// Returns the raw handles that pass the check, or the error.
fn checked(global: &[u64], common: u64) -> Result<KVec<u64>> {
    let mut list = KVec::new();
    list.extend_from_slice(global, GFP_KERNEL)?;
    let mut passed = KVec::new();
    for handle in HandleList::new(list, common).checked() {
        passed.push(handle?, GFP_KERNEL)?;
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
    fn capacities() {
        assert_eq!(Mode::Pc.capacity(0), 0);
        assert_eq!(Mode::Pc.capacity(1), 0);
        assert_eq!(Mode::Pc.capacity(2), 1);
        assert_eq!(Mode::Pc.capacity(512), 511);
        assert_eq!(Mode::Cmp.capacity(0), 0);
        assert_eq!(Mode::Cmp.capacity(4), 0);
        assert_eq!(Mode::Cmp.capacity(5), 1);
        assert_eq!(Mode::Cmp.capacity(8), 1);
        assert_eq!(Mode::Cmp.capacity(9), 2);
        assert_eq!(Mode::Cmp.capacity(512), 127);
    }

    #[test]
    fn pcs_until_full() {
        let mut words = [0u64; 4];
        let recorder = recorder(&mut words, Mode::Pc);
        for _ in 0..5 {
            recorder.push_pc(0);
        }
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
        let recorder = recorder(&mut words, Mode::Cmp);
        push(recorder, 10);
        push(recorder, 11);
        push(recorder, 12);
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
        let recorder = recorder(&mut words, Mode::Cmp);
        let cases = [5u64, 6, 7];
        // SAFETY: There are three cases.
        unsafe { recorder.push_cases(1, 9, cases.as_ptr(), 3, 0) };
        assert_eq!(words[0], 2);
        assert_eq!(words[1..4], [1, 5, 9]);
        assert_eq!(words[5..8], [1, 6, 9]);
        assert_eq!(words[9], 0);
        // SAFETY: No case is looked at.
        unsafe { recorder.push_cases(1, 9, cases.as_ptr(), 0, 0) };
        assert_eq!(words[0], 2);
    }

    #[test]
    fn forged_counts() {
        let case = [1u64];
        assert_eq!(
            written_with_forged_count::<5>(Mode::Pc, |recorder| recorder.push_pc(1)),
            None
        );
        assert_eq!(
            written_with_forged_count::<10>(Mode::Cmp, |recorder| push(recorder, 1)),
            None
        );
        assert_eq!(
            written_with_forged_count::<10>(Mode::Cmp, |recorder| {
                // SAFETY: There is one case.
                unsafe { recorder.push_cases(1, 1, case.as_ptr(), 1, 1) }
            }),
            None
        );
    }

    #[test]
    fn merges() {
        assert_eq!(merged_count(8, 0), Ok(2));
        assert_eq!(merged_count(8, 5), Ok(7));
        assert_eq!(merged_count(8, 6), Ok(7));
        assert_eq!(merged_count(8, 7), Ok(7));
        assert_eq!(merged_count(8, 8), Ok(8));
        assert_eq!(merged_count(8, 1 << 61), Ok(1 << 61));
        assert_eq!(merged_count(8, u64::MAX), Ok(u64::MAX));
        assert_eq!(merged_count(2, 0), Ok(1));
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
