// SPDX-License-Identifier: GPL-2.0

//! Edges: the records of pairs of PCs, the table, and resets.

#![cfg(CONFIG_KCOV_UNIQUE)]

use super::*;

/// The words of the header.
const LAST: usize = 0;
const FIRST: usize = 1;
const COUNT: usize = 2;

/// The table of the smallest size, and the first word of the records after it.
const TABLE: usize = 4;
const RECORDS: usize = 8;

/// Calls the hook, in the fast path or not.
fn reach(layout: &Layout, pc: usize) {
    // The hook makes the PC canonical.
    let moved = pc.wrapping_sub(canonical(pc));
    recorder(layout).push_pc(pc.wrapping_add(moved));
}

/// Lays out words for edges, as an enable does.
fn edges<const N: usize>(words: &mut [u64; N]) -> Result<Layout> {
    let layout = lay_out(words, Mode::Edge, TABLE)?;
    layout.prepare();
    Ok(layout)
}

#[kunit_tests(kcov_edges)]
mod cases {
    use super::*;

    #[test]
    fn each_edge_is_recorded_once() -> Result {
        let mut words = [0; RECORDS + 9];
        let layout = edges(&mut words)?;
        reach(&layout, 0x1000);
        assert_eq!(words[..2], [1, 0x1000]);
        for _ in 0..3 {
            reach(&layout, 0x1000);
            reach(&layout, 0x2000);
        }
        assert_eq!(words[COUNT], 4);
        assert_eq!(
            words[RECORDS..],
            [0, 0x1000, 0x1000, 0x1000, 0x1000, 0x2000, 0x2000, 0x1000, 0]
        );
        // A new edge does not fit, and is recorded when it fits.
        for _ in 0..2 {
            reach(&layout, 0x3000);
        }
        assert_eq!(words[COUNT], 4);
        assert_eq!(layout.dropped(), 2);
        words[COUNT] = 2;
        reach(&layout, 0x3000);
        assert_eq!(words[COUNT], 3);
        assert_eq!(words[RECORDS + 4..RECORDS + 6], [0x3000, 0x3000]);
        Ok(())
    }

    #[test]
    fn a_store_of_0_resets() -> Result {
        let mut words = [0; RECORDS + 9];
        let layout = edges(&mut words)?;
        for _ in 0..2 {
            for pc in [0x1000, 0x2000, 0x1000, 0x2000] {
                reach(&layout, pc);
            }
            assert_eq!(words[COUNT], 3);
            assert_eq!(
                words[RECORDS..RECORDS + 6],
                [0, 0x1000, 0x1000, 0x2000, 0x2000, 0x1000]
            );
            words[LAST] = 0;
        }
        // The kernel resets in the same way.
        reach(&layout, 0x5000);
        assert_eq!(words[..2], [1, 0x5000]);
        layout.reset_counts();
        assert_eq!(words[LAST], 0);
        assert!(!layout.has_records());
        Ok(())
    }

    #[test]
    fn generations_begin_anew() -> Result {
        let mut words = [0; RECORDS + 9];
        let layout = edges(&mut words)?;
        // One more than there are generations.
        for _ in 0..65537 {
            words[LAST] = 0;
            for _ in 0..2 {
                reach(&layout, 0x1000);
            }
            assert_eq!(words[COUNT], 2);
            assert_eq!(words[RECORDS..RECORDS + 4], [0, 0x1000, 0x1000, 0x1000]);
        }
        Ok(())
    }

    #[test]
    fn interrupts_of_a_busy_hook_leave_nothing() -> Result {
        let mut words = [0; RECORDS + 9];
        let layout = edges(&mut words)?;
        for _ in 0..2 {
            reach(&layout, 0x1000);
        }
        layout.while_busy(|| {
            reach(&layout, 0x2000);
            reach(&layout, 0x3000);
        });
        assert_eq!(words[COUNT], 2);
        assert_eq!(layout.dropped(), 0);
        // The PC before the next one is that of the interrupted hook.
        reach(&layout, 0x2000);
        assert_eq!(words[COUNT], 3);
        assert_eq!(words[RECORDS + 4..RECORDS + 6], [0x1000, 0x2000]);
        Ok(())
    }

