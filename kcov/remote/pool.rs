// SPDX-License-Identifier: GPL-2.0

//! Areas that are not in use.
//!
//! Every CPU has slots for areas of its own, so that CPUs seldom contend. One atomic exchange
//! empties or fills a slot. The number of the current CPU is only a hint for the slot to try first:
//! it may be wrong by the time it is used, and nothing depends on it.
//!
//! The areas of softirqs are allocated at boot. A section of a task takes an area from the pool, or
//! allocates one if it may sleep. If it must not sleep, the section is lost, and a worker adds an
//! area for the next one. Enabling a descriptor for remote sections prepares one area.
//!
//! Areas of tasks are kept while descriptors are enabled for remote sections, and for some seconds
//! after that, because a fuzzer enables them again for every program.

use crate::{
    arch,
    area::Area,
    context::Context,
    memory::{read_once, write_once},
    statistics, //
};
use kernel::{
    alloc::flags::{__GFP_NORETRY, __GFP_RETRY_MAYFAIL},
    bindings,
    cpu::nr_cpu_ids,
    impl_has_delayed_work,
    impl_has_work,
    new_delayed_work,
    new_work,
    prelude::*,
    sync::{
        atomic::{Atomic, AtomicFlag, Relaxed},
        slot::Slot,
        Arc,
        SetOnce, //
    },
    time::msecs_to_jiffies,
    workqueue::{self, DelayedWork, Work, WorkItem}, //
};

/// The number of areas of tasks that a CPU keeps: one for a section, one for a section inside it.
const TASK_SLOTS: usize = 2;

/// The number of words in a softirq's area, `CONFIG_KCOV_IRQ_AREA_SIZE`.
pub(crate) const SOFTIRQ_AREA_WORDS: usize = bindings::kcov_sizes_KCOV_SOFTIRQ_AREA_WORDS as usize;

/// The number of areas of softirqs that a CPU keeps. With PREEMPT_RT, softirqs can be preempted,
/// even by other softirqs.
const SOFTIRQ_SLOTS: usize = if cfg!(CONFIG_PREEMPT_RT) { 3 } else { 1 };

/// The time in milliseconds for which areas of tasks are kept after the last user has gone, at
/// least. They are kept at most twice as long.
const KEEP_MILLISECONDS: u32 = 5000;

/// The limit in bytes of the size of all areas of tasks together; beyond it, the worker adds no
/// area.
const MAX_ADDED_BYTES: i64 = 64 << 20;

/// A slot for an area.
struct AreaSlot {
    area: Slot<Area>,
    /// The size of the area in words, a hint: it is written after the area has been put there.
    words: Atomic<usize>,
}

impl AreaSlot {
    const fn new() -> Self {
        Self {
            area: Slot::new(),
            words: Atomic::new(0),
        }
    }

    /// Returns whether the slot had an area for `words` words a moment ago.
    #[inline(always)]
    fn suits(&self, words: usize) -> bool {
        !self.area.is_empty() && read_once(&self.words) >= words
    }

    /// Takes the area if it has space for `words` words.
    #[inline(always)]
    fn take(&self, words: usize) -> Option<Area> {
        if !self.suits(words) {
            return None;
        }
        let area = self.area.take()?;
        if area.words() < words {
            self.put_back(area);
            return None;
        }
        Some(area)
    }

    /// Puts back an area for which the hint was wrong. If the slot is occupied now, frees the area.
    #[cold]
    #[inline(never)]
    fn put_back(&self, area: Area) {
        drop(self.put(area));
        drain_if_unused();
    }

    /// Puts an area into the slot, or returns it if the slot is occupied.
    #[inline(always)]
    fn put(&self, area: Area) -> Result<(), Area> {
        let words = area.words();
        self.area.put(area)?;
        write_once(&self.words, words);
        Ok(())
    }
}

/// The areas of one CPU. Aligned so that CPUs do not share cache lines.
#[repr(align(64))]
struct Shard {
    task: [AreaSlot; TASK_SLOTS],
    softirq: [AreaSlot; SOFTIRQ_SLOTS],
}

impl Shard {
    const fn new() -> Self {
        Self {
            task: [const { AreaSlot::new() }; TASK_SLOTS],
            softirq: [const { AreaSlot::new() }; SOFTIRQ_SLOTS],
        }
    }

    fn slots(&self, context: Context) -> &[AreaSlot] {
        match context {
            Context::Task => &self.task,
            Context::Softirq => &self.softirq,
        }
    }
}

/// The number of shards: one for each CPU, rounded up to a power of two, but at most 256, which
/// CPUs then share.
const SHARDS: usize = {
    let shards = arch::POSSIBLE_CPUS.next_power_of_two();
    if shards < 256 {
        shards
    } else {
        256
    }
};

