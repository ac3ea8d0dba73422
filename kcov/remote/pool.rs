// SPDX-License-Identifier: GPL-2.0

//! Areas that are not in use.
//!
//! Every CPU has places for areas of its own, so that CPUs do not meet in the usual case. A place
//! is emptied and filled by one atomic exchange. Which CPU the code runs on is only a hint where to
//! look first: it may be wrong by the time it is used, and nothing depends on it.
//!
//! Areas of tasks are allocated when there is none, and kept for the next section while anybody
//! collects remote coverage. Softirqs can't allocate. Their areas are allocated at boot, and when
//! they are all in use, a section is lost.

use crate::{arch, area::Area, bits, context::Context};
use core::sync::atomic::{AtomicUsize, Ordering};
use kernel::{cpu::nr_cpu_ids, prelude::*, sync::slot::Slot};

/// How many areas of tasks a CPU keeps: one for a section, one for a section inside of it.
const TASK_SLOTS: usize = 2;

/// How many areas of softirqs a CPU has room for. With PREEMPT_RT, softirqs can be preempted, by
/// another one too.
const SOFTIRQ_SLOTS: usize = if cfg!(CONFIG_PREEMPT_RT) { 3 } else { 1 };

/// The areas of one CPU. Aligned to keep CPUs apart.
#[repr(align(64))]
struct Shard {
    task: [Slot<Area>; TASK_SLOTS],
    softirq: [Slot<Area>; SOFTIRQ_SLOTS],
}

impl Shard {
    const fn new() -> Self {
        Self {
            task: [const { Slot::new() }; TASK_SLOTS],
            softirq: [const { Slot::new() }; SOFTIRQ_SLOTS],
        }
    }

    fn slots(&self, context: Context) -> &[Slot<Area>] {
        match context {
            Context::Task => &self.task,
            Context::Softirq => &self.softirq,
        }
    }
}

/// One for each CPU, up to a number beyond which CPUs share.
const SHARDS: usize = {
    let shards = bits::POSSIBLE_CPUS.next_power_of_two();
    if shards < 256 {
        shards
    } else {
        256
    }
};

static POOL: [Shard; SHARDS] = [const { Shard::new() }; SHARDS];

/// How many requests have handles in the registry. Areas of tasks are kept only while there are
/// some.
///
/// Not an `Atomic` of the `kernel` crate, whose operations are calls.
static USERS: AtomicUsize = AtomicUsize::new(0);

/// Allocates the areas of softirqs.
pub(crate) fn init() -> Result {
    for shard in POOL.iter().take(nr_cpu_ids() as usize) {
        for slot in &shard.softirq {
            // The slot is empty, so there is nothing to give back.
            let _ = slot.put(Area::new(bits::SOFTIRQ_AREA_WORDS)?);
        }
    }
    Ok(())
}

/// The shard of the current CPU.
#[inline(always)]
fn here() -> usize {
    arch::cpu() as usize & (SHARDS - 1)
}

/// Returns an area with room for `words` words, or nothing if there is none.
///
/// In a softirq, an area has the size that was configured. In a task, sleeps if an area has to be
/// allocated.
#[inline(always)]
pub(crate) fn lend(context: Context, words: usize) -> Option<Area> {
    let here = here();
    take(&POOL[here].slots(context)[0], context, words)
        .or_else(|| lend_elsewhere(here, context, words))
}

#[cold]
#[inline(never)]
fn lend_elsewhere(here: usize, context: Context, words: usize) -> Option<Area> {
    let (before, after) = POOL.split_at(here);
    let mut slots = Iterator::chain(after.iter(), before).flat_map(|shard| shard.slots(context));
    slots
        .find_map(|slot| take(slot, context, words))
        .or_else(|| match context {
            Context::Task => Area::new(words).ok(),
            Context::Softirq => None,
        })
}

#[inline(always)]
fn take(slot: &Slot<Area>, context: Context, words: usize) -> Option<Area> {
    if slot.is_empty() {
        return None;
    }
    let area = slot.take()?;
    if context == Context::Task && area.words() < words {
        // What is asked for is what will be asked for again, so make room for it.
        drop(area);
        return None;
    }
    Some(area)
}

/// Takes an area back.
#[inline(always)]
pub(crate) fn give_back(context: Context, area: Area) {
    let here = here();
    if let Err(area) = POOL[here].slots(context)[0].put(area) {
        give_back_elsewhere(here, context, area);
    }
    // ORDERING: This load, the exchange in `Slot::put`, those in `drain` and the subtraction in
    // `close` are in one order that all agree on. Either this load sees that the last user has
    // gone, or `close` sees the area.
    if context == Context::Task && USERS.load(Ordering::SeqCst) == 0 {
        drain();
    }
}

/// Areas of softirqs all have a place somewhere, those of tasks are kept by the CPU that used them
/// last.
#[cold]
#[inline(never)]
fn give_back_elsewhere(here: usize, context: Context, area: Area) {
    let reach = match context {
        Context::Task => 1,
        Context::Softirq => SHARDS,
    };
    let (before, after) = POOL.split_at(here);
    let mut left = Some(area);
    for shard in Iterator::chain(after.iter(), before).take(reach) {
        for slot in shard.slots(context) {
            if let Some(area) = left.take() {
                left = slot.put(area).err();
            }
        }
    }
    drop(left);
}

/// Notes that somebody has handles in the registry.
pub(crate) fn open() {
    USERS.fetch_add(1, Ordering::SeqCst);
}

/// Notes that somebody has taken handles out of the registry, and gives memory back if it was the
/// last one.
pub(crate) fn close() {
    // ORDERING: See `give_back`.
    if USERS.fetch_sub(1, Ordering::SeqCst) == 1 {
        drain();
    }
}

#[cold]
fn drain() {
    for slot in POOL.iter().flat_map(|shard| &shard.task) {
        drop(slot.take());
    }
}
