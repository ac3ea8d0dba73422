// SPDX-License-Identifier: GPL-2.0
//! The numbers in a recording: LEB128, and for PCs the difference to the previous one.

/// The start of every recording. The first byte is not text, and the line ends are of both kinds,
/// so that a transfer that changes either of them is detected.
pub(super) const MAGIC: [u8; 8] = *b"\x89KCOV\r\n\x1a";
/// The newest version of the format. Sections that older readers may skip do not change it.
pub(super) const VERSION: u32 = 3;
/// The version that is written if there are no edges. A reader of this version would skip the
/// section of a task with edges, and take the next sections for those of the task before it.
pub(super) const WITHOUT_EDGES: u32 = 2;
/// The oldest version that is read. It has no section of names.
pub(super) const OLDEST: u32 = 1;

pub(super) const TAG_KERNEL: [u8; 4] = *b"KERN";
pub(super) const TAG_PCS: [u8; 4] = *b"PCS ";
pub(super) const TAG_COMPARISONS: [u8; 4] = *b"CMPS";
pub(super) const TAG_EDGES: [u8; 4] = *b"EDGE";
pub(super) const TAG_NAMES: [u8; 4] = *b"NAME";
pub(super) const TAG_GAPS: [u8; 4] = *b"GAPS";
pub(super) const TAG_CALLS: [u8; 4] = *b"CALL";
pub(super) const TAG_TEST: [u8; 4] = *b"TEST";
pub(super) const TAG_END: [u8; 4] = *b"END ";

pub(super) const FLAG_OVERFLOWED: u64 = 1;
pub(super) const FLAG_UNIQUE: u64 = 2;

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Writes the difference of two PCs, with the sign in the lowest bit: PCs next to each other take
/// one or two bytes.
pub(super) fn put_difference(out: &mut Vec<u8>, before: u64, value: u64) {
    let difference = value.wrapping_sub(before) as i64;
    put(out, (difference << 1 ^ difference >> 63) as u64);
}

/// Reads the output of the functions above; returns `None` if the bytes end too early or do not
/// encode a number.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            // Only one bit of the tenth byte fits.
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        String::from_utf8(self.bytes(length)?.to_vec()).ok()
    }

    pub(super) fn difference(&mut self, before: u64) -> Option<u64> {
        let coded = self.number()?;
        let difference = (coded >> 1) ^ (coded & 1).wrapping_neg();
        Some(before.wrapping_add(difference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), 1 << 62, u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, value);
            let mut cursor = Cursor::new(&out);
            assert_eq!(cursor.number(), Some(value));
            assert!(cursor.is_at_end());
            assert_eq!(Cursor::new(&out[..out.len() - 1]).number(), None, "cut {value}");
        }
    }

    #[test]
    fn number_of_more_than_64_bits_is_refused() {
        assert_eq!(Cursor::new(&[0xff; 11]).number(), None);
        assert_eq!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).number(),
            None
        );
    }

    #[test]
    fn differences_survive_and_neighbours_are_short() {
        let pcs = [
            0xffff_ffff_8100_0005,
            0xffff_ffff_8100_0045,
            0xffff_ffff_8100_0005,
            0,
            u64::MAX,
        ];
        let (mut out, mut before) = (Vec::new(), 0);
        for pc in pcs {
            put_difference(&mut out, before, pc);
            before = pc;
        }
        let (mut cursor, mut before) = (Cursor::new(&out), 0);
        for pc in pcs {
            before = cursor.difference(before).unwrap();
            assert_eq!(before, pc);
        }
        let mut short = Vec::new();
        put_difference(&mut short, 0xffff_ffff_8100_0045, 0xffff_ffff_8100_0005);
        assert_eq!(short.len(), 1);
    }
}
