// SPDX-License-Identifier: GPL-2.0

//! The set of a buffer: the bits of PCs, and the records that it leaves out.

use super::*;

#[kunit_tests(kcov_set)]
mod cases {
    use super::*;

    #[test]
    fn positions() {
        let start = set_start();
        assert_eq!(position(start), 0);
        assert_eq!(position(start + 3), 0);
        assert_eq!(position(start + 4), 1);
        assert_eq!(position(start + 0x1000), 0x400);
        // The last word of a set for the image has the bit of a PC of the image, and the image has
        // no PC after it. SAFETY: Written once, at boot.
        let size = unsafe { kernel::bindings::kcov_text.size };
        assert_eq!(position(start + size - 1) / 64, set_words() - 1);
        // The bits of modules follow all bits of the image.
        let behind = 64 * set_words();
        let module = set_modules().wrapping_add(4 * behind);
        assert_eq!(position(module), behind);
        assert_eq!(position(module + 4), behind + 1);
        // A function of the image, found without the start of the set.
        let function = kernel::bindings::ktime_get_real_seconds as *const c_void as usize;
        assert!(is_image(canonical(function) as u64));
    }

    #[test]
    #[cfg(CONFIG_KCOV_UNIQUE)]
    fn sets_hold_what_was_recorded() {
        // A set of two words, and space for three PCs.
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
        // A PC that is outside the set is recorded every time.
        layout.push_pc(start + 4 * 128);
        assert_eq!(words[2], 3);
        layout.push_pc(start + 4 * 128);
        assert_eq!(layout.dropped(), 1);
        // A PC that does not fit does not count as recorded.
        layout.push_pc(start);
        assert_eq!(layout.dropped(), 2);
        assert_eq!(words[..3], [2, 1 << 63, 3]);
        words[2] = 2;
        layout.push_pc(start);
        assert_eq!(words[..3], [3, 1 << 63, 3]);
        assert_eq!(words[5], start as u64);
        assert_eq!(words[6], 0);
        // A reset clears all of it.
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
        // These PCs are recorded when they come again.
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
        // An address as far after the start as the bit of a module's PC, but in no module.
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
}
