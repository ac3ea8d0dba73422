// SPDX-License-Identifier: GPL-2.0
//! Finds the veneers of a hook on arm64: short code that a linker adds for callers that are more
//! than 128 MiB away.
//!
//! GNU ld and lld name veneers differently, and the names may be missing, so the code is decoded. A
//! veneer computes the address of its target in x16 and ends in `br x16`. Only if the target is near
//! after all, lld has a veneer of one `b`, which its name tells from a jump at the end of a function.

use super::image::Image;
use super::sites::word;

/// `br x16`.
const BR_X16: u32 = 0xd61f_0200;
/// `ldr x16, #8`: loads the eight bytes after the next instruction.
const LDR_X16_8: u32 = 0x5800_0050;
/// `ldr x16, #16`, `adr x17, #0` and `add x16, x16, x17`: adds a distance to an address.
const DISTANCE: [u32; 3] = [0x5800_0090, 0x1000_0011, 0x8b11_0210];

/// Returns the addresses of the veneers that lead to one of the targets.
pub(super) fn to(image: &Image<'_>, targets: &[u64]) -> Vec<u64> {
    let mut found = Vec::new();
    for text in image.text() {
        for (i, bytes) in text.data.chunks_exact(4).enumerate() {
            let end = i * 4;
            if word(bytes, 0) != Some(BR_X16) {
                continue;
            }
            if let Some((length, target)) = decoded(text.data, text.address, end) {
                if targets.contains(&target) {
                    found.push(text.address + (end - length) as u64);
                }
            }
        }
    }
    found
}

/// Returns whether a symbol with this name is a veneer.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with("__AArch64") && name.contains("Thunk_") || name.ends_with("_veneer")
}

/// Returns the number of bytes of the veneer before its jump at `end`, and its target.
fn decoded(code: &[u8], base: u64, end: usize) -> Option<(usize, u64)> {
    let before = |count: usize| word(code, end.checked_sub(count * 4)?);
    if before(1) == Some(LDR_X16_8) {
        let target = u64::from(word(code, end + 4)?) | u64::from(word(code, end + 8)?) << 32;
        return Some((4, target));
    }
    if (0..3).all(|i| before(3 - i) == Some(DISTANCE[i])) {
        let distance = u64::from(word(code, end + 4)?) | u64::from(word(code, end + 8)?) << 32;
        let place = base + end as u64 - 8;
        return Some((12, place.wrapping_add(distance)));
    }
    let (page, low) = (before(2)?, before(1)?);
    // adrp x16 and add x16, x16, #low.
    if page & 0x9f00_001f != 0x9000_0010 || low & 0xffc0_03ff != 0x9100_0210 {
        return None;
    }
    let pages = (i64::from((page << 8) as i32 >> 13) << 2) | i64::from(page >> 29 & 3);
    let here = (base + end as u64 - 8) & !0xfff;
    let target = here.wrapping_add_signed(pages << 12) + u64::from(low >> 10 & 0xfff);
    Some((8, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn pages_are_counted_both_ways() {
        // adrp x16, 1 page on; add x16, x16, #0x10; br x16.
        let code = bytes(&[0xb000_0010, 0x9100_4210, BR_X16]);
        assert_eq!(decoded(&code, 0x10_0100, 8), Some((8, 0x10_1010)));
        // adrp x16, 1 page back.
        let code = bytes(&[0xf0ff_fff0, 0x9100_4210, BR_X16]);
        assert_eq!(decoded(&code, 0x10_0100, 8), Some((8, 0xf_f010)));
    }

    #[test]
    fn address_after_the_jump_is_read() {
        let code = bytes(&[LDR_X16_8, BR_X16, 0x8000_1000, 0xffff_ffff]);
        assert_eq!(decoded(&code, 0, 4), Some((4, 0xffff_ffff_8000_1000)));
    }

    #[test]
    fn distance_after_the_jump_is_added() {
        let code = bytes(&[DISTANCE[0], DISTANCE[1], DISTANCE[2], BR_X16, 0x1000, 1]);
        assert_eq!(decoded(&code, 0x4000, 12), Some((12, 0x1_0000_5004)));
    }

    #[test]
    fn other_code_is_not_a_veneer() {
        // mov x16, x0; nop; br x16.
        let code = bytes(&[0xaa00_03f0, 0xd503_201f, BR_X16]);
        assert_eq!(decoded(&code, 0, 8), None);
    }
}
