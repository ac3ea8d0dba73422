// SPDX-License-Identifier: GPL-2.0

//! Direct calls and jumps in code for x86-64.
//!
//! The code is not decoded: every place is read as if an instruction began there. So a constant may
//! be taken for a branch, and no branch is missed.

#![deny(unsafe_code)]

/// The length of the longest branch: a jump with a condition.
pub(crate) const LONGEST: usize = 6;

/// Callers may skip the first instruction of a function, if it only marks a target of branches.
const MARK: usize = 4;

/// Returns the address to which the branch at the start of some code leads, if there is one.
///
/// `address` is the address of the code.
fn target(code: &[u8], address: usize) -> Option<usize> {
    let (length, distance) = match code {
        // A call, or a jump.
        [0xe8 | 0xe9, a, b, c, d, ..] => (5, [*a, *b, *c, *d]),
        // A jump with a condition.
        [0x0f, 0x80..=0x8f, a, b, c, d, ..] => (6, [*a, *b, *c, *d]),
        _ => return None,
    };
    let distance = i32::from_le_bytes(distance) as isize;
    Some(address.wrapping_add(length).wrapping_add_signed(distance))
}

/// Returns whether some code at `address` has a branch to an entry of a function.
pub(crate) fn reaches(code: &[u8], address: usize, is_entry: &dyn Fn(usize) -> bool) -> bool {
    (0..code.len()).any(|place| {
        let rest = code.get(place..).unwrap_or_default();
        target(rest, address.wrapping_add(place)).is_some_and(is_entry)
    })
}

/// Returns whether a branch to `target` leads to one of the entries, which are sorted, or to one of
/// the `padding` bytes in front of it.
pub(crate) fn leads_to(target: usize, entries: &[usize], padding: usize) -> bool {
    let next = entries.partition_point(|entry| *entry < target);
    let is_next = entries
        .get(next)
        .is_some_and(|entry| *entry <= target.saturating_add(padding));
    is_next || entries.binary_search(&target.wrapping_sub(MARK)).is_ok()
}
