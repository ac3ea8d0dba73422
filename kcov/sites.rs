// SPDX-License-Identifier: GPL-2.0

//! The sites: every call of a hook in the kernel image and in modules.
//!
//! objtool lists the calls when an object is built. While no buffer exists, the running kernel has
//! NOPs in their place, so that compiled code neither calls nor returns. Files on disk keep the
//! calls. The [`crate::gate`] decides when the sites are needed; this file has the table of sites
//! and their states, and `sites.c` changes the code.
//!
//! A site is changed only under the lock of the table, and only while its code exists. The lock is
//! dropped after each batch, so that other users of text patching, and modules, wait for a batch at
//! most.

#![expect(unsafe_code)]

use crate::memory::Volatile;
use core::{mem::size_of, ptr, slice};
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::{ordering::Relaxed, Atomic}, //
};

/// The number of sites that are changed at once.
const BATCH: usize = bindings::KCOV_SITES_BATCH as usize;

/// The bits of a site's state: the number of its hook in the list `hooks.h`, and flags.
const HOOK: u32 = 0xf;
/// The running code has the call.
const CALLS: u32 = 1 << 4;
/// The instruction is a jump, which always stays.
const STAYS: u32 = 1 << 5;
/// The code is freed, or about to be.
const GONE: u32 = 1 << 6;

/// One site.
#[repr(C)]
struct Site {
    /// The address of the call, relative to `_stext`. Never changes once the site is in the table.
    code: Volatile<i32>,
    state: Volatile<u32>,
}

// SAFETY: The address does not change, and the state is accessed only under the lock of the table.
unsafe impl Sync for Site {}

impl Site {
    fn code(&self) -> *mut c_void {
        let start = ptr::addr_of!(bindings::_stext).cast_mut();
        start
            .cast::<c_void>()
            .wrapping_offset(self.code.get() as isize)
    }

    /// Returns whether the site can be changed, and is not what is wanted.
    fn differs(&self, wanted: bool) -> bool {
        let state = self.state.get();
        state & (STAYS | GONE) == 0 && (state & CALLS != 0) != wanted
    }

    /// Records what the running code has.
    fn set_calls(&self, calls: bool) {
        let state = self.state.get();
        self.state
            .set(if calls { state | CALLS } else { state & !CALLS });
    }
}

/// The sites of the kernel image or of a module, sorted by address.
struct Group {
    /// A number that grows with each group.
    id: u64,
    sites: &'static [Site],
}

/// Numbers of sites.
#[derive(Clone, Copy, Default)]
struct Numbers {
    sites: i64,
    calling: i64,
    jumps: i64,
}

impl Numbers {
    /// Adds a site with the given state.
    fn add(&mut self, state: u32) {
        if state & STAYS != 0 {
            self.jumps += 1;
        } else {
            self.sites += 1;
            self.calling += i64::from(state & CALLS != 0);
        }
    }

    /// Adds the numbers to those that are shown, or takes them off if `sign` is negative.
    fn count(self, sign: i64) {
        SITES.add(sign * self.sites, Relaxed);
        CALLING.add(sign * self.calling, Relaxed);
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
    unsafe fn new(id: u64, start: *mut bindings::kcov_site, number: usize) -> (Self, Numbers) {
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
                Ok(hook) => hook | CALLS,
                Err(_) => STAYS,
            };
            site.state = Volatile::new(state);
            numbers.add(state);
        }
        // SAFETY: `kcov_sites_begin` was called above.
        unsafe { bindings::kcov_sites_end() };
        // Changes are batched only in the order of addresses.
        sites.sort_unstable_by_key(|site| site.code.get());
        (Self { id, sites }, numbers)
    }

    fn starts_at(&self, start: *const bindings::kcov_site) -> bool {
        ptr::addr_eq(self.sites.as_ptr(), start)
    }

    /// Marks sites whose code is about to be freed, and no longer counts them.
    fn forget(&self, is_freed: impl Fn(*mut c_void) -> bool) {
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

    /// Makes all sites NOPs, for the boot.
    ///
    /// # Safety
    ///
    /// Only this CPU runs.
    unsafe fn remove_early(&self) {
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
                site.set_calls(false);
            }
        }
        // SAFETY: As above.
        unsafe { bindings::kcov_sites_remove_early(batch.as_mut_ptr(), filled as c_uint) };
    }
}