    #[test]
    fn an_enable_goes_on_after_the_records() -> Result {
        let mut words = [0; RECORDS + 9];
        let layout = edges(&mut words)?;
        for pc in [0x1000, 0x2000] {
            reach(&layout, pc);
        }
        layout.prepare();
        reach(&layout, 0x2000);
        assert_eq!(words[COUNT], 3);
        assert_eq!(
            words[RECORDS..RECORDS + 6],
            [0, 0x1000, 0x1000, 0x2000, 0, 0x2000]
        );
        // A single PC becomes a record.
        words[LAST] = 0;
        reach(&layout, 0x7000);
        layout.prepare();
        reach(&layout, 0x8000);
        assert_eq!(words[COUNT], 2);
        assert_eq!(words[RECORDS..RECORDS + 4], [0, 0x7000, 0, 0x8000]);
        Ok(())
    }

    #[test]
    fn sizes() {
        let mut words = [0; 64];
        for table in 0..70 {
            let expected = [4, 8, 16, 32].contains(&table);
            assert_eq!(lay_out(&mut words, Mode::Edge, table).is_ok(), expected);
        }
    }

    #[test]
    fn merges() -> Result {
        let mut words = [0; 65];
        // SAFETY: The words outlive the layout.
        let memory = unsafe { Memory::new(words.as_mut_ptr().cast(), 64) };
        let area = Layout::of_area(Mode::Edge, memory);
        let buffer = Arc::new(Buffer::new(RECORDS + 8)?, GFP_KERNEL)?;
        let laid_out = LaidOutBuffer::new(buffer.clone(), Mode::Edge, TABLE)?;
        laid_out.prepare();
        let merge = |pcs: &[usize]| {
            area.reset_counts();
            for &pc in pcs {
                reach(&area, pc);
            }
            // SAFETY: Only this test uses the area.
            laid_out.append_edges(unsafe { area.edges() });
        };
        merge(&[]);
        assert!(!laid_out.has_records());
        // A section with one PC, twice, and one with an edge that is known.
        merge(&[0x1000]);
        merge(&[0x1000]);
        assert!(content(&buffer)?[LAST] > 1);
        assert_eq!(content(&buffer)?[COUNT], 1);
        merge(&[0x1000, 0x2000, 0x1000, 0x2000]);
        assert_eq!(content(&buffer)?[COUNT], 3);
        assert_eq!(
            content(&buffer)?[RECORDS..],
            [0, 0x1000, 0x1000, 0x2000, 0x2000, 0x1000, 0, 0]
        );
        merge(&[0x4000, 0x5000]);
        assert_eq!(content(&buffer)?[COUNT], 4);
        assert_eq!(laid_out.dropped(), 1);
        // Each merge finds a reset.
        laid_out.reset_counts();
        merge(&[0x4000, 0x5000]);
        assert_eq!(content(&buffer)?[COUNT], 2);
        assert_eq!(content(&buffer)?[FIRST], 0);
        assert_eq!(
            content(&buffer)?[RECORDS..RECORDS + 4],
            [0, 0x4000, 0x4000, 0x5000]
        );
        Ok(())
    }

    #[test]
    fn a_loop_leaves_space_in_an_area() {
        let mut words = [0; 64];
        // SAFETY: The words outlive the layout.
        let memory = unsafe { Memory::new(words.as_mut_ptr().cast(), 64) };
        let area = Layout::of_area(Mode::Edge, memory);
        for _ in 0..1000 {
            for pc in [0x1000, 0x1020, 0x1040] {
                reach(&area, pc);
            }
        }
        assert_eq!(area.dropped(), 0);
        // SAFETY: Only this test uses the words.
        assert_eq!(unsafe { area.edges() }.len(), 4);
    }
}
