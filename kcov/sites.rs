// SPDX-License-Identifier: GPL-2.0

//! The sites: every call of a hook in the kernel image and in modules.
//!
//! objtool lists the calls when an object is built. While no buffer exists, the running kernel has
//! NOPs in their place, so that compiled code neither calls nor returns. Files on disk keep the
//! calls. The [`crate::gate`] decides when the sites are needed, and the [`selection`] which of
//! them. This file has the table of sites, [`group`] their states, and `sites.c` changes the code.
//!
//! A site is changed only under the lock of the table, and only while its code exists. The lock is
//! dropped after each batch, so that other users of text patching, and modules, wait for a batch at
//! most.

#![expect(unsafe_code)]

mod branches;
mod change;
mod choice;
pub(crate) mod file;
mod glob;
mod group;
mod line;
mod selection;

use choice::is_killed;
use core::{mem::size_of, ptr};
use group::{Group, Numbers};
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::Atomic, //
};
use selection::Selection;

/// The number of sites that are changed at once.
const BATCH: usize = bindings::KCOV_SITES_BATCH as usize;

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
    /// True if the selected sites are to be calls.
    wanted: bool,
    selection: Selection,
    /// The last line that was refused, and the reason, for a reader of the file.
    refusal: KVVec<u8>,
}

kernel::sync::global_lock! {
    // SAFETY: `kcov_sites_init` initializes it at boot, before it is used.
    unsafe(uninit) static TABLE: Mutex<Table> = Table {
        groups: KVec::new(),
        next_id: 0,
        enabled: false,
        wanted: true,
        selection: Selection::new(),
        refusal: KVVec::new(),
    };
}

/// The numbers of sites that can be changed, of those that are calls now and of those that are
/// selected, and of jumps.
static SITES: Atomic<i64> = Atomic::new(0);
static CALLING: Atomic<i64> = Atomic::new(0);
static SELECTED_SITES: Atomic<i64> = Atomic::new(0);
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
        let mut change = Numbers::default();
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
            let hook = site.flip() as c_int;
            let hook = if site.calls() { hook } else { -1 };
            change.calling += if site.calls() { 1 } else { -1 };
            // SAFETY: `kcov_sites_begin` was called above. The code is there, since its group is in
            // the table and it is not marked as gone. Sites are in the order of their addresses.
            unsafe { bindings::kcov_site_change(site.code(), hook) };
        }
        // SAFETY: As above.
        unsafe { bindings::kcov_sites_end() };
        change.count(1);
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

/// Makes all sites what is wanted, as long as `wanted` is; stops when the task is killed, if
/// `killable` is true. Returns whether all sites are.
fn change_all(wanted: bool, killable: bool) -> bool {
    let mut position = Some(Position { group: 0, site: 0 });
    while let Some(from) = position {
        if is_killed() && killable {
            return false;
        }
        let table = TABLE.lock();
        if table.wanted != wanted {
            return false;
        }
        position = table.change_batch(from);
    }
    true
}

/// Makes all sites what is wanted, also if that changes meanwhile; stops when the task is killed,
/// if `killable` is true. Returns whether all sites are.
fn change_to_wanted(killable: bool) -> bool {
    while !(is_killed() && killable) {
        let wanted = TABLE.lock().wanted;
        if change_all(wanted, killable) {
            return true;
        }
    }
    false
}

/// Makes all sites what is wanted. A worker does the rest if the task is killed.
fn change_now() {
    if !change_to_wanted(true) {
        // SAFETY: The function only starts a worker.
        unsafe { bindings::kcov_sites_change_later() };
    }
}

/// Returns whether a branch to `target` leads to one of the entries, which are sorted.
fn is_entry(target: usize, entries: &[usize]) -> bool {
    // SAFETY: The function only reads the features of the processor.
    let padding = unsafe { bindings::kcov_site_padding() };
    branches::leads_to(target, entries, padding)
}

/// Returns whether sites can be selected: they are changed at all.
pub(crate) fn can_be_selected() -> bool {
    TABLE.lock().enabled
}

/// Returns the number of sites in the running kernel.
pub(crate) fn sites() -> &'static Atomic<i64> {
    &SITES
}

/// Returns the number of sites that are calls at the moment.
pub(crate) fn calling() -> &'static Atomic<i64> {
    &CALLING
}

/// Returns the number of sites that are selected.
pub(crate) fn selected() -> &'static Atomic<i64> {
    &SELECTED_SITES
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
    let (group, mut numbers) = unsafe { Group::new(table.next_id, start, number, KVec::new()) };
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
        change_all(true, false);
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
    change_all(false, false);
}

/// Makes all sites what is wanted. May sleep.
///
/// # Safety
///
/// Called after [`kcov_sites_init`].
#[export]
pub(crate) unsafe extern "C" fn kcov_sites_change() {
    change_to_wanted(false);
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
/// [`kcov_sites_del`]. `name` is a C string.
#[export]
pub(crate) unsafe extern "C" fn kcov_sites_add(
    start: *mut bindings::kcov_site,
    number: c_uint,
    name: *const c_char,
) {
    // SAFETY: By this function's requirement.
    let name = unsafe { CStr::from_char_ptr(name) };
    let mut module = KVec::new();
    if module
        .extend_from_slice(name.to_bytes(), GFP_KERNEL)
        .is_err()
    {
        return;
    }
    let mut table = TABLE.lock();
    // SAFETY: By this function's requirement.
    let (group, numbers) = unsafe { Group::new(table.next_id, start, number as usize, module) };
    table.next_id += 1;
    let from = Position {
        group: group.id,
        site: 0,
    };
    if table.add(group, numbers).is_err() {
        return;
    }
    if !table.selection.lines().is_empty() {
        // Without memory, all sites of the module stay selected.
        let _ = table.select_last();
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
