// SPDX-License-Identifier: GPL-2.0

//! One site, and the sites of the kernel image or of a module.

#![expect(unsafe_code)]

use super::{selection::MOST_LINES, BATCH, CALLING, JUMPS, SELECTED_SITES, SITES};
use crate::memory::Volatile;
use core::{ptr, slice};
use kernel::{bindings, prelude::*, sync::atomic::ordering::Relaxed};

/// The bits of a site's state: the number of its hook in the list `hooks.h`, and flags.
const HOOK: u32 = 0xf;
/// The running code has the call.
const CALLS: u32 = 1 << 4;
/// The instruction is a jump, which always stays.
const STAYS: u32 = 1 << 5;
/// The code is freed, or about to be.
const GONE: u32 = 1 << 6;
/// The selection has the site.
const SELECTED: u32 = 1 << 7;
/// The selection that is being prepared has the site.
const CHOSEN: u32 = 1 << 8;
/// The place of the number of the last line that matches the site, counted from 1.
const LINE_SHIFT: u32 = 16;
const LINE: u32 = u32::MAX << LINE_SHIFT;

const _: () = assert!(MOST_LINES <= (LINE >> LINE_SHIFT) as usize);

/// One site.
#[repr(C)]
pub(super) struct Site {
    /// The address of the call, relative to `_stext`. Never changes once the site is in the table.
    code: Volatile<i32>,
    state: Volatile<u32>,
}

// SAFETY: The address does not change, and the state is accessed only under the lock of the table.
unsafe impl Sync for Site {}

impl Site {
    pub(super) fn code(&self) -> *mut c_void {
        let start = ptr::addr_of!(bindings::_stext).cast_mut();
        start
            .cast::<c_void>()
            .wrapping_offset(self.code.get() as isize)
    }

    pub(super) fn address(&self) -> usize {
        self.code() as usize
    }

    fn has(&self, flag: u32) -> bool {
        self.state.get() & flag != 0
    }

    fn set(&self, flag: u32, on: bool) {
        let state = self.state.get();
        self.state
            .set(if on { state | flag } else { state & !flag });
    }

    /// Returns whether the site can be changed.
    pub(super) fn changes(&self) -> bool {
        !self.has(STAYS | GONE)
    }

    /// Returns whether the running code has the call.
    pub(super) fn calls(&self) -> bool {
        self.has(CALLS)
    }

    /// Returns whether the site can be changed, and has to be: if sites are wanted, the selected
    /// ones are calls. All others are NOPs.
    pub(super) fn differs(&self, wanted: bool) -> bool {
        self.changes() && self.calls() != (wanted && self.has(SELECTED))
    }

    /// Records that the running code has the call now, or a NOP. Returns the number of the hook.
    pub(super) fn flip(&self) -> u32 {
        self.set(CALLS, !self.calls());
        self.state.get() & HOOK
    }

    /// Chooses the site, or not, for the selection that is being prepared.
    pub(super) fn choose(&self, chosen: bool) {
        self.set(CHOSEN, chosen);
    }

    /// Returns the number of the last line that matched; 0 without one.
    pub(super) fn line(&self) -> usize {
        (self.state.get() >> LINE_SHIFT) as usize
    }

    pub(super) fn set_line(&self, number: usize) {
        let state = self.state.get() & !LINE;
        self.state.set(state | (number as u32) << LINE_SHIFT);
    }
}

/// The sites of the kernel image or of a module, sorted by address.
pub(super) struct Group {
    /// A number that grows with each group.
    pub(super) id: u64,
    pub(super) sites: &'static [Site],
    /// The name of the module; empty for the kernel image.
    pub(super) module: KVec<u8>,
    /// The addresses of functions with selected sites, sorted, if their callers are to be found.
    pub(super) entries: KVVec<usize>,
}

/// Numbers of sites.
#[derive(Clone, Copy, Default)]
pub(super) struct Numbers {
    pub(super) sites: i64,
    pub(super) calling: i64,
    pub(super) selected: i64,
    pub(super) jumps: i64,
}

impl Numbers {
    /// Adds a site with the given state.
    fn add(&mut self, state: u32) {
        if state & STAYS != 0 {
            self.jumps += 1;
        } else {
            self.sites += 1;
            self.calling += i64::from(state & CALLS != 0);
            self.selected += i64::from(state & SELECTED != 0);
        }
    }

