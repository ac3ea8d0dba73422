// SPDX-License-Identifier: GPL-2.0

//! Resets of traces, by the task that has enabled the descriptor and by others.

use super::*;

#[test]
fn a_reset_clears_the_whole_set() {
    let _alone = alone();
    let (front, descriptor) = (10_000, opened(10_010));
    enable(&descriptor, Ok(Mode::Unique), front).unwrap();
    let start = descriptor.buffer().unwrap().start().cast::<usize>();
    for index in 0..front {
        // SAFETY: The buffer has more words.
        unsafe { start.add(index).write_volatile(usize::MAX) };
    }
    descriptor.reset(0).unwrap();
    assert_eq!(words(&descriptor).iter().position(|word| *word != 0), None);
    descriptor.disable(0).unwrap();
}

/// Calls `reset` in another task.
fn reset_by_another(descriptor: &Descriptor, unused: usize) -> Result {
    thread::scope(|scope| scope.spawn(|| descriptor.reset(unused)).join().unwrap())
}

#[test]
fn any_task_resets() {
    let _alone = alone();
    let (front, descriptor) = (5_000, opened(10_000));
    assert_eq!(reset_by_another(&descriptor, 0), Err(EINVAL));
    enable(&descriptor, Ok(Mode::Pc), 0).unwrap();
    (1..=5).for_each(reach);
    assert_eq!(reset_by_another(&descriptor, 1), Err(EINVAL));
    assert_eq!(pcs(&descriptor).len(), 5);
    assert_eq!(reset_by_another(&descriptor, 0), Ok(()));
    assert_eq!(words(&descriptor)[0], 0);
    reach(9);
    assert_eq!(pcs(&descriptor), [9]);
    descriptor.disable(0).unwrap();
    assert_eq!(reset_by_another(&descriptor, 0), Err(EINVAL));

    // A PC that was seen before the reset is recorded again.
    let pc = set::start() + 64;
    enable(&descriptor, Ok(Mode::Unique), front).unwrap();
    (0..2).for_each(|_| reach(pc));
    assert_eq!(words(&descriptor)[front..front + 2], [1, pc]);
    assert_eq!(reset_by_another(&descriptor, 0), Ok(()));
    assert_eq!(
        words(&descriptor)[..=front]
            .iter()
            .position(|&word| word != 0),
        None
    );
    reach(pc);
    assert_eq!(words(&descriptor)[front..front + 2], [1, pc]);
    descriptor.disable(0).unwrap();

    enable_remote(&descriptor, Ok(Mode::Pc), 0, 8, 1).unwrap();
    section::start(1);
    reach(3);
    assert_eq!(reset_by_another(&descriptor, 0), Ok(()));
    section::stop();
    assert_eq!(pcs(&descriptor), [3], "a section that stops after it");
    assert_eq!(reset_by_another(&descriptor, 0), Ok(()));
    assert_eq!(words(&descriptor)[0], 0);
    descriptor.disable(0).unwrap();
}

/// A hook that has read the count before a reset by another task, and stores it after that.
#[test]
fn a_reset_that_a_record_undoes_is_repeated() {
    let _alone = alone();
    let descriptor = opened(16);
    enable(&descriptor, Ok(Mode::Pc), 0).unwrap();
    let count = descriptor.buffer().unwrap().start().cast::<usize>();
    // SAFETY: The count is at the start of the buffer, which the descriptor keeps.
    let (read, write) = (
        || unsafe { count.read_volatile() },
        |value| unsafe { count.write_volatile(value) },
    );
    // The hook may be too late.
    let repeated = (0..1000).any(|_| {
        write(5);
        thread::scope(|scope| {
            let other = scope.spawn(|| descriptor.reset(0));
            while read() != 0 && !other.is_finished() {
                hint::spin_loop();
            }
            write(6);
            other.join().unwrap().unwrap();
        });
        read() == 0
    });
    assert!(repeated, "no reset was repeated");
    descriptor.disable(0).unwrap();
}