static POOL: [Shard; SHARDS] = [const { Shard::new() }; SHARDS];

/// The number of requests that have handles in the registry. Areas of tasks are kept while it is
/// not 0, and for some seconds after that.
static USERS: Atomic<usize> = Atomic::new(0);

/// Set when the last user goes, cleared when the worker looks.
static RECENTLY_USED: AtomicFlag = AtomicFlag::new(false);

/// The largest number of words that a section has found no area for, since the worker looked.
static WANTED: Atomic<usize> = Atomic::new(0);

/// Allocates the areas of softirqs. Returns [`ENOMEM`] if memory is short.
pub(crate) fn init() -> Result {
    for shard in POOL.iter().take(nr_cpu_ids() as usize) {
        for slot in &shard.softirq {
            let area = Area::new(SOFTIRQ_AREA_WORDS, __GFP_RETRY_MAYFAIL)?;
            // The slot is empty, so `put` returns nothing.
            let _ = slot.put(area);
        }
    }
    WORKER.populate(Arc::pin_init(Worker::new(), GFP_KERNEL)?);
    Ok(())
}

/// Returns the shard of the current CPU.
#[inline(always)]
fn here() -> usize {
    arch::cpu() as usize & (SHARDS - 1)
}

/// Returns the shards in the order in which CPU `here` searches them.
fn shards_from(here: usize) -> impl Iterator<Item = &'static Shard> {
    let (before, after) = POOL.split_at(here);
    Iterator::chain(after.iter(), before)
}

/// Returns an area with space for `words` words; `None` if the pool has none.
///
/// In a softirq, all areas have the configured size. In a task that may sleep, the function
/// allocates an area if the pool has none.
#[inline(always)]
pub(crate) fn lend(context: Context, words: usize) -> Option<Area> {
    let here = here();
    POOL[here].slots(context)[0]
        .take(words)
        .or_else(|| lend_elsewhere(here, context, words))
}

#[cold]
#[inline(never)]
fn lend_elsewhere(here: usize, context: Context, words: usize) -> Option<Area> {
    let area = shards_from(here)
        .flat_map(|shard| shard.slots(context))
        .find_map(|slot| slot.take(words));
    if area.is_some() || context == Context::Softirq {
        return area;
    }
    if !context.may_sleep() {
        want(words);
        Worker::add_soon();
        return None;
    }
    evict_smaller(&POOL[here], words);
    Area::new(words, __GFP_RETRY_MAYFAIL).ok()
}

/// Raises [`WANTED`] to `words`.
fn want(words: usize) {
    let mut wanted = WANTED.load(Relaxed);
    while wanted < words {
        match WANTED.cmpxchg(wanted, words, Relaxed) {
            Ok(_) => return,
            Err(now) => wanted = now,
        }
    }
}

/// Frees the areas of tasks of a CPU that have no space for `words` words: later sections will ask
/// for as many.
fn evict_smaller(shard: &Shard, words: usize) {
    for slot in &shard.task {
        if !slot.suits(words) {
            drop(slot.area.take());
        }
    }
}

/// Returns an area to the pool.
#[inline(always)]
pub(crate) fn give_back(context: Context, area: Area) {
    let here = here();
    if let Err(area) = POOL[here].slots(context)[0].put(area) {
        give_back_elsewhere(here, context, area);
    }
    if context == Context::Task {
        drain_if_unused();
    }
}

/// Starts the worker if the last user has gone. Must be called after an area of a task was put into
/// a slot.
#[inline(always)]
fn drain_if_unused() {
    // ORDERING: The exchange in `Slot::put` comes before the exchange in `drain` for the same slot,
    // or after it. If it comes before, the worker takes the area. If it comes after, it acquires
    // what the worker released. Queueing the work orders the subtraction in `close` before the
    // worker, so this load sees that the last user has gone.
    if read_once(&USERS) == 0 {
        Worker::drain_later();
    }
}

/// Puts an area into another slot. Every area of a softirq has a slot on some CPU. An area of a
/// task is kept by the CPU that used it last, which frees smaller areas for it if necessary.
#[cold]
#[inline(never)]
fn give_back_elsewhere(here: usize, context: Context, area: Area) {
    let reach = match context {
        Context::Task => 1,
        Context::Softirq => SHARDS,
    };
    let left = put_from(here, reach, context, area);
    if let (Context::Task, Some(area)) = (context, left) {
        evict_smaller(&POOL[here], area.words());
        drop(put_from(here, 1, context, area));
    }
}

