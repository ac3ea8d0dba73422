// SPDX-License-Identifier: GPL-2.0

//! Properties of the format and the layout, for inputs of all kinds.

mod descriptors;
mod edges;
mod filters;
mod handles;
mod layouts;
mod memory;
mod modes;
mod reader;
mod sets;
mod sites;
mod tables;
mod traces;

use proptest::prelude::*;

/// Counts that user space may have written. Each of them has failed in some version, or is next to
/// one that has.
fn forged() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..80_u64,
        (0..64_u32, -2..=2_i64).prop_map(|(bit, more)| (1_u64 << bit).wrapping_add_signed(more)),
    ]
}

/// PCs as the hooks see them: of the image, of modules, of any address. Few of them are new.
fn pcs() -> impl Strategy<Value = usize> {
    let text = &kernel::bindings::kcov_text;
    // SAFETY: The variable does not change.
    let moved = unsafe { kernel::bindings::kcov_kaslr_offset };
    prop_oneof![
        4 => (0..600_usize).prop_map(move |offset| moved + text.start + offset),
        1 => (0..text.size + 64).prop_map(move |offset| moved + text.start + offset),
        2 => (0..4096_usize).prop_map(move |offset| moved + text.modules + offset),
        1 => any::<usize>(),
    ]
}

/// The same PCs in the form of the records: addresses of the symbol file.
fn canonical_pcs() -> impl Strategy<Value = usize> {
    pcs().prop_map(crate::records::canonical)
}
