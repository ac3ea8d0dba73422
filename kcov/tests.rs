// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of what can be tested without user space: modes, layouts, what the hooks write,
//! handles.

#![expect(unsafe_code)]

use crate::{
    area::Area,
    buffer::{Buffer, LaidOutBuffer},
    context::Context,
    descriptor::{Descriptor, RemoteRequest},
    gate, hooks,
    layout::Layout,
    memory::Memory,
    mode::Mode,
    recorder::Recorder,
    records::{canonical, Comparison, Kind},
    remote::{
        handle::{Handle, HandleList},
        pool,
        section, //
    },
    set::{
        image_words as set_words,
        modules as set_modules,
        position,
        start as set_start, //
    },
    statistics, task,
};
use core::hint::black_box;
use kernel::{interrupt::local_interrupt_disable, prelude::*, sync::Arc};

const COMPARISONS: bool = cfg!(CONFIG_KCOV_ENABLE_COMPARISONS);
const UNIQUE: bool = cfg!(CONFIG_KCOV_UNIQUE);

/// PCs that are none of the kernel's, and have no bit in a set of any size.
const FOREIGN: usize = 0x1000;

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

/// Merges an area with two PCs into a buffer with a count, one after the other; returns the count
/// afterwards, and how many did not fit.
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

/// Returns the whole content of a buffer.
fn content(buffer: &Buffer) -> Result<KVec<u64>> {
    let mut words = KVec::with_capacity(buffer.words(), GFP_KERNEL)?;
    for index in 0..buffer.words() {
        let place = buffer.start().cast::<u64>().wrapping_add(index);
        // SAFETY: The buffer has so many words.
        let word = unsafe { place.read_volatile() };
        words.push(word, GFP_KERNEL)?;
    }
    Ok(words)
}

/// Records what the hooks that `body` calls have to say, into an area of `words` words. Returns a
/// buffer of 512 words after the merge, and how many records had no room in the area.
fn probed(mode: Mode, words: usize, body: impl FnOnce()) -> Result<(KVec<u64>, usize)> {
    let _gate = gate::KeepOpen::new()?;
    let mut area = Area::new(words, GFP_KERNEL)?;
    {
        // What the entry of an interrupt calls before it is recognised as one would be recorded.
        let _off = local_interrupt_disable();
        task::probe(&mut area, mode, words, body);
    }
    let buffer = Arc::new(Buffer::new(512)?, GFP_KERNEL)?;
    let laid_out = LaidOutBuffer::new(buffer.clone(), mode, 0)?;
    for kind in [Kind::Pc, Kind::Comparison] {
        // SAFETY: The probe is over, and the hooks have written the count.
        let records = unsafe { area.layout().records(kind) };
        laid_out.append(&records, 0, records.count());
    }
    Ok((content(&buffer)?, area.layout().dropped()))
}

/// Says whether a recorded PC is an address of the kernel image, as its symbol file has it.
fn is_image(pc: u64) -> bool {
    set_start() as u64 <= pc && position(pc as usize) < 64 * set_words()
}

/// Calls a hook as compiled code does. By its address, so that it is not inlined.
macro_rules! call {
    ($hook:path, $type:ty, $($argument:expr),*) => {{
        let hook: $type = $hook;
        // SAFETY: Hooks may be called at any time; what the last one needs, its callers have.
        unsafe { black_box(hook)($($argument),*) }
    }};
}

/// Records the call of a hook for two operands: the type, both operands, and whether the PC is one.
#[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
macro_rules! comparison {
    ($hook:ident, $operand:ty, $arg1:expr, $arg2:expr) => {{
        let (words, dropped) = probed(Mode::Cmp, 64, || {
            call!(
                hooks::cmp::$hook,
                unsafe extern "C" fn($operand, $operand),
                $arg1,
                $arg2
            )
        })?;
        assert_eq!(dropped, 0);
        assert_eq!(words[0], 1);
        assert!(is_image(words[4]));
        [words[1], words[2], words[3]]
    }};
}

