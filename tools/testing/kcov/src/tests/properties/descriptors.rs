// SPDX-License-Identifier: GPL-2.0

//! Descriptors as a program uses them, and remote sections that record for them. Each test is one
//! story without random input: the moments that it is about come every time.

mod resets;

use crate::{
    context::Context,
    descriptor::{Descriptor, RemoteRequest},
    mode::{Mode, RECORD_COMPARISONS, RECORD_PCS},
    records::{canonical, Comparison},
    remote::{
        handle::{Handle, HandleList, Key},
        pool, registry, section,
    },
    set, statistics,
    task::{self, Stopped},
};
use kernel::{bindings, host, prelude::*, sync::Arc, workqueue};
use std::{
    hint,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// Makes the current thread a new task. The tests share the pool and the registry, so one of them
/// runs at a time.
fn alone() -> MutexGuard<'static, bool> {
    static READY: Mutex<bool> = Mutex::new(false);
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    if !*ready {
        registry::init();
        pool::init().unwrap();
        *ready = true;
    }
    host::new_tasks();
    ready
}

fn opened(words: usize) -> Arc<Descriptor> {
    let descriptor = Descriptor::new().unwrap();
    descriptor.init(words).unwrap();
    descriptor
}

fn key(handle: u64) -> Key {
    Handle::parse(handle).unwrap().key().unwrap()
}

fn enable_remote(
    descriptor: &Arc<Descriptor>,
    mode: Result<Mode>,
    front: usize,
    area_words: usize,
    handle: u64,
) -> Result {
    let request = RemoteRequest {
        mode,
        front,
        area_words,
        handles: HandleList::new(KVec::new(), handle),
    };
    descriptor.as_arc_borrow().remote_enable(&request)
}

fn enable(descriptor: &Arc<Descriptor>, mode: Result<Mode>, front: usize) -> Result {
    descriptor.as_arc_borrow().enable(mode, front)
}

/// Runs the hook at a basic block whose canonical PC is `pc`.
fn reach(pc: usize) {
    if let Some(recorder) = task::recorder(RECORD_PCS) {
        recorder.push_pc(moved(pc));
    }
}

/// The address at which the code with a canonical PC runs.
fn moved(pc: usize) -> usize {
    pc.wrapping_sub(canonical(0))
}

/// The words of the buffer.
fn words(descriptor: &Descriptor) -> Vec<usize> {
    let buffer = descriptor.buffer().unwrap();
    let start = buffer.start().cast::<usize>();
    // SAFETY: The buffer has so many words.
    (0..buffer.words())
        .map(|index| unsafe { start.add(index).read_volatile() })
        .collect()
}

/// The PCs of a trace at the start of the buffer.
fn pcs(descriptor: &Descriptor) -> Vec<usize> {
    let words = words(descriptor);
    words[1..=words[0]].to_vec()
}

#[test]
fn errors_have_an_order() {
    let _alone = alone();
    let (first, second, bare) = (opened(8), opened(8), Descriptor::new().unwrap());
    for size in [0, 1, (1 << 31) / 8, usize::MAX] {
        assert_eq!(bare.init(size), Err(EINVAL), "{size} words");
        assert_eq!(first.init(size), Err(EINVAL), "the size before the state");
    }
    assert_eq!(first.init(8), Err(EBUSY));
    assert_eq!(enable(&first, Err(ENOTSUPP), 0), Err(ENOTSUPP));
    assert_eq!(enable_remote(&first, Err(ENOTSUPP), 0, 8, 1), Err(ENOTSUPP));

    enable(&first, Ok(Mode::Pc), 0).unwrap();
    assert_eq!(
        enable(&first, Err(ENOTSUPP), 0),
        Err(EINVAL),
        "the state before the mode"
    );
    assert_eq!(
        enable(&bare, Ok(Mode::Pc), 0),
        Err(EINVAL),
        "the state before the task"
    );
    assert_eq!(
        enable(&second, Err(ENOTSUPP), 0),
        Err(EBUSY),
        "the task before the mode"
    );
    for (descriptor, unused) in [(&first, 1), (&second, 0)] {
        assert_eq!(descriptor.disable(unused), Err(EINVAL));
        assert_eq!(descriptor.reset(unused), Err(EINVAL));
    }
    assert_eq!(first.reset(0), Ok(()));
    assert_eq!(first.disable(0), Ok(()));

    enable_remote(&first, Ok(Mode::Pc), 0, 8, 1).unwrap();
    assert_eq!(
        enable_remote(&first, Err(ENOTSUPP), 0, 8, 2),
        Err(EINVAL),
        "the state before the mode"
    );
    assert_eq!(
        enable_remote(&bare, Ok(Mode::Pc), 0, 8, 2),
        Err(EINVAL),
        "the state before the task"
    );
    assert_eq!(
        enable_remote(&second, Err(ENOTSUPP), 0, 8, 2),
        Err(EBUSY),
        "the task before the mode"
    );
    assert_eq!(enable_remote(&second, Ok(Mode::Pc), 0, 8, 2), Err(EBUSY));
    assert_eq!(second.reset(0), Err(EINVAL));
    assert_eq!(first.disable(0), Ok(()));
    assert_eq!(task::common_handle(), 0);
}

