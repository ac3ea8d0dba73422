// SPDX-License-Identifier: GPL-2.0

//! The pool: areas have one user at a time, and are freed after the last descriptor.

use super::{
    holds, needs,
    slot::{PUT, TAKE},
    spawn, Place,
};
use crate::{area::Area, context::Context, remote::pool, statistics};
use kernel::{alloc::allocator, host, prelude::*, workqueue};
use std::sync::{
    atomic::Ordering::{Acquire, Release},
    Mutex, MutexGuard, PoisonError,
};

const DRAIN: u64 = 0;
const ADD: u64 = 1;

/// The pool is a variable of the program, so one model of it runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of areas that the pool keeps for softirqs.
const SOFTIRQ: usize = 1;

/// Uses an area as its only owner.
fn use_area(area: &Area) {
    allocator::touch(std::ptr::from_ref(area.layout()).cast());
}

/// Runs queued work until the queue is empty.
fn work() {
    while workqueue::run(ADD) || workqueue::run(DRAIN) {}
}

/// An empty pool with one user, all of whose variables exist.
fn begin() {
    statistics::forget_areas();
    pool::init().unwrap();
    pool::open();
    // Both slots of the CPU, and their hints.
    let areas = [(); 2].map(|()| pool::lend(Context::Task, 16).unwrap());
    for area in areas {
        pool::give_back(Context::Task, area);
    }
    // A section that finds no area while it may not sleep.
    host::without_sleep(|| assert!(pool::lend(Context::Task, 1 << 20).is_none()));
    pool::close();
    work();
    assert_eq!(
        allocator::live(),
        SOFTIRQ,
        "the pool keeps areas without a user"
    );
    pool::open();
}

/// After the last user has left and the worker has run, the pool keeps no area of a task.
fn end() {
    work();
    assert_eq!(
        allocator::live(),
        SOFTIRQ,
        "the pool keeps areas without a user"
    );
    drop(pool::lend(Context::Softirq, 16));
    assert_eq!(allocator::live(), 0);
}

/// The last user leaves while a section ends, and the worker runs at any moment after that.
fn last_user() {
    begin();
    let section = spawn(1, || {
        let area = pool::lend(Context::Task, 16).unwrap();
        use_area(&area);
        pool::give_back(Context::Task, area);
    });
    pool::close();
    workqueue::run(DRAIN);
    workqueue::run(DRAIN);
    section.join().unwrap();
    end();
}

/// A section owns the area when the last user leaves, and gives it back at any moment.
fn late_section() {
    begin();
    let area = pool::lend(Context::Task, 16).unwrap();
    let section = spawn(1, move || {
        use_area(&area);
        pool::give_back(Context::Task, area);
    });
    pool::close();
    workqueue::run(DRAIN);
    workqueue::run(DRAIN);
    section.join().unwrap();
    end();
}

/// Two sections of one CPU, which may be preempted anywhere, never have the same area.
fn two_sections() {
    begin();
    let area = Area::new(16, GFP_KERNEL).unwrap();
    use_area(&area);
    pool::give_back(Context::Task, area);
    let sections = [1, 2].map(|number| {
        spawn(number, || {
            let area = pool::lend(Context::Task, 16).unwrap();
            use_area(&area);
            pool::give_back(Context::Task, area);
        })
    });
    for section in sections {
        section.join().unwrap();
    }
    pool::close();
    end();
}

/// A section never gets an area that is too small for it, although the hint may be that of another
/// area.
fn sizes() {
    begin();
    pool::give_back(Context::Task, Area::new(2000, GFP_KERNEL).unwrap());
    let section = spawn(1, || {
        if let Some(area) = pool::lend(Context::Task, 2000) {
            assert!(area.words() >= 2000);
            use_area(&area);
            pool::give_back(Context::Task, area);
        }
    });
    // Takes the large area, and leaves a small one in its place.
    let small = Area::new(16, GFP_KERNEL).unwrap();
    if let Some(area) = pool::lend(Context::Task, 16) {
        pool::give_back(Context::Task, small);
        drop(area);
    }
    section.join().unwrap();
    pool::close();
    end();
}

/// The hint of a slot is wrong while the last user leaves.
fn wrong_hint() {
    begin();
    pool::give_back(Context::Task, Area::new(2000, GFP_KERNEL).unwrap());
    let section = spawn(1, || {
        host::without_sleep(|| {
            if let Some(area) = pool::lend(Context::Task, 2000) {
                use_area(&area);
                pool::give_back(Context::Task, area);
            }
        });
    });
    let large = pool::lend(Context::Task, 16);
    pool::give_back(Context::Task, Area::new(16, GFP_KERNEL).unwrap());
    drop(large);
    pool::close();
    workqueue::run(DRAIN);
    workqueue::run(DRAIN);
    section.join().unwrap();
    end();
}

/// The worker adds an area while the last user leaves.
fn late_addition() {
    begin();
    host::without_sleep(|| assert!(pool::lend(Context::Task, 16).is_none()));
    let worker = spawn(1, || {
        workqueue::run(ADD);
    });
    pool::close();
    workqueue::run(DRAIN);
    workqueue::run(DRAIN);
    worker.join().unwrap();
    end();
}

/// A user that arrives while the last one leaves may find no kept area, but none stays after it.
fn next_user() {
    begin();
    let user = spawn(1, || {
        pool::open();
        pool::prepare(16);
        host::without_sleep(|| {
            if let Some(area) = pool::lend(Context::Task, 16) {
                use_area(&area);
                pool::give_back(Context::Task, area);
            }
        });
        pool::close();
    });
    pool::close();
    workqueue::run(DRAIN);
    workqueue::run(DRAIN);
    user.join().unwrap();
    end();
}

#[test]
fn the_last_user_goes() {
    let _alone = alone();
    holds(3, last_user);
}

#[test]
fn a_section_ends_after_the_last_user() {
    let _alone = alone();
    holds(3, late_section);
}

#[test]
fn sections_share_no_area() {
    let _alone = alone();
    holds(2, two_sections);
}

#[test]
fn areas_are_large_enough() {
    let _alone = alone();
    holds(3, sizes);
}

#[test]
fn a_wrong_hint_and_the_last_user() {
    let _alone = alone();
    holds(3, wrong_hint);
}

#[test]
fn an_addition_after_the_last_user() {
    let _alone = alone();
    holds(3, late_addition);
}

#[test]
fn the_next_user_comes() {
    let _alone = alone();
    holds(3, next_user);
}

#[test]
fn take_needs_release() {
    let _alone = alone();
    needs(Release, TAKE, 3, late_section);
}

#[test]
fn put_needs_acquire() {
    let _alone = alone();
    needs(Acquire, PUT, 3, late_section);
}