/// Records a switch over `value` whose operands have `bits` bits, into an area of `words` words.
#[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
fn switch(bits: u64, value: u64, cases: &[u64], words: usize) -> Result<(KVec<u64>, usize)> {
    let mut table = KVec::new();
    table.extend_from_slice(&[cases.len() as u64, bits], GFP_KERNEL)?;
    table.extend_from_slice(cases, GFP_KERNEL)?;
    probed(Mode::Cmp, words, || {
        call!(
            hooks::cmp::__sanitizer_cov_trace_switch,
            unsafe extern "C" fn(kernel::bindings::kcov_u64, *mut c_void),
            value as kernel::bindings::kcov_u64,
            table.as_mut_ptr().cast()
        )
    })
}

/// An area of 64 words that records each PC once, mostly.
fn filtering(words: &mut [u64; 64]) -> Layout {
    // SAFETY: The words outlive the layout in all tests.
    let memory = unsafe { Memory::new(words.as_mut_ptr().cast(), words.len()) };
    Layout::of_area(Mode::Unique, memory)
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
        assert_eq!(Mode::from_user(1 << 32), Err(EINVAL));
        assert_eq!(Mode::from_user(usize::MAX), Err(EINVAL));
    }

    #[test]
    fn modes_of_remote_requests() {
        assert_eq!(Mode::from_remote_user(0), Ok(Mode::Pc));
        assert_eq!(Mode::from_remote_user(1), only_if(COMPARISONS, Mode::Cmp));
        assert_eq!(Mode::from_remote_user(2), only_if(UNIQUE, Mode::Unique));
        assert_eq!(Mode::from_remote_user(3), only_if(COMPARISONS, Mode::PcCmp));
        assert_eq!(Mode::from_remote_user(4), Err(EINVAL));
        assert_eq!(Mode::from_remote_user(u32::MAX as usize), Err(EINVAL));
    }

    #[test]
    fn modes_of_commands() {
        assert_eq!(Mode::Pc.supported(), Ok(Mode::Pc));
        assert_eq!(Mode::Cmp.supported(), only_if(COMPARISONS, Mode::Cmp));
        assert_eq!(Mode::Unique.supported(), only_if(UNIQUE, Mode::Unique));
        assert_eq!(Mode::PcCmp.supported(), only_if(COMPARISONS, Mode::PcCmp));
    }

    #[test]
    fn hooks_of_modes() {
        // Bit 0 is for PCs, bit 1 for comparisons.
        assert_eq!(Mode::Pc.word(), 1);
        assert_eq!(Mode::Cmp.word(), 2);
        assert_eq!(Mode::Unique.word(), 1);
        assert_eq!(Mode::PcCmp.word(), 3);
        assert!(Mode::Pc.is_plain());
        assert!(Mode::Cmp.is_plain());
        assert!(!Mode::Unique.is_plain());
        assert!(!Mode::PcCmp.is_plain());
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
    fn halves_of_an_area() {
        let mut words = [0u64; 64];
        // SAFETY: The words outlive the layout.
        let memory = unsafe { Memory::new(words.as_mut_ptr().cast(), words.len()) };
        let layout = Layout::of_area(Mode::PcCmp, memory);
        for number in 0..40 {
            recorder(&layout, Mode::PcCmp).push_pc(number);
            push(&layout, Mode::PcCmp, number as u64);
        }
        // 31 PCs and 7 comparisons had room.
        assert_eq!(layout.dropped(), 9 + 33);
        assert_eq!(words[0], 31);
        assert_eq!(words[31].wrapping_sub(words[1]), 30);
        assert_eq!(words[32], 7);
        assert_eq!(words[57..60], [7, 6, 2]);
        assert_eq!(words[61..], [0, 0, 0]);
    }

    #[test]
    fn records_that_had_no_room() {
        let mut words = [0u64; 2];
        let layout = lay_out(&mut words, Mode::Cmp, 0).unwrap_or(Layout::nothing());
        assert!(!layout.has_records());
        push(&layout, Mode::Cmp, 1);
        assert_eq!(layout.dropped(), 1);
        assert!(layout.has_records());
        let mut words = [0u64; 3];
        let layout = lay_out(&mut words, Mode::Pc, 0).unwrap_or(Layout::nothing());
        assert!(!layout.has_records());
        recorder(&layout, Mode::Pc).push_pc(1);
        assert_eq!(layout.dropped(), 0);
        assert!(layout.has_records());
        layout.reset_counts();
        assert!(!layout.has_records());
    }

    #[test]
    fn pcs_until_full() {
        let mut words = [0u64; 5];
        let layout = lay_out(&mut words, Mode::Pc, 0).unwrap_or(Layout::nothing());
        for number in 0..5 {
            recorder(&layout, Mode::Pc).push_pc(FOREIGN + number);
        }
        assert_eq!(layout.dropped(), 2);
        assert_eq!(words[0], 3);
        // PCs are canonical, so they are not what they were if the kernel was moved.
        if !cfg!(CONFIG_RANDOMIZE_BASE) {
            assert_eq!(words[1], 0x1000);
        }
        assert_eq!(words[2].wrapping_sub(words[1]), 1);
        assert_eq!(words[3].wrapping_sub(words[1]), 2);
        assert_eq!(words[4], 0);
    }

    #[test]
    fn pc_of_the_hook() -> Result {
        let (words, dropped) = probed(Mode::Pc, 64, || {
            call!(hooks::pc::__sanitizer_cov_trace_pc, unsafe extern "C" fn(),);
            call!(hooks::pc::__sanitizer_cov_trace_pc, unsafe extern "C" fn(),);
        })?;
        assert_eq!(dropped, 0);
        assert_eq!(words[0], 2);
        assert!(is_image(words[1]));
        // Two calls, one after the other.
        assert!((1..64).contains(&words[2].wrapping_sub(words[1])));
        assert_eq!(words[3], 0);
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
    fn types_of_the_hooks() -> Result {
        assert_eq!(
            comparison!(__sanitizer_cov_trace_cmp1, u8, 0xff, 0x80),
            [0, 0xff, 0x80]
        );
        assert_eq!(
            comparison!(__sanitizer_cov_trace_const_cmp1, u8, 1, 2),
            [1, 1, 2]
        );
        assert_eq!(
            comparison!(__sanitizer_cov_trace_cmp2, u16, 0xffff, 0x8000),
            [2, 0xffff, 0x8000]
        );
        assert_eq!(
            comparison!(__sanitizer_cov_trace_const_cmp2, u16, 1, 2),
            [3, 1, 2]
        );
        assert_eq!(
            comparison!(__sanitizer_cov_trace_cmp4, u32, u32::MAX, 1 << 31),
            [4, 0xffff_ffff, 0x8000_0000]
        );
        assert_eq!(
            comparison!(__sanitizer_cov_trace_const_cmp4, u32, 1, 2),
            [5, 1, 2]
        );
        assert_eq!(
            comparison!(
                __sanitizer_cov_trace_cmp8,
                kernel::bindings::kcov_u64,
                kernel::bindings::kcov_u64::MAX,
                1 << 63
            ),
            [6, u64::MAX, 1 << 63]
        );
        assert_eq!(
            comparison!(
                __sanitizer_cov_trace_const_cmp8,
                kernel::bindings::kcov_u64,
                1,
                2
            ),
            [7, 1, 2]
        );
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
    fn sizes_of_switches() -> Result {
        // A constant, and one of four sizes.
        for (bits, kind) in [(8, 1), (16, 3), (32, 5), (64, 7)] {
            let (words, dropped) = switch(bits, 0x1122_3344_5566_7788, &[5, u64::MAX, 6], 64)?;
            assert_eq!(dropped, 0);
            assert_eq!(words[0], 3);
            assert_eq!(words[1..4], [kind, 5, 0x1122_3344_5566_7788]);
            assert_eq!(words[5..8], [kind, u64::MAX, 0x1122_3344_5566_7788]);
            assert_eq!(words[9..12], [kind, 6, 0x1122_3344_5566_7788]);
            assert!(is_image(words[4]));
            assert_eq!([words[8], words[12]], [words[4]; 2]);
            assert_eq!(words[13], 0);
        }
        // No compiler emits others. They have no place in the type.
        for bits in [0, 1, 4, 7, 12, 24, 48, 65, 128, 1 << 35, u64::MAX] {
            let (words, dropped) = switch(bits, 1, &[5, 6], 64)?;
            assert_eq!(dropped, 0);
            assert_eq!(words[0], 0);
        }
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_KCOV_ENABLE_COMPARISONS)]
    fn cases_of_switches() -> Result {
        let (words, dropped) = switch(32, 1, &[], 64)?;
        assert_eq!(dropped, 0);
        assert_eq!(words[0], 0);
        // So many fit, and one more does not.
        let mut cases = [0; 100];
        for (index, case) in cases.iter_mut().enumerate() {
            *case = 1000 + index as u64;
        }
        for (number, words, fitting) in [(25, 101, 25), (26, 101, 25), (100, 104, 25)] {
            let (words, dropped) = switch(16, 9, &cases[..number], words)?;
            assert_eq!(dropped, number - fitting);
            assert_eq!(words[0], fitting as u64);
            for index in 0..fitting {
                let record = &words[1 + 4 * index..][..4];
                assert_eq!(record[..3], [3, 1000 + index as u64, 9]);
                assert_eq!(record[3], words[4]);
            }
            assert_eq!(words[1 + 4 * fitting], 0);
        }
        // No room at all.
        let (words, dropped) = switch(8, 9, &cases[..7], 4)?;
        assert_eq!(dropped, 7);
        assert_eq!(words[0], 0);
        Ok(())
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
        // The last word of a set for the image has a PC of it, and no PC comes behind.
        // SAFETY: Written once, at boot.
        let size = unsafe { kernel::bindings::kcov_text.size };
        assert_eq!(position(start + size - 1) / 64, set_words() - 1);
        // Modules come after all of the image.
        let behind = 64 * set_words();
        let module = set_modules().wrapping_add(4 * behind);
        assert_eq!(position(module), behind);
        assert_eq!(position(module + 4), behind + 1);
        // A function of the image, told without the start of the set.
        let function = kernel::bindings::ktime_get_real_seconds as *const c_void as usize;
        assert!(is_image(canonical(function) as u64));
    }

    #[test]
    fn repeated_pcs_are_filtered() {
        let mut words = [0; 64];
        let layout = filtering(&mut words);
        for _ in 0..10 {
            layout.push_pc(FOREIGN);
        }
        assert_eq!(layout.dropped(), 0);
        assert_eq!(words[0], if UNIQUE { 1 } else { 10 });
        assert_eq!(words[1], 0x1000);
    }

    #[test]
    fn rounds_of_pcs_are_filtered() {
        let mut words = [0; 64];
        let layout = filtering(&mut words);
        // 16 places for 8 PCs: most PCs have one to themselves, so the second round adds little.
        for number in 0..16 {
            layout.push_pc(FOREIGN + 0x40 * (number % 8));
        }
        assert_eq!(layout.dropped(), 0);
        assert_eq!(
            words[1..9],
            [0, 1, 2, 3, 4, 5, 6, 7].map(|number| 0x1000 + 0x40 * number)
        );
        if UNIQUE {
            assert!((8..=12).contains(&words[0]));
        } else {
            assert_eq!(words[0], 16);
        }
    }

    #[test]
    fn new_pcs_pass_the_filter() {
        // An eighth of 64 words is the filter's.
        let room = if UNIQUE { 55 } else { 63 };
        let mut words = [0; 64];
        let layout = filtering(&mut words);
        for number in 0..room {
            layout.push_pc(FOREIGN + 4 * number);
        }
        assert_eq!(layout.dropped(), 0);
        assert_eq!(words[0], room as u64);
        for number in 0..room {
            assert_eq!(words[1 + number], (FOREIGN + 4 * number) as u64);
        }
        let last = words;
        layout.push_pc(FOREIGN + 0x1000);
        assert_eq!(layout.dropped(), 1);
        // The filter may have learned of it.
        assert_eq!(words[..room + 1], last[..room + 1]);
    }

    #[test]
    fn a_filter_may_hold_anything() {
        // Numbers of records, of none, and of the record behind the last.
        for garbage in [0, 1, 2, 3, 54, 55, 56, 0x7fff_ffff, 0xffff_ffff] {
            let mut words = [0; 64];
            let layout = filtering(&mut words);
            layout.push_pc(FOREIGN);
            layout.push_pc(FOREIGN + 4);
            if UNIQUE {
                words[56..].fill(garbage << 32 | garbage);
            }
            // The PC that is behind the last record is none of the trace.
            words[3] = (FOREIGN + 8) as u64;
            layout.push_pc(FOREIGN + 8);
            assert_eq!(words[0], 3);
            assert_eq!(words[1..5], [0x1000, 0x1004, 0x1008, 0]);
        }
    }

    #[test]
    fn a_filter_forgets_the_last_section() {
        let mut words = [0; 64];
        let layout = filtering(&mut words);
        for _ in 0..2 {
            layout.reset_counts();
            layout.push_pc(FOREIGN);
            layout.push_pc(FOREIGN + 4);
            assert_eq!(words[0], 2);
            assert_eq!(words[1..3], [0x1000, 0x1004]);
        }
    }

    #[test]
    #[cfg(CONFIG_KCOV_UNIQUE)]
    fn sets_hold_what_was_recorded() {
        // A set of two words, and room for three PCs.
        let mut words = [0; 7];
        let layout = lay_out(&mut words, Mode::Unique, 2).unwrap_or(Layout::nothing());
        let start = set_start();
        for _ in 0..3 {
            layout.push_pc(start + 4);
            layout.push_pc(start + 4 * 127 + 3);
        }
        assert_eq!(
            words,
            [2, 1 << 63, 2, start as u64 + 4, start as u64 + 511, 0, 0]
        );
        // Behind the set: each time.
        layout.push_pc(start + 4 * 128);
        assert_eq!(words[2], 3);
        layout.push_pc(start + 4 * 128);
        assert_eq!(layout.dropped(), 1);
        // What finds no room does not count as seen.
        layout.push_pc(start);
        assert_eq!(layout.dropped(), 2);
        assert_eq!(words[..3], [2, 1 << 63, 3]);
        words[2] = 2;
        layout.push_pc(start);
        assert_eq!(words[..3], [3, 1 << 63, 3]);
        assert_eq!(words[5], start as u64);
        assert_eq!(words[6], 0);
        // A reset forgets all of it.
        layout.set().clear(0, 1);
        assert_eq!(words[..2], [0, 1 << 63]);
        layout.set().clear(1, 100);
        layout.reset_counts();
        assert_eq!(words[..3], [0, 0, 0]);
        assert_eq!(layout.dropped(), 0);
        assert_eq!(words[3], start as u64 + 4);
    }

    #[test]
    #[cfg(CONFIG_KCOV_UNIQUE)]
    fn interrupts_of_a_busy_hook_leave_nothing() {
        let mut words = [0; 6];
        let layout = lay_out(&mut words, Mode::Unique, 1).unwrap_or(Layout::nothing());
        let start = set_start();
        layout.push_pc(start);
        layout.while_busy(|| {
            layout.push_pc(start);
            layout.push_pc(start + 4);
            layout.push_pc(FOREIGN);
        });
        assert_eq!(words[..3], [1, 1, start as u64]);
        assert_eq!(layout.dropped(), 0);
        // They come again.
        layout.push_pc(start + 4);
        layout.push_pc(FOREIGN);
        assert_eq!(words[..2], [0b11, 3]);
        assert_eq!(words[3..5], [start as u64 + 4, 0x1000]);
    }

    #[test]
    #[cfg(CONFIG_KCOV_UNIQUE)]
    fn sets_for_modules() -> Result {
        let front = set_words() + 1;
        let buffer = Arc::new(Buffer::new(front + 4)?, GFP_KERNEL)?;
        let laid_out = LaidOutBuffer::new(buffer.clone(), Mode::Unique, front)?;
        let behind = 64 * set_words();
        let module = set_modules().wrapping_add(4 * behind);
        // As far behind the start as the bit of the PC of a module, and in no module.
        let nowhere = set_start() + 4 * behind;
        for _ in 0..2 {
            laid_out.push_pc(module);
        }
        for _ in 0..2 {
            laid_out.push_pc(nowhere);
        }
        let content = content(&buffer)?;
        assert_eq!(content[front - 1], 1);
        assert_eq!(content[front], 3);
        assert_eq!(
            content[front + 1..],
            [module as u64, nowhere as u64, nowhere as u64]
        );
        assert_eq!(laid_out.dropped(), 0);
        Ok(())
    }

    #[test]
    #[cfg(CONFIG_KCOV_UNIQUE)]
    fn merges_into_sets() -> Result {
        let start = set_start();
        let pcs = [4, 8, 4, 4 * 64, 4 * 64, 0].map(|offset| start + offset);
        // The area's memory is plain, so that PCs are there twice.
        let mut words = [0; 9];
        let source = lay_out(&mut words, Mode::Pc, 0)?;
        for pc in pcs {
            // Without the hook's conversion.
            words[0] += 1;
            words[words[0] as usize] = pc as u64;
        }
        // SAFETY: Nobody else uses the words, which hold six PCs.
        let records = unsafe { source.records(Kind::Pc) };
        let buffer = Arc::new(Buffer::new(7)?, GFP_KERNEL)?;
        let laid_out = LaidOutBuffer::new(buffer.clone(), Mode::Unique, 1)?;
        // A set of one word, and room for five: what has no bit comes each time.
        assert_eq!(laid_out.append(&records, 0, 5), 5);
        let [first, second, third] = [4, 8, 256].map(|offset| start as u64 + offset);
        assert_eq!(
            &content(&buffer)?[..],
            &[0b110, 4, first, second, third, third, 0][..]
        );
        assert_eq!(laid_out.append(&records, 5, 5), 1);
        assert_eq!(content(&buffer)?[..2], [0b111, 5]);
        assert_eq!(content(&buffer)?[6], start as u64);
        assert_eq!(laid_out.dropped(), 0);
        // Again: only the two without a bit are new, and have no room.
        assert_eq!(laid_out.append(&records, 0, 100), 6);
        assert_eq!(content(&buffer)?[..2], [0b111, 5]);
        assert_eq!(laid_out.dropped(), 2);
        // What has no room leaves no bit.
        let buffer = Arc::new(Buffer::new(3)?, GFP_KERNEL)?;
        let laid_out = LaidOutBuffer::new(buffer.clone(), Mode::Unique, 1)?;
        assert_eq!(laid_out.append(&records, 0, 3), 3);
        assert_eq!(&content(&buffer)?[..], &[0b10, 1, first][..]);
        assert_eq!(laid_out.dropped(), 1);
        Ok(())
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
    fn merges_in_pieces() -> Result {
        let mut words = [0; 13];
        let source = lay_out(&mut words, Mode::Cmp, 0)?;
        for number in 10..13 {
            push(&source, Mode::Cmp, number);
        }
        // SAFETY: Nobody else uses the words.
        let records = unsafe { source.records(Kind::Comparison) };
        assert_eq!(records.count(), 2);
        let buffer = Arc::new(Buffer::new(16)?, GFP_KERNEL)?;
        let laid_out = LaidOutBuffer::new(buffer.clone(), Mode::Cmp, 0)?;
        assert_eq!(laid_out.append(&records, 1, 5), 1);
        assert_eq!(laid_out.append(&records, 0, 1), 1);
        assert_eq!(laid_out.append(&records, 0, 5), 2);
        let content = content(&buffer)?;
        assert_eq!(content[0], 3);
        assert_eq!(content[1..4], [7, 11, 2]);
        assert_eq!(content[5..8], [7, 10, 2]);
        assert_eq!(content[9..12], [7, 10, 2]);
        assert_eq!(content[13..], [0, 0, 0]);
        assert_eq!(laid_out.dropped(), 1);
        Ok(())
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
        assert_eq!(
            Handle::parse(1 << 56 | 0xffff_ffff),
            Some(Handle::Global(1 << 56 | 0xffff_ffff))
        );
        assert_eq!(Handle::parse(1 << 56 | 1 << 32), None);
        assert_eq!(Handle::parse(1 << 56 | 1 << 55), None);
        assert_eq!(Handle::parse(2 << 56), None);
        assert_eq!(Handle::parse(0xff << 56), None);
        assert_eq!(Handle::parse(u64::MAX), None);
    }

    #[test]
    fn sections_of_an_earlier_registration() -> Result {
        const HANDLE: u64 = 0x7e5d_4b55;
        let descriptor = Descriptor::new()?;
        descriptor.init(512)?;
        let request = RemoteRequest {
            mode: Ok(Mode::Pc),
            front: 0,
            area_words: 64,
            handles: HandleList::new(KVec::new(), HANDLE),
        };
        let enable = || descriptor.as_arc_borrow().remote_enable(&request);
        // Runs a section, and returns how many records the buffer has after its stop. An interrupt
        // may add some.
        let run = |meanwhile: &dyn Fn() -> Result| -> Result<u64> {
            section::start(HANDLE);
            call!(hooks::pc::__sanitizer_cov_trace_pc, unsafe extern "C" fn(),);
            let result = meanwhile();
            section::stop();
            result?;
            let buffer = descriptor.buffer().ok_or(EINVAL)?;
            Ok(content(&buffer)?[0])
        };
        enable()?;
        let first = run(&|| Ok(()))?;
        assert!(first >= 1);
        // Disabled, or enabled again, while the section runs.
        assert_eq!(run(&|| descriptor.disable(0)), Ok(first));
        enable()?;
        assert_eq!(
            run(&|| descriptor.disable(0).and_then(|()| enable())),
            Ok(first)
        );
        assert!(run(&|| Ok(()))? > first);
        descriptor.disable(0)?;
        assert!(run(&|| Ok(())).is_ok());
        Ok(())
    }

    #[test]
    fn larger_areas_are_kept() -> Result {
        const LARGE: usize = 1 << 16;
        // Areas of tasks are kept while there is a user.
        pool::open();
        let kept = || -> Result<bool> {
            // More than a CPU has slots for.
            for words in [64, 64, 64, LARGE] {
                pool::give_back(Context::Task, Area::new(words, GFP_KERNEL)?);
            }
            let before = statistics::areas();
            let area = pool::lend(Context::Task, LARGE).ok_or(ENOMEM)?;
            Ok(area.words() >= LARGE && statistics::areas() == before)
        };
        let kept = kept();
        pool::close();
        assert_eq!(kept, Ok(true));
        Ok(())
    }

    #[test]
    fn handle_lists() {
        const USB: u64 = 1 << 56;
        assert!(HandleList::new(KVec::new(), 0).len() > 0);
        assert_eq!(HandleList::new(KVec::new(), 5).common(), 5);
        assert_eq!(checked(&[], 0).map(|list| list.len()), Ok(0));
        assert_eq!(checked(&[USB, USB | 1], 5).map(|list| list.len()), Ok(3));
        assert_eq!(checked(&[], USB).err(), Some(EINVAL));
        assert_eq!(checked(&[5], 0).err(), Some(EINVAL));
        assert_eq!(checked(&[0], 0).err(), Some(EINVAL));
        assert_eq!(checked(&[USB | 1 << 40], 0).err(), Some(EINVAL));
    }
}
