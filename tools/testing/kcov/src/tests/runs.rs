// SPDX-License-Identifier: GPL-2.0

//! Long random runs of whole descriptors: open, enable, sections that start and stop, disable,
//! close. A seed determines the schedule and the choices, so the seed repeats a failure.
//!
//! All code is the kernel's except the scheduler, the locks, the memory and the entries of hooks:
//! tasks are threads of shuttle, which may be switched at every atomic operation. Memory is
//! sequentially consistent. There are no interrupts: a softirq runs on a task between two of its
//! steps.

use crate::{
    descriptor::{Descriptor, RemoteRequest},
    mode::{Mode, RECORD_PCS},
    remote::{handle::HandleList, pool, registry, section},
    statistics, task,
};
use core::model;
use kernel::{
    host,
    prelude::*,
    sync::{rcu, Arc},
    workqueue,
};
use shuttle::{
    rand::{thread_rng, Rng},
    scheduler::RandomScheduler,
    Config, Runner,
};
use std::{
    env,
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        Once,
    },
};

const DRAIN: u64 = 0;
const ADD: u64 = 1;

/// Counts of the events in all runs, so that a test that does nothing is detected.
#[derive(Default)]
struct Counts {
    recorded: AtomicU64,
    records: AtomicU64,
    refused: AtomicU64,
    nested: AtomicU64,
    disabled_meanwhile: AtomicU64,
}

static COUNTS: Counts = Counts {
    recorded: AtomicU64::new(0),
    records: AtomicU64::new(0),
    refused: AtomicU64::new(0),
    nested: AtomicU64::new(0),
    disabled_meanwhile: AtomicU64::new(0),
};

/// Handles for which tasks compete.
fn any_handle() -> u64 {
    thread_rng().gen_range(1..4_u64)
}

/// Runs code, as compiled code does. Its PC encodes the handles of all enclosing sections:
/// if one is not collected, the next enclosing one records it.
fn reach(handles: &[u64]) {
    if let Some(recorder) = task::recorder(RECORD_PCS) {
        recorder.push_pc(handles.iter().fold(0, |pc, handle| pc | 1 << handle));
    }
}

/// A section with sections inside it, of this task or of a softirq on top of it.
fn run_section(outside: &[u64]) {
    let handles = [outside, &[any_handle()]].concat();
    section::start(handles[handles.len() - 1]);
    reach(&handles);
    if handles.len() < 4 && thread_rng().gen_bool(0.4) {
        COUNTS.nested.fetch_add(1, Relaxed);
        if thread_rng().gen_bool(0.5) {
            host::in_softirq(|| {
                let handle = any_handle();
                section::start(handle);
                // A softirq without a section of its own is not recorded.
                reach(&[handle]);
                section::stop();
            });
        } else {
            run_section(&handles);
        }
        reach(&handles);
    }
    section::stop();
}

/// A worker of the kernel, which works for other tasks.
fn worker(cpu: u32) {
    for _ in 0..4 {
        host::set_cpu(cpu);
        if thread_rng().gen_bool(0.2) {
            host::without_sleep(|| run_section(&[]));
        } else {
            run_section(&[]);
        }
        if thread_rng().gen_bool(0.3) {
            host::set_cpu(1 - cpu);
        }
    }
}

/// Checks the buffer: it has only code of sections that the descriptor collects.
fn check(descriptor: &Descriptor, handle: u64) -> u64 {
    let buffer = descriptor.buffer().unwrap();
    let words = buffer.start().cast::<u64>();
    // SAFETY: The buffer has so many words.
    let word = |index: usize| unsafe { words.add(index).read_volatile() };
    let count = word(0);
    assert!((count as usize) < buffer.words());
    for index in 1..=count as usize {
        // SAFETY: The variable does not change.
        let moved = unsafe { kernel::bindings::kcov_kaslr_offset };
        let pc = (word(index) as usize).wrapping_add(moved);
        assert!(
            pc >> handle & 1 == 1,
            "a record of another descriptor's section: {pc:#x}"
        );
    }
    count
}