    /// Adds the numbers to those that are shown, or takes them off if `sign` is negative.
    pub(super) fn count(self, sign: i64) {
        SITES.add(sign * self.sites, Relaxed);
        CALLING.add(sign * self.calling, Relaxed);
        SELECTED_SITES.add(sign * self.selected, Relaxed);
        JUMPS.add(sign * self.jumps, Relaxed);
    }
}

impl Group {
    /// Takes over the sites that objtool has listed, and returns their numbers, too.
    ///
    /// # Safety
    ///
    /// `start` points to `number` entries in their form on disk. They are valid until the group is
    /// dropped, and only `kcov_text_reserved()` accesses them in any other way. The code that they
    /// name does not change until this returns.
    pub(super) unsafe fn new(
        id: u64,
        start: *mut bindings::kcov_site,
        number: usize,
        module: KVec<u8>,
    ) -> (Self, Numbers) {
        // SAFETY: By this function's requirement. `Site` has the fields of `kcov_site`.
        let sites = unsafe { slice::from_raw_parts_mut(start.cast::<Site>(), number) };
        let text = ptr::addr_of!(bindings::_stext) as usize;
        let mut numbers = Numbers::default();
        // SAFETY: Callers may sleep.
        unsafe { bindings::kcov_sites_begin() };
        for site in sites.iter_mut() {
            let here = ptr::addr_of!(site.code) as usize;
            let code = here.wrapping_add_signed(site.code.get() as isize);
            site.code = Volatile::new(code.wrapping_sub(text) as i32);
            // SAFETY: The site is code of the kernel.
            let hook = unsafe { bindings::kcov_site_hook(site.code()) };
            let state = match u32::try_from(hook) {
                Ok(hook) => hook | CALLS | SELECTED,
                Err(_) => STAYS,
            };
            site.state = Volatile::new(state);
            numbers.add(state);
        }
        // SAFETY: `kcov_sites_begin` was called above.
        unsafe { bindings::kcov_sites_end() };
        // Changes are batched only in the order of addresses.
        sites.sort_unstable_by_key(|site| site.code.get());
        let group = Self {
            id,
            sites,
            module,
            entries: KVVec::new(),
        };
        (group, numbers)
    }

    pub(super) fn starts_at(&self, start: *const bindings::kcov_site) -> bool {
        ptr::addr_eq(self.sites.as_ptr(), start)
    }

    /// Marks sites whose code is about to be freed, and no longer counts them.
    pub(super) fn forget(&self, is_freed: impl Fn(*mut c_void) -> bool) {
        let mut freed = Numbers::default();
        for site in self.sites {
            let state = site.state.get();
            if state & GONE == 0 && is_freed(site.code()) {
                freed.add(state);
                site.state.set(state | GONE);
            }
        }
        freed.count(-1);
    }

    /// Selects the chosen sites. `entries` are the entries of their functions.
    pub(super) fn select_chosen(&mut self, entries: KVVec<usize>) {
        let mut change = Numbers::default();
        for site in self.sites.iter().filter(|site| site.changes()) {
            let (before, after) = (site.has(SELECTED), site.has(CHOSEN));
            change.selected += i64::from(after) - i64::from(before);
            site.set(SELECTED, after);
        }
        change.count(1);
        self.entries = entries;
    }

    /// Makes all sites NOPs, for the boot.
    ///
    /// # Safety
    ///
    /// Only this CPU runs.
    pub(super) unsafe fn remove_early(&self) {
        let mut batch = [ptr::null_mut(); BATCH];
        let mut filled = 0;
        for site in self.sites.iter().filter(|site| site.differs(false)) {
            if filled == BATCH {
                // SAFETY: The batch has `filled` sites, and only this CPU runs.
                unsafe { bindings::kcov_sites_remove_early(batch.as_mut_ptr(), filled as c_uint) };
                filled = 0;
            }
            if let Some(place) = batch.get_mut(filled) {
                *place = site.code();
                filled += 1;
                site.flip();
            }
        }
        // SAFETY: As above.
        unsafe { bindings::kcov_sites_remove_early(batch.as_mut_ptr(), filled as c_uint) };
    }
}
