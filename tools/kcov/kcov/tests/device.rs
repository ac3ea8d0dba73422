// SPDX-License-Identifier: GPL-2.0
//! The library on a real KCOV. Without KCOV, these tests say so and do nothing, unless
//! `KCOV_REQUIRED` is set, as it is in a guest.
#![expect(unsafe_code, reason = "pre_exec is unsafe")]

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use kcov::{Cmp, CommonHandle, Device, Edge, Error, Kcov, Pc, RemoteHandles, UsbBus};

const WORDS: usize = 64 << 10;

fn kcov() -> Option<Kcov> {
    match Device::open() {
        Ok(device) => Some(device.with_buffer(WORDS).unwrap()),
        Err(error) => {
            assert!(std::env::var_os("KCOV_REQUIRED").is_none(), "{error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn work() {
    let _ = fs::metadata("/");
}

#[test]
fn same_work_covers_the_same_again_and_again() {
    let Some(mut kcov) = kcov() else { return };
    let mut common: Option<BTreeSet<u64>> = None;
    for _ in 0..10 {
        let collection = kcov.collect_pcs().unwrap();
        work();
        let pcs = collection.stop().unwrap();
        assert!(!pcs.overflowed());
        let now: BTreeSet<u64> = pcs.iter().collect();
        common = Some(match common {
            Some(before) => &before & &now,
            None => now,
        });
    }
    let common = common.unwrap();
    assert!(common.len() > 50, "{} blocks are the same", common.len());
}

#[test]
fn nothing_is_collected_after_stop_or_drop() {
    let Some(mut kcov) = kcov() else { return };
    let len = kcov.collect_pcs().unwrap().stop().unwrap().len();
    work();
    assert_eq!(kcov.records::<Pc>().len(), len);
    let collection = kcov.collect_pcs().unwrap();
    drop(collection);
    let len = kcov.records::<Pc>().len();
    work();
    assert_eq!(kcov.records::<Pc>().len(), len);
    kcov.reset();
    assert!(kcov.records::<Pc>().is_empty());
}

#[test]
fn reset_discards_and_goes_on() {
    let Some(mut kcov) = kcov() else { return };
    let mut collection = kcov.collect_pcs().unwrap();
    for _ in 0..20 {
        work();
    }
    let before = collection.len();
    collection.reset();
    work();
    let after = collection.stop().unwrap().len();
    assert!(after > 0 && after < before, "{before} then {after}");
}

#[test]
fn full_buffer_is_told() {
    let Some(_) = kcov() else { return };
    let mut small = Device::open()
        .unwrap()
        .with_buffer(kcov::words_per_page())
        .unwrap();
    let collection = small.collect_pcs().unwrap();
    for _ in 0..100 {
        work();
    }
    let pcs = collection.stop().unwrap();
    assert!(pcs.overflowed());
    assert_eq!(pcs.len(), kcov::words_per_page() - 1);
}

#[test]
fn a_descriptor_from_elsewhere() {
    let Some(first) = kcov() else { return };
    let again = Device::from(first.as_fd().try_clone_to_owned().unwrap());
    let error = again.with_buffer(WORDS).unwrap_err();
    assert!(matches!(error, Error::HasBuffer), "{error:?}");
    // The path of the descriptor is unknown, so the size of a set is looked up in debugfs.
    let foreign = Device::from(first.as_fd().try_clone_to_owned().unwrap());
    match (foreign.set_words(), Device::open().unwrap().set_words()) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        (Err(Error::NoDivision), Err(Error::NoDivision)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_collection_for_a_task_and_one_task_for_a_descriptor() {
    let Some(mut first) = kcov() else { return };
    let mut second = kcov().unwrap();
    let collection = first.collect_pcs().unwrap();
    let error = second.collect_pcs().map(drop).unwrap_err();
    assert!(matches!(error, Error::Busy), "{error:?}");
    drop(collection);
    drop(second.collect_pcs().unwrap());
    // Another thread has a collection of its own.
    let collection = first.collect_pcs().unwrap();
    let other = thread::scope(|scope| {
        let started = scope.spawn(|| {
            let collection = second.collect_pcs().unwrap();
            work();
            collection.stop().unwrap().len()
        });
        started.join().unwrap()
    });
    assert!(other > 0);
    assert!(!collection.stop().unwrap().is_empty());
}

#[test]
fn comparisons_have_sizes_and_constants() {
    let Some(mut kcov) = kcov() else { return };
    let collection = match kcov.collect_comparisons() {
        Err(Error::NoComparisons) => return eprintln!("skipped: {}", Error::NoComparisons),
        other => other.unwrap(),
    };
    work();
    let records = collection.stop().unwrap();
    assert!(records.iter().any(|record| record.constant().is_some()));
    for record in &records {
        let limit = u64::MAX >> (64 - 8 * record.size.bytes());
        assert!(record.left <= limit && record.right <= limit, "{record:?}");
    }
}

#[test]
fn child_collects_across_exec_into_the_parent_s_buffer() {
    let Some(mut kcov) = kcov() else { return };
    kcov.reset();
    let start = kcov.child_start::<Pc>().unwrap();
    let mut command = Command::new("true");
    // SAFETY: One system call.
    unsafe { command.pre_exec(move || start.start()) };
    assert!(command.status().unwrap().success());
    assert!(kcov.records::<Pc>().len() > 100);
    // The child has exited, so the descriptor is free.
    drop(kcov.collect_pcs().unwrap());
}

#[test]
fn remote_collection_starts_anew() {
    let Some(mut kcov) = kcov() else { return };
    let handles = RemoteHandles::new(4096).usb(UsbBus(4_000_000_001)).unwrap();
    let mut collection = kcov.collect_remote::<Pc>(&handles).unwrap();
    collection.reset();
    assert!(collection.is_empty());
    assert_eq!(collection.stop().unwrap().len(), 0);
    let error = kcov
        .collect_remote::<Pc>(&handles.usb(UsbBus(4_000_000_001)).unwrap())
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, Error::HandleInUse), "{error:?}");
}

#[test]
fn remote_handle_has_one_owner() {
    let Some(mut first) = kcov() else { return };
    let mut second = kcov().unwrap();
    // A bus that no controller has, so that other tests do not start its sections.
    let handles = RemoteHandles::new(4096).usb(UsbBus(4_000_000_000)).unwrap();
    let collection = first.collect_remote::<Pc>(&handles).unwrap();
    let error = thread::scope(|scope| {
        scope
            .spawn(|| second.collect_remote::<Pc>(&handles).map(drop).unwrap_err())
            .join()
            .unwrap()
    });
    assert!(matches!(error, Error::HandleInUse), "{error:?}");
    drop(collection);
    let handles = handles.common(CommonHandle::new(77).unwrap());
    drop(second.collect_remote::<Pc>(&handles).unwrap());
    match second.collect_remote::<Cmp>(&handles) {
        Ok(_) | Err(Error::NoComparisons) => {}
        Err(error) => panic!("{error}"),
    }
}

fn no_division<T>(error: &Error) -> Option<T> {
    assert!(matches!(error, Error::NoDivision), "{error:?}");
    eprintln!("skipped: {error}");
    None
}

/// Returns a descriptor with space for a set in front; says so and returns `None` if the kernel
/// does not divide buffers.
fn with_set() -> Option<(Kcov, usize)> {
    drop(kcov()?);
    let device = Device::open().unwrap();
    match device.set_words() {
        Ok(set) => {
            let mut kcov = device.with_buffer(set + WORDS).unwrap();
            // The size is known even if the kernel was built without the mode that records each PC
            // once.
            match kcov.collect_unique(set).map(drop) {
                Ok(()) => Some((kcov, set)),
                Err(error) => no_division(&error),
            }
        }
        Err(error) => no_division(&error),
    }
}

#[test]
fn each_pc_is_collected_once() {
    let Some((mut kcov, set)) = with_set() else { return };
    let mut collection = kcov.collect_unique(set).unwrap();
    for _ in 0..20 {
        work();
    }
    collection.reset();
    for _ in 0..20 {
        work();
    }
    let pcs = collection.stop().unwrap();
    let distinct: BTreeSet<u64> = pcs.iter().collect();
    assert!(distinct.len() > 50, "{} PCs", distinct.len());
    assert_eq!(distinct.len(), pcs.len());
    assert_eq!(kcov.dropped(), Some(0));
}

#[test]
fn each_edge_is_collected_once() {
    let Some((mut kcov, _)) = with_set() else { return };
    let mut collection = kcov.collect_edges(4096).unwrap();
    work();
    collection.reset();
    for _ in 0..20 {
        work();
    }
    assert!(!collection.is_empty());
    let edges = collection.stop().unwrap();
    let distinct: BTreeSet<Edge> = edges.iter().collect();
    assert!(distinct.len() > 50, "{} edges", distinct.len());
    // The table forgets few of them.
    assert!(edges.len() < 2 * distinct.len(), "{}", edges.len());
    assert_eq!(edges.iter().next().unwrap().previous, 0);
    assert_eq!(kcov.dropped(), Some(0));
    for table in [0, 3, 1 << 18] {
        let error = kcov.collect_edges(table).map(drop).unwrap_err();
        assert!(matches!(error, Error::Division { .. }), "{error:?}");
    }
}

#[test]
fn pcs_and_comparisons_are_collected_together() {
    let Some((mut kcov, set)) = with_set() else { return };
    let collection = kcov.collect_both(set).unwrap();
    work();
    let (pcs, comparisons) = collection.stop().unwrap();
    assert!(
        pcs.len() > 50 && !comparisons.is_empty(),
        "{pcs:?} {comparisons:?}"
    );
    let collection = kcov.collect_both(2).unwrap();
    work();
    assert!(collection.stop().unwrap().0.overflowed());
    assert!(kcov.dropped().unwrap() > 0);
    assert!(matches!(
        kcov.collect_both(1).unwrap_err(),
        Error::Division { .. }
    ));
}

#[test]
fn child_collects_each_pc_once() {
    let Some((mut kcov, set)) = with_set() else { return };
    kcov.unique_buffer(set).unwrap().reset();
    let start = kcov.child_start_unique(set).unwrap();
    let mut command = Command::new("true");
    // SAFETY: One system call.
    unsafe { command.pre_exec(move || start.start()) };
    assert!(command.status().unwrap().success());
    let mut buffer = kcov.unique_buffer(set).unwrap();
    let pcs = buffer.records();
    let distinct: BTreeSet<u64> = pcs.iter().collect();
    assert!(distinct.len() > 100, "{} PCs", distinct.len());
    assert_eq!(distinct.len(), pcs.len());
    buffer.discard();
    assert!(buffer.records().is_empty());
    assert!(matches!(
        kcov.child_start_unique(0).unwrap_err(),
        Error::Division { .. }
    ));
}

/// Makes the kernel work elsewhere for a child of this process, which inherits its common handle,
/// with the program that `KCOV_WORK` names. The program that causes such work differs from kernel
/// to kernel.
fn remote_work() -> Option<()> {
    let Some(program) = std::env::var_os("KCOV_WORK") else {
        eprintln!("skipped: KCOV_WORK names no program that makes the kernel work in a section");
        return None;
    };
    assert!(Command::new(program).status().unwrap().success());
    Some(())
}

#[test]
fn remote_sections_give_each_pc_once() {
    let Some((mut kcov, set)) = with_set() else { return };
    let handles = RemoteHandles::new(4096).common(CommonHandle::new(78).unwrap());
    let mut collection = kcov.collect_remote_unique(&handles, set).unwrap();
    if remote_work().is_none() {
        return;
    }
    collection.reset();
    for _ in 0..3 {
        remote_work();
    }
    let pcs = collection.stop().unwrap();
    let distinct: BTreeSet<u64> = pcs.iter().collect();
    assert!(!distinct.is_empty());
    assert_eq!(distinct.len(), pcs.len());
    // Collects the same work three times, without leaving anything out.
    let collection = kcov.collect_remote::<Pc>(&handles).unwrap();
    for _ in 0..3 {
        remote_work();
    }
    let plain = collection.stop().unwrap();
    assert!(
        plain.len() >= 2 * distinct.len(),
        "{} PCs, {} each once",
        plain.len(),
        distinct.len()
    );
}

#[test]
fn remote_sections_give_pcs_and_comparisons() {
    let Some((mut kcov, set)) = with_set() else { return };
    let handles = RemoteHandles::new(4096).common(CommonHandle::new(79).unwrap());
    let collection = match kcov.collect_remote_both(&handles, set) {
        Err(Error::NoComparisons) => return eprintln!("skipped: {}", Error::NoComparisons),
        other => other.unwrap(),
    };
    if remote_work().is_none() {
        return;
    }
    let (pcs, comparisons) = collection.stop().unwrap();
    assert!(
        !pcs.is_empty() && !comparisons.is_empty(),
        "{pcs:?} {comparisons:?}"
    );
}

#[test]
fn remote_sections_in_divided_buffers_have_their_errors() {
    let Some((mut first, set)) = with_set() else {
        return;
    };
    let (mut second, _) = with_set().unwrap();
    let handles = RemoteHandles::new(4096).usb(UsbBus(4_000_000_002)).unwrap();
    let collection = first.collect_remote_unique(&handles, set).unwrap();
    let errors = thread::scope(|scope| {
        scope
            .spawn(|| {
                let unique = second.collect_remote_unique(&handles, set).map(drop);
                let both = second.collect_remote_both(&handles, 2).map(drop);
                [unique.unwrap_err(), both.unwrap_err()]
            })
            .join()
            .unwrap()
    });
    for error in errors {
        assert!(
            matches!(error, Error::HandleInUse | Error::NoComparisons),
            "{error:?}"
        );
    }
    // This task collects remote sections already.
    let error = second
        .collect_remote_unique(&RemoteHandles::new(64), set)
        .unwrap_err();
    assert!(matches!(error, Error::Busy), "{error:?}");
    drop(collection);
    let error = first.collect_remote_unique(&handles, 0).unwrap_err();
    assert!(matches!(error, Error::Division { .. }), "{error:?}");
}

#[test]
fn kernel_that_divides_no_buffers_says_so() {
    let Some(mut kcov) = kcov() else { return };
    if let Err(error) = kcov.collect_unique(1).map(drop) {
        assert!(matches!(error, Error::NoDivision), "{error:?}");
        let handles = RemoteHandles::new(64);
        let error = kcov.collect_remote_unique(&handles, 1).unwrap_err();
        assert!(matches!(error, Error::NoDivision), "{error:?}");
    }
}