/// A program that collects.
fn program(number: u64) {
    let descriptor = Descriptor::new().unwrap();
    descriptor.init(64).unwrap();
    assert_eq!(descriptor.init(64), Err(EBUSY));
    for _ in 0..2 {
        let common = any_handle();
        let request = RemoteRequest {
            mode: Ok(Mode::Pc),
            front: 0,
            area_words: 16,
            handles: HandleList::new(KVec::new(), common),
        };
        match descriptor.as_arc_borrow().remote_enable(&request) {
            // Another program has the handle.
            Err(error) => {
                assert_eq!(error, EEXIST);
                COUNTS.refused.fetch_add(1, Relaxed);
                continue;
            }
            Ok(()) => {}
        }
        assert_eq!(task::common_handle(), common);
        assert_eq!(
            descriptor.as_arc_borrow().remote_enable(&request),
            Err(EINVAL)
        );
        for _ in 0..thread_rng().gen_range(0..6) {
            model::wait();
        }
        if thread_rng().gen_bool(0.5) {
            run_section(&[]);
        }
        if thread_rng().gen_bool(0.3) {
            descriptor.reset(0).unwrap();
        }
        // A section that was started while the descriptor was enabled may stop after it.
        let open = thread_rng().gen_bool(0.3);
        if open {
            section::start(common);
            COUNTS.disabled_meanwhile.fetch_add(1, Relaxed);
        }
        descriptor.disable(0).unwrap();
        assert_eq!(descriptor.disable(0), Err(EINVAL));
        let count = check(&descriptor, common);
        if open {
            reach(&[common]);
            section::stop();
            assert_eq!(check(&descriptor, common), count, "a record after the end");
        }
        COUNTS.records.fetch_add(count, Relaxed);
        COUNTS.recorded.fetch_add(u64::from(count > 0), Relaxed);
        forget_records(&descriptor);
    }
    local(&descriptor, number);
    drop(descriptor);
}

/// Sets the count to 0, as programs do.
fn forget_records(descriptor: &Descriptor) {
    let buffer = descriptor.buffer().unwrap();
    // SAFETY: The count is at the start.
    unsafe { buffer.start().cast::<u64>().write_volatile(0) };
}

/// The program records itself; sections of others on its task are not in its records.
fn local(descriptor: &Arc<Descriptor>, number: u64) {
    let own = 20 + number;
    descriptor.as_arc_borrow().enable(Ok(Mode::Pc), 0).unwrap();
    reach(&[own]);
    section::start(10);
    reach(&[own]);
    section::stop();
    descriptor.disable(0).unwrap();
    reach(&[own]);
    assert_eq!(check(descriptor, own), 2);
}

fn run() {
    static INIT: Once = Once::new();
    model::begin();
    host::new_tasks();
    rcu::begin();
    INIT.call_once(|| {
        registry::init();
        pool::init().unwrap();
    });
    let softirq_areas = 2;
    let threads: Vec<_> = (1..=4)
        .map(|number: usize| {
            shuttle::thread::spawn(move || {
                model::set_thread(number);
                if number <= 2 {
                    program(number as u64);
                } else {
                    worker(number as u32 - 3);
                }
            })
        })
        .collect();
    for _ in 0..20 {
        workqueue::run(if thread_rng().gen_bool(0.5) {
            DRAIN
        } else {
            ADD
        });
        model::wait();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    while workqueue::run(ADD) || workqueue::run(DRAIN) {}
    assert_eq!(statistics::descriptors(), 0);
    assert_eq!(statistics::handles(), 0);
    assert_eq!(
        statistics::areas(),
        softirq_areas,
        "the pool keeps areas without a user"
    );
}

#[test]
fn descriptors_and_sections() {
    let number = env::var("KCOV_SHUTTLE_RUNS").map_or(2000, |text| text.parse().expect("a number"));
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    let seed = env::var("KCOV_SHUTTLE_SEED")
        .map_or_else(|_| rand_seed(), |text| text.parse().expect("a number"));
    println!("seed {seed}");
    let runs = Runner::new(RandomScheduler::new_from_seed(seed, number), config).run(run);
    println!("{runs} runs");
    for (what, count) in [
        ("enabled with records", &COUNTS.recorded),
        ("records", &COUNTS.records),
        ("handles that were taken", &COUNTS.refused),
        ("sections inside others", &COUNTS.nested),
        (
            "sections that outlived their descriptor",
            &COUNTS.disabled_meanwhile,
        ),
    ] {
        let count = count.load(Relaxed);
        println!("{count} {what}");
        assert!(count > 0, "no run had {what}");
    }
}

fn rand_seed() -> u64 {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    time.map_or(1, |time| time.as_nanos() as u64)
}