/// A place in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    group: u64,
    site: usize,
}

struct Table {
    groups: KVec<Group>,
    next_id: u64,
    /// True if sites are changed at all.
    enabled: bool,
    /// True if the sites are to be calls.
    wanted: bool,
}

kernel::sync::global_lock! {
    // SAFETY: `kcov_sites_init` initializes it at boot, before it is used.
    unsafe(uninit) static TABLE: Mutex<Table> = Table {
        groups: KVec::new(),
        next_id: 0,
        enabled: false,
        wanted: true,
    };
}

/// The numbers of sites that can be changed, of those that are calls now, and of jumps.
static SITES: Atomic<i64> = Atomic::new(0);
static CALLING: Atomic<i64> = Atomic::new(0);
static JUMPS: Atomic<i64> = Atomic::new(0);

impl Table {
    /// Adds a group. Sites of a group for which there is no memory stay what they are.
    fn add(&mut self, group: Group, numbers: Numbers) -> Result {
        self.groups.push(group, GFP_KERNEL)?;
        numbers.count(1);
        Ok(())
    }

    /// Makes up to [`BATCH`] sites from `from` on what is wanted. Returns the place after them;
    /// [`None`] if there are no more.
    fn change_batch(&self, from: Position) -> Option<Position> {
        let group = self.groups.iter().find(|group| group.id >= from.group)?;
        let first = if group.id == from.group { from.site } else { 0 };
        let mut left = BATCH;
        let mut next = group.sites.len();
        // SAFETY: Callers may sleep.
        unsafe { bindings::kcov_sites_begin() };
        for (index, site) in group.sites.iter().enumerate().skip(first) {
            if !site.differs(self.wanted) {
                continue;
            }
            if left == 0 {
                next = index;
                break;
            }
            left -= 1;
            let hook = if self.wanted {
                (site.state.get() & HOOK) as c_int
            } else {
                -1
            };
            // SAFETY: `kcov_sites_begin` was called above. The code is there, since its group is in
            // the table and it is not marked as gone. Sites are in the order of their addresses.
            unsafe { bindings::kcov_site_change(site.code(), hook) };
            site.set_calls(self.wanted);
        }
        // SAFETY: As above.
        unsafe { bindings::kcov_sites_end() };
        let changed = (BATCH - left) as i64;
        CALLING.add(if self.wanted { changed } else { -changed }, Relaxed);
        Some(if next < group.sites.len() {
            Position {
                group: group.id,
                site: next,
            }
        } else {
            Position {
                group: group.id + 1,
                site: 0,
            }
        })
    }
}

/// Makes all sites what is wanted, as long as `wanted` is.
fn change_all(wanted: bool) {
    let mut position = Some(Position { group: 0, site: 0 });
    while let Some(from) = position {
        let table = TABLE.lock();
        if table.wanted != wanted {
            return;
        }
        position = table.change_batch(from);
    }
}

/// Returns the number of sites in the running kernel.
pub(crate) fn sites() -> &'static Atomic<i64> {
    &SITES
}

/// Returns the number of sites that are calls at the moment.
pub(crate) fn calling() -> &'static Atomic<i64> {
    &CALLING
}

/// Returns the number of jumps to hooks, which always stay.
pub(crate) fn jumps() -> &'static Atomic<i64> {
    &JUMPS
}

