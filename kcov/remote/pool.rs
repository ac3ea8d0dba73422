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

use crate::{area::Area, bits, context::Context};
use kernel::{
    cpu::{nr_cpu_ids, CpuId},
    prelude::*,
    sync::{
        atomic::{ordering, Atomic},
        slot::Slot,
        SetOnce, //
    },
};

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

static SHARDS: SetOnce<KVec<Shard>> = SetOnce::new();

/// How many requests have handles in the registry. Areas of tasks are kept only while there are
/// some.
static USERS: Atomic<i32> = Atomic::new(0);

/// Allocates the areas of softirqs.
pub(crate) fn init() -> Result {
    let mut shards = KVec::with_capacity(nr_cpu_ids() as usize, GFP_KERNEL)?;
    for _ in 0..nr_cpu_ids() {
        shards.push(Shard::new(), GFP_KERNEL)?;
    }
    for shard in &shards {
        for slot in &shard.softirq {
            // The slot is empty, so there is nothing to give back.
            let _ = slot.put(Area::new(bits::SOFTIRQ_AREA_WORDS)?);
        }
    }
    SHARDS.populate(shards);
    Ok(())
}

/// The shards of all CPUs, beginning with that of the current one.
fn shards() -> impl Iterator<Item = &'static Shard> {
    let all = SHARDS.as_ref().map_or(&[][..], |shards| &shards[..]);
    let here = (CpuId::current().as_u32() as usize).min(all.len());
    let (before, after) = all.split_at(here);
    Iterator::chain(after.iter(), before)
}

/// Returns an area with room for `words` words, or nothing if there is none.
///
/// In a softirq, an area has the size that was configured. In a task, sleeps if an area has to be
/// allocated.
pub(crate) fn lend(context: Context, words: usize) -> Option<Area> {
    let wanted = match context {
        Context::Task => words,
        Context::Softirq => 0,
    };
    for slot in shards().flat_map(|shard| shard.slots(context)) {
        if let Some(area) = slot.take() {
            if area.words() >= wanted {
                return Some(area);
            }
            // Too small: what is asked for is what will be asked for again, so make room for it.
            drop(area);
        }
    }
    match context {
        Context::Task => Area::new(words).ok(),
        Context::Softirq => None,
    }
}

/// Takes an area back.
pub(crate) fn give_back(context: Context, area: Area) {
    let mut left = Some(area);
    // Areas of softirqs all have a place somewhere, those of tasks are kept by the CPU that used
    // them last.
    let reach = match context {
        Context::Task => 1,
        Context::Softirq => usize::MAX,
    };
    for slot in shards().take(reach).flat_map(|shard| shard.slots(context)) {
        if let Some(area) = left.take() {
            left = slot.put(area).err();
        }
    }
    drop(left);
    // ORDERING: The exchange in `Slot::put` is a full barrier, and so is the subtraction in
    // `close`. Either this load sees that the last user has gone, or `close` sees the area.
    if context == Context::Task && USERS.load(ordering::Relaxed) == 0 {
        drain();
    }
}

/// Notes that somebody has handles in the registry.
pub(crate) fn open() {
    USERS.fetch_add(1, ordering::Full);
}

/// Notes that somebody has taken handles out of the registry, and gives memory back if it was the
/// last one.
pub(crate) fn close() {
    // ORDERING: See `give_back`.
    if USERS.fetch_sub(1, ordering::Full) == 1 {
        drain();
    }
}

fn drain() {
    for slot in shards().flat_map(|shard| shard.slots(Context::Task)) {
        drop(slot.take());
    }
}