#[test]
fn dropped_records_are_counted() {
    let _alone = alone();
    let descriptor = opened(8);
    let state = || {
        let summary = descriptor.summary();
        (summary.state, summary.dropped)
    };
    enable_remote(&descriptor, Ok(Mode::Pc), 0, 3, 1).unwrap();
    section::start(1);
    (1..=7).for_each(reach);
    section::stop();
    assert_eq!((pcs(&descriptor), state()), (vec![1, 2], ("remote", 5)));
    descriptor.disable(0).unwrap();
    assert_eq!(state(), ("ready", 5));
    enable(&descriptor, Ok(Mode::Pc), 0).unwrap();
    assert_eq!(state(), ("enabled", 0));
    (1..=7).for_each(reach);
    assert_eq!(state(), ("enabled", 2));
    descriptor.reset(0).unwrap();
    assert_eq!(state(), ("enabled", 0));
    descriptor.disable(0).unwrap();
}

#[test]
fn long_sections_are_merged_in_order() {
    let _alone = alone();
    // More than three steps of a merge, of both kinds.
    let (number, front) = (3500, 4096);
    let descriptor = opened(front + 4 * 4096);
    enable_remote(&descriptor, Ok(Mode::PcCmp), front, 64 * 1024, 1).unwrap();
    section::start(1);
    for index in 1..=number {
        reach(index);
        let pc = moved(index + 1);
        let value = index as u64;
        let recorder = task::recorder(RECORD_COMPARISONS).unwrap();
        recorder.push_comparison(Comparison {
            kind: 6,
            arg1: value,
            arg2: value + 2,
            pc,
        });
    }
    section::stop();
    let all = words(&descriptor);
    assert_eq!(pcs(&descriptor), (1..=number).collect::<Vec<_>>());
    assert_eq!(all[front], number);
    let expected: Vec<_> = (1..=number)
        .flat_map(|index| [6, index, index + 2, index + 1])
        .collect();
    assert_eq!(all[front + 1..][..4 * number], expected);
    descriptor.disable(0).unwrap();
}

#[test]
fn a_late_section_goes_nowhere() {
    let _alone = alone();
    let (first, second) = (opened(8), opened(8));
    enable_remote(&first, Ok(Mode::Pc), 0, 8, 1).unwrap();
    let target = registry::find(key(1)).unwrap();
    let sink = registry::sink(&target).unwrap();
    section::start(1);
    reach(1);
    let Stopped::Section(area, paused) = task::stop(Context::Task) else {
        panic!("the section was not recorded");
    };
    drop(paused);
    first.disable(0).unwrap();
    assert!(registry::sink(&target).is_none());

    // Another descriptor has the handle.
    enable_remote(&second, Ok(Mode::Pc), 0, 8, 1).unwrap();
    assert!(registry::sink(&target).is_none());
    second.disable(0).unwrap();

    // The same one has it again. The section has looked its sink up just before.
    enable_remote(&first, Ok(Mode::Pc), 0, 8, 1).unwrap();
    assert!(registry::sink(&target).is_none());
    sink.merge(target.registration, &area);
    assert_eq!(pcs(&first), []);
    sink.merge(registry::find(key(1)).unwrap().registration, &area);
    assert_eq!(pcs(&first), [1]);
    pool::give_back(Context::Task, area.into_area());
    first.disable(0).unwrap();
}

#[test]
fn sections_use_as_much_as_they_may() {
    let _alone = alone();
    let descriptor = opened(100);
    for (mode, front, wanted, expected) in [
        (Mode::Pc, 0, 50, 50),
        (Mode::Cmp, 0, 5000, 100),
        // The parts of the buffer do not limit those of the area.
        (Mode::Unique, 50, 5000, 5000),
        (Mode::PcCmp, 50, usize::MAX, 64 * 1024),
    ] {
        enable_remote(&descriptor, Ok(mode), front, wanted, 1).unwrap();
        assert_eq!(registry::find(key(1)).unwrap().words, expected, "{mode:?}");
        descriptor.disable(0).unwrap();
    }
}

