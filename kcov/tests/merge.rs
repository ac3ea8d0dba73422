// SPDX-License-Identifier: GPL-2.0

//! Buffers, and the merge of an area into them.

use super::*;

/// Merges an area with two PCs into a buffer of `words` words whose count is `count`, one PC after
/// the other. Returns the count afterwards, and the number of PCs that did not fit.
fn merged(words: usize, count: u64) -> Result<(u64, usize)> {
    let buffer = Arc::new(Buffer::new(words)?, GFP_KERNEL)?;
    let start = buffer.start().cast::<u64>();
    let buffer = LaidOutBuffer::new(buffer, Mode::Pc, 0)?;
    let mut area = Area::new(16, GFP_KERNEL)?;
    area.lay_out(Mode::Pc, 16);
    recorder(area.layout()).push_pc(1);
    recorder(area.layout()).push_pc(2);
    // SAFETY: The count is at the start of the buffer.
    unsafe { start.write_volatile(count) };
    // SAFETY: Only this function uses the area.
    let records = unsafe { area.layout().records(Kind::Pc) };
    let mut done = 0;
    while done < records.count() {
        done += buffer.append(&records, done, 1);
    }
    // SAFETY: As above.
    Ok((unsafe { start.read_volatile() }, buffer.dropped()))
}

#[kunit_tests(kcov_merge)]
mod cases {
    use super::*;

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
            push(&source, number);
        }
        // SAFETY: Only this test uses the words.
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
    #[cfg(CONFIG_KCOV_UNIQUE)]
    fn merges_into_sets() -> Result {
        let start = set_start();
        let pcs = [4, 8, 4, 4 * 64, 4 * 64, 0].map(|offset| start + offset);
        // The source is a plain trace, so it may have PCs twice.
        let mut words = [0; 9];
        let source = lay_out(&mut words, Mode::Pc, 0)?;
        for pc in pcs {
            // Stores PCs that are canonical already; the hook would convert them.
            words[0] += 1;
            words[words[0] as usize] = pc as u64;
        }
        // SAFETY: Only this test uses the words, which hold six PCs.
        let records = unsafe { source.records(Kind::Pc) };
        let buffer = Arc::new(Buffer::new(7)?, GFP_KERNEL)?;
        let laid_out = LaidOutBuffer::new(buffer.clone(), Mode::Unique, 1)?;
        // A set of one word, and space for five PCs. A PC without a bit is appended every time.
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
        // In the second merge, only the two PCs without a bit are new, and they do not fit.
        assert_eq!(laid_out.append(&records, 0, 100), 6);
        assert_eq!(content(&buffer)?[..2], [0b111, 5]);
        assert_eq!(laid_out.dropped(), 2);
        // A PC that does not fit sets no bit.
        let buffer = Arc::new(Buffer::new(3)?, GFP_KERNEL)?;
        let laid_out = LaidOutBuffer::new(buffer.clone(), Mode::Unique, 1)?;
        assert_eq!(laid_out.append(&records, 0, 3), 3);
        assert_eq!(&content(&buffer)?[..], &[0b10, 1, first][..]);
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
}
