// SPDX-License-Identifier: GPL-2.0

//! Pages with an owner.
//!
//! Each allocation has a red zone before and after it, which is checked when it is freed. In a
//! model of loom it also has a cell, which ends the test when two threads use the memory without an
//! order between them.

use super::{flags::__GFP_ZERO, Flags};
use crate::{
    error::{code::ENOMEM, Result},
    page::{BorrowedPage, PAGE_SIZE},
};
use core::model;
use std::{
    alloc::Layout,
    collections::BTreeMap,
    marker::PhantomData,
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub struct NumaNode;

impl NumaNode {
    pub const NO_NODE: Self = Self;
}

/// # Safety
///
/// None here.
pub unsafe trait Allocator {
    fn alloc(layout: Layout, flags: Flags, node: NumaNode) -> Result<NonNull<[u8]>>;

    /// # Safety
    ///
    /// `memory` was allocated with `layout`, and has not been freed.
    unsafe fn free(memory: NonNull<u8>, layout: Layout);
}

pub struct Vmalloc;

const ZONE: usize = PAGE_SIZE;
const GUARD: u8 = 0xa5;
/// The content of new memory, and of memory that was freed.
const GARBAGE: u8 = 0x6b;

struct Owned {
    layout: Layout,
    execution: u64,
    #[cfg(feature = "loom")]
    user: std::sync::Arc<User>,
}

#[cfg(feature = "loom")]
struct User(loom::cell::UnsafeCell<()>);

// SAFETY: Loom checks all accesses of the cell, which holds nothing.
#[cfg(feature = "loom")]
unsafe impl Send for User {}
// SAFETY: As above.
#[cfg(feature = "loom")]
unsafe impl Sync for User {}

static MEMORY: Mutex<BTreeMap<usize, Owned>> = Mutex::new(BTreeMap::new());

fn memory() -> MutexGuard<'static, BTreeMap<usize, Owned>> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the number of allocations of this execution that have not been freed.
pub fn live() -> usize {
    let execution = model::execution();
    memory()
        .values()
        .filter(|owned| owned.execution == execution)
        .count()
}

/// Uses the memory that `address` is in, as its only owner.
pub fn touch(address: *const u8) {
    let memory = memory();
    let (start, owned) = memory
        .range(..=address as usize)
        .next_back()
        .expect("memory of no allocation is used");
    assert!(
        address as usize - start < owned.layout.size(),
        "memory of no allocation is used"
    );
    #[cfg(feature = "loom")]
    {
        let user = owned.user.clone();
        drop(memory);
        user.0.with_mut(|_| ());
    }
}

fn with_zones(layout: Layout) -> Layout {
    Layout::from_size_align(layout.size() + 2 * ZONE, layout.align().max(ZONE)).unwrap()
}

// SAFETY: The memory comes from the allocator of the program.
unsafe impl Allocator for Vmalloc {
    fn alloc(layout: Layout, flags: Flags, _node: NumaNode) -> Result<NonNull<[u8]>> {
        crate::task::might_sleep();
        let size = layout.size();
        if size > 1 << 28 {
            return Err(ENOMEM);
        }
        // SAFETY: The size is not 0.
        let start = unsafe { std::alloc::alloc(with_zones(layout)) };
        let content = if flags.contains(__GFP_ZERO) {
            0
        } else {
            GARBAGE
        };
        // SAFETY: The allocation has a zone, the memory and a zone.
        unsafe {
            start.write_bytes(GUARD, ZONE);
            start.add(ZONE).write_bytes(content, size);
            start.add(ZONE + size).write_bytes(GUARD, ZONE);
        }
        let start = NonNull::new(start.wrapping_add(ZONE)).ok_or(ENOMEM)?;
        let owned = Owned {
            layout,
            execution: model::execution(),
            #[cfg(feature = "loom")]
            user: std::sync::Arc::new(User(loom::cell::UnsafeCell::new(()))),
        };
        memory().insert(start.as_ptr() as usize, owned);
        Ok(NonNull::slice_from_raw_parts(start, size))
    }

    unsafe fn free(start: NonNull<u8>, layout: Layout) {
        touch(start.as_ptr());
        let owned = memory().remove(&(start.as_ptr() as usize));
        let owned = owned.expect("memory of no allocation is freed");
        assert_eq!(owned.layout, layout, "memory is freed by another layout");
        let size = layout.size();
        let first = start.as_ptr().wrapping_sub(ZONE);
        // SAFETY: As in `alloc`; the zones were never given out.
        unsafe {
            for zone in [first, start.as_ptr().add(size)] {
                let zone = std::slice::from_raw_parts(zone, ZONE);
                assert!(
                    zone.iter().all(|&byte| byte == GUARD),
                    "a red zone was written to"
                );
            }
            start.write_bytes(GARBAGE, size);
            std::alloc::dealloc(first, with_zones(layout));
        }
    }
}

impl Vmalloc {
    /// # Safety
    ///
    /// The memory stays allocated during `'a`.
    pub unsafe fn to_page<'a>(_start: NonNull<u8>) -> BorrowedPage<'a> {
        BorrowedPage(PhantomData)
    }
}

/// Frees memory, given only its address.
pub(crate) fn free_at(start: *mut u8) {
    let layout = memory().get(&(start as usize)).map(|owned| owned.layout);
    let layout = layout.expect("memory of no allocation is freed");
    // SAFETY: The memory is allocated; the caller is its owner, as in the kernel.
    unsafe { Vmalloc::free(NonNull::new_unchecked(start), layout) }
}