#[test]
fn an_area_is_used_for_more_words_than_before() {
    let _alone = alone();
    let descriptor = opened(300);
    // A smaller size first: the area has a layout for it then.
    for area_words in [200, 3, 200] {
        enable_remote(&descriptor, Ok(Mode::Pc), 0, area_words, 1).unwrap();
        section::start(1);
        (1..=150).for_each(reach);
        section::stop();
        assert_eq!(pcs(&descriptor).len(), 150.min(area_words - 1));
        descriptor.reset(0).unwrap();
        descriptor.disable(0).unwrap();
    }
}

#[test]
fn a_section_without_an_area_is_lost() {
    let _alone = alone();
    let size = 100_000;
    let descriptor = opened(size);
    // No other test has so large an area.
    enable_remote(&descriptor, Ok(Mode::Pc), 0, size, 1).unwrap();
    host::without_sleep(|| {
        section::start(1);
        reach(1);
        section::start(1);
        reach(2);
        section::stop();
        reach(3);
        section::stop();
        reach(4);
    });
    assert_eq!(
        pcs(&descriptor),
        [1, 2, 3],
        "the prepared area, and the section around the lost one"
    );
    assert_eq!(descriptor.summary().lost_sections, 1);
    descriptor.disable(0).unwrap();
}

#[test]
fn areas_stay_for_a_while() {
    const DRAIN: u64 = 0;
    let _alone = alone();
    let softirq_areas = 2;
    let descriptor = opened(64);
    enable_remote(&descriptor, Ok(Mode::Pc), 0, 64, 1).unwrap();
    let areas = statistics::areas();
    assert!(areas > softirq_areas);
    // Work that was queued before, by this test or another one, finds a user.
    while workqueue::run(DRAIN) {}
    assert_eq!(statistics::areas(), areas);
    descriptor.disable(0).unwrap();
    assert!(workqueue::run(DRAIN), "the last user starts the worker");
    assert_eq!(
        statistics::areas(),
        areas,
        "the next user may come in a moment"
    );
    assert!(workqueue::run(DRAIN), "the worker starts itself again");
    assert_eq!(statistics::areas(), softirq_areas);
    assert!(!workqueue::run(DRAIN));
}

#[test]
fn a_disable_inside_sections_ends_what_is_outside_of_them() {
    let _alone = alone();
    let (own, other) = (opened(8), opened(8));
    enable(&own, Ok(Mode::Pc), 0).unwrap();
    enable_remote(&other, Ok(Mode::Pc), 0, 8, 1).unwrap();
    section::start(1);
    reach(1);
    section::start(1);
    let paused = task::pause();
    reach(2);
    drop(paused);
    reach(3);
    own.disable(0).unwrap();
    reach(4);
    section::stop();
    reach(5);
    section::stop();
    reach(6);
    assert_eq!(pcs(&other), [3, 4, 1, 5]);
    assert_eq!(pcs(&own), []);
    other.disable(0).unwrap();
}

#[test]
fn a_softirq_has_its_own_section() {
    let _alone = alone();
    let (own, other) = (opened(64), opened(64));
    enable_remote(&other, Ok(Mode::Pc), 0, 64, 1).unwrap();
    enable(&own, Ok(Mode::Pc), 0).unwrap();
    reach(1);
    host::in_softirq(|| {
        reach(2);
        section::start(1);
        reach(3);
        section::start(2);
        section::stop();
        reach(4);
        section::stop();
        reach(5);
        // Not the section of a task.
        section::stop();
    });
    reach(6);
    assert_eq!(pcs(&own), [1, 6]);
    assert_eq!(pcs(&other), [3, 4]);

    section::start(1);
    section::start(2);
    host::in_softirq(|| {
        section::start(2);
        section::stop();
    });
    reach(7);
    section::stop();
    reach(8);
    section::stop();
    reach(9);
    assert_eq!(pcs(&own), [1, 6, 9]);
    assert_eq!(pcs(&other), [3, 4, 7, 8]);
    own.disable(0).unwrap();
    other.disable(0).unwrap();
}

#[test]
fn a_new_task_inherits_the_common_handle_only() {
    let _alone = alone();
    let (own, other) = (opened(8), opened(8));
    enable(&own, Ok(Mode::Pc), 0).unwrap();
    enable_remote(&other, Ok(Mode::Pc), 0, 8, 5).unwrap();
    section::start(5);
    // SAFETY: A copy of the current task, which is not used but by `init_task`.
    let mut child = unsafe { host::current_task().read() };
    // SAFETY: As above.
    unsafe { task::init_task(&raw mut child) };
    section::stop();
    let bindings::kcov_ctx {
        mode,
        section,
        local,
        remote,
        handle,
        ..
    } = child.kcov;
    assert_eq!((mode, handle), (0, 5));
    assert!(section.is_null() && local.is_null() && remote.is_null());
    own.disable(0).unwrap();
    other.disable(0).unwrap();
}