/// Puts an area into the first empty slot of `reach` shards, beginning with `here`; returns the
/// area if all slots are occupied.
fn put_from(here: usize, reach: usize, context: Context, area: Area) -> Option<Area> {
    let mut left = Some(area);
    for slot in shards_from(here)
        .take(reach)
        .flat_map(|shard| shard.slots(context))
    {
        if let Some(area) = left.take() {
            left = slot.put(area).err();
        }
    }
    left
}

/// Adds an area of a task for `words` words if the pool has none and memory is available without
/// effort. If it fails, the first section that must not sleep is lost. May sleep.
pub(crate) fn prepare(words: usize) {
    let suits = |slot: &AreaSlot| slot.suits(words);
    if !POOL.iter().flat_map(|shard| &shard.task).any(suits) {
        add(words);
    }
}

/// Adds an area of a task for `words` words. May sleep.
fn add(words: usize) {
    let here = here();
    evict_smaller(&POOL[here], words);
    if let Ok(area) = Area::new(words, __GFP_NORETRY) {
        drop(put_from(here, SHARDS, Context::Task, area));
        drain_if_unused();
    }
}

/// Counts a user: a descriptor that is enabled for remote sections.
pub(crate) fn open() {
    USERS.fetch_add(1, Relaxed);
}

/// Uncounts a user. Some seconds after the last one, the worker frees the areas of tasks.
pub(crate) fn close() {
    // ORDERING: Queueing work is a full barrier, even if the work is queued already. See
    // `drain_if_unused`.
    if USERS.fetch_sub(1, Relaxed) == 1 {
        RECENTLY_USED.store(true, Relaxed);
        Worker::drain_later();
    }
}

fn drain() {
    for slot in POOL.iter().flat_map(|shard| &shard.task) {
        drop(slot.area.take());
    }
}

/// Deferred work, on any CPU: a real-time task that never sleeps would keep a worker from running
/// that is bound to its CPU.
#[pin_data]
struct Worker {
    /// The number of areas of softirqs, which the limits do not count.
    softirq_areas: i64,
    softirq_bytes: i64,
    #[pin]
    drain: DelayedWork<Self, 0>,
    #[pin]
    add: Work<Self, 1>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self, 0> for Worker { self.drain }
}
impl_has_work! {
    impl HasWork<Self, 1> for Worker { self.add }
}

static WORKER: SetOnce<Arc<Worker>> = SetOnce::new();

impl Worker {
    /// Prepares the worker. Must be called when the pool has all areas of softirqs and no others.
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            softirq_areas: statistics::areas(),
            softirq_bytes: statistics::area_bytes(),
            drain <- new_delayed_work!("kcov_drain"),
            add <- new_work!("kcov_add"),
        })
    }

    /// Starts the worker that frees the areas of tasks in some seconds. May be called from any
    /// context but NMI.
    #[cold]
    fn drain_later() {
        if let Some(worker) = WORKER.as_ref() {
            let delay = msecs_to_jiffies(KEEP_MILLISECONDS);
            // An error means that the work is already pending.
            let _ =
                workqueue::system_dfl().enqueue_delayed::<Arc<Worker>, 0>(worker.clone(), delay);
        }
    }

    /// Starts the worker that adds an area of [`WANTED`] words. May be called from any context but
    /// NMI.
    fn add_soon() {
        if let Some(worker) = WORKER.as_ref() {
            // As above.
            let _ = workqueue::system_dfl().enqueue::<Arc<Worker>, 1>(worker.clone());
        }
    }

    /// Returns whether one more area for `words` words is within the limits: for the number, the
    /// prepared area and one for each CPU; for the total size, [`MAX_ADDED_BYTES`].
    fn may_add(&self, words: usize) -> bool {
        let areas = statistics::areas() - self.softirq_areas;
        let bytes = statistics::area_bytes() - self.softirq_bytes;
        let more = i64::try_from(words.saturating_mul(size_of::<usize>())).unwrap_or(i64::MAX);
        areas <= i64::from(nr_cpu_ids()) && bytes.saturating_add(more) <= MAX_ADDED_BYTES
    }
}

impl WorkItem<0> for Worker {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>) {
        // While there are users, nothing needs to be done: the last user starts this work again.
        if USERS.load(Relaxed) > 0 {
            return;
        }
        if RECENTLY_USED.xchg(false, Relaxed) {
            Self::drain_later();
        } else {
            drain();
        }
    }
}

impl WorkItem<1> for Worker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let words = WANTED.xchg(0, Relaxed);
        if words == 0 || USERS.load(Relaxed) == 0 {
            return;
        }
        for shard in &POOL {
            evict_smaller(shard, words);
        }
        if this.may_add(words) {
            add(words);
        }
    }
}
