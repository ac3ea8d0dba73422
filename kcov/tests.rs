// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the parts that do not need user space, one file for each subject. This file has
//! the helpers that several of them use.

#![expect(unsafe_code)]

use crate::{
    area::Area,
    buffer::{Buffer, LaidOutBuffer},
    context::Context,
    descriptor::{Descriptor, RemoteRequest},
    gate,
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
        direct_position,
        image_words as set_words,
        modules as set_modules,
        position as position_of,
        start as set_start, //
    },
    statistics, task,
};
use core::hint::black_box;
use kernel::{interrupt::local_interrupt_disable, prelude::*, sync::Arc};

const COMPARISONS: bool = cfg!(CONFIG_KCOV_ENABLE_COMPARISONS);
const UNIQUE: bool = cfg!(CONFIG_KCOV_UNIQUE);

/// Returns the bit number of a PC in a set.
fn position(pc: usize) -> usize {
    position_of(pc, direct_position(pc))
}

/// A PC outside the kernel. PCs that begin here have no bit in a set of any size.
const FOREIGN: usize = 0x1000;

/// Lays out all but the last of `words`.
fn lay_out<const N: usize>(words: &mut [u64; N], mode: Mode, front: usize) -> Result<Layout> {
    // SAFETY: The words outlive the layout in all tests, which are for 64-bit kernels.
    let memory = unsafe { Memory::new(words.as_mut_ptr().cast(), N - 1) };
    Layout::of_buffer(mode, memory, front)
}

/// Returns a recorder into a layout, as the hooks have it.
fn recorder<'a>(layout: &'a Layout) -> Recorder<impl Fn() -> &'a Layout + use<'a>> {
    let (start, capacity) = layout.fast_path();
    // SAFETY: The layout's start and capacity describe memory that outlives the recorder.
    unsafe { Recorder::new(start, capacity, move || layout) }
}

/// Records one comparison.
fn push(layout: &Layout, arg1: u64) {
    recorder(layout).push_comparison(Comparison {
        kind: 7,
        arg1,
        arg2: 2,
        pc: 3,
    });
}

/// Returns the content of a buffer.
fn content(buffer: &Buffer) -> Result<KVec<u64>> {
    let mut words = KVec::with_capacity(buffer.words(), GFP_KERNEL)?;
    for index in 0..buffer.words() {
        let place = buffer.start().cast::<u64>().wrapping_add(index);
        // SAFETY: `index` is less than the number of the buffer's words.
        let word = unsafe { place.read_volatile() };
        words.push(word, GFP_KERNEL)?;
    }
    Ok(words)
}

/// Returns whether a recorded PC is an address of the kernel image in its symbol file.
fn is_image(pc: u64) -> bool {
    set_start() as u64 <= pc && position(pc as usize) < 64 * set_words()
}

/// Calls a hook by its address, so that it is not inlined, as compiled code calls it.
macro_rules! call {
    ($hook:path, $type:ty, $($argument:expr),*) => {{
        let hook: $type = $hook;
        // SAFETY: Hooks may be called at any time. The hook of `switch` needs a table, which its
        // callers pass.
        unsafe { black_box(hook)($($argument),*) }
    }};
}

mod edges;
mod filter;
mod hooks;
mod layout;
mod merge;
mod modes;
mod remote;
mod set;