/// Adds the sites of the kernel image, and makes them NOPs if `remove` is true.
///
/// # Safety
///
/// Called once, at boot, before another CPU runs and before any other function of this file.
#[export]
pub(crate) unsafe extern "C" fn kcov_sites_init(remove: bool) {
    // SAFETY: By this function's requirement.
    unsafe { TABLE.init() };
    let start = ptr::addr_of_mut!(bindings::__start_kcov_sites).cast::<bindings::kcov_site>();
    let stop = ptr::addr_of_mut!(bindings::__stop_kcov_sites) as usize;
    let number = stop.saturating_sub(start as usize) / size_of::<bindings::kcov_site>();
    let mut table = TABLE.lock();
    // SAFETY: The linker puts all entries between these symbols, and the array is never freed.
    let (group, mut numbers) = unsafe { Group::new(table.next_id, start, number) };
    table.next_id += 1;
    table.enabled = remove;
    table.wanted = !remove;
    if table.groups.reserve(1, GFP_KERNEL).is_err() {
        return;
    }
    if remove {
        // SAFETY: By this function's requirement.
        unsafe { group.remove_early() };
        numbers.calling = 0;
    }
    // The space was reserved above.
    let _ = table.add(group, numbers);
}

/// Makes all sites calls and returns when that is done, or has them become NOPs after a while. May
/// sleep.
///
/// # Safety
///
/// Called after [`kcov_sites_init`], and only by the worker of the gate and at boot.
#[export]
pub(crate) unsafe extern "C" fn kcov_sites_want(wanted: bool) {
    {
        let mut table = TABLE.lock();
        if !table.enabled || table.wanted == wanted {
            return;
        }
        table.wanted = wanted;
    }
    if wanted {
        change_all(true);
    } else {
        // SAFETY: The function only starts a worker.
        unsafe { bindings::kcov_sites_remove_later() };
    }
}

/// Makes all sites NOPs unless they are wanted again. May sleep.
///
/// # Safety
///
/// Called after [`kcov_sites_init`].
#[export]
pub(crate) unsafe extern "C" fn kcov_sites_remove() {
    change_all(false);
}

/// Leaves sites in code for the boot as they are from now on. May sleep.
///
/// # Safety
///
/// Called after [`kcov_sites_init`].
#[export]
pub(crate) unsafe extern "C" fn kcov_sites_forget_init() {
    let table = TABLE.lock();
    if let Some(image) = table.groups.first() {
        // SAFETY: The function only compares addresses.
        image.forget(|code| unsafe { bindings::kcov_site_is_init(code) });
    }
}

/// Adds the sites of a module that does not run yet. May sleep.
///
/// # Safety
///
/// `start` points to `number` entries as the module has them on disk, which stay until
/// [`kcov_sites_del`].
#[export]
pub(crate) unsafe extern "C" fn kcov_sites_add(start: *mut bindings::kcov_site, number: c_uint) {
    let mut table = TABLE.lock();
    // SAFETY: By this function's requirement.
    let (group, numbers) = unsafe { Group::new(table.next_id, start, number as usize) };
    table.next_id += 1;
    let from = Position {
        group: group.id,
        site: 0,
    };
    if table.add(group, numbers).is_err() {
        return;
    }
    let mut position = Some(from);
    while let Some(from) = position {
        position = table.change_batch(from);
    }
}

/// Leaves sites of a module from `init` to `init_end` as they are from now on. May sleep.
///
/// # Safety
///
/// Called with a pointer for which [`kcov_sites_add`] was called.
#[export]
pub(crate) unsafe extern "C" fn kcov_sites_forget(
    start: *mut bindings::kcov_site,
    init: c_ulong,
    init_end: c_ulong,
) {
    let table = TABLE.lock();
    if let Some(group) = table.groups.iter().find(|group| group.starts_at(start)) {
        group.forget(|code| (init..init_end).contains(&(code as c_ulong)));
    }
}

/// Removes the sites of a module that does not run any more. May sleep.
///
/// # Safety
///
/// As [`kcov_sites_forget`].
#[export]
pub(crate) unsafe extern "C" fn kcov_sites_del(start: *mut bindings::kcov_site) {
    let mut table = TABLE.lock();
    let Some(index) = table.groups.iter().position(|group| group.starts_at(start)) else {
        return;
    };
    if let Ok(group) = table.groups.remove(index) {
        group.forget(|_| true);
    }
}
