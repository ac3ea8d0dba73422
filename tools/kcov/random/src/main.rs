// SPDX-License-Identifier: GPL-2.0
//! Makes random calls of KCOV from several tasks, and compares each result with a model of the interface.
//!
//! The calls are made by worlds: processes that start from nothing, run a sequence of steps and end, with all tasks that
//! they have started. When a call differs from the model, shorter sequences are tried, and the shortest one is printed.

mod actor;
mod model;
mod sys;
mod world;

use std::cell::Cell;
use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

use crate::model::Kernel;
use crate::sys::{SAMPLE_FILE, call_with};
use crate::world::{Kind, Statistics, Step, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Implementation {
    Rust,
    C,
}

/// Makes random calls of KCOV, and compares each result with a model of the interface.
#[derive(Debug, Parser)]
struct Options {
    /// The kernel's implementation.
    #[arg(long, value_enum)]
    implementation: Implementation,
    /// Makes at least this many calls.
    #[arg(long, default_value_t = 100_000)]
    calls: u64,
    /// The seed of all sequences.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Begins with this sequence.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// The most steps of a sequence.
    #[arg(long, default_value_t = 400)]
    steps: usize,
    /// The kernel has no CONFIG_KCOV_UNIQUE.
    #[arg(long)]
    no_unique: bool,
    /// The kernel has no CONFIG_KCOV_ENABLE_COMPARISONS.
    #[arg(long)]
    no_comparisons: bool,
}

/// A world that takes longer has hung.
const WORLD_SECONDS: usize = 300;

/// A run of worlds, one after the other.
struct Runs {
    kernel: Kernel,
    sample: bool,
    /// The number of worlds so far.
    worlds: Cell<u64>,
}

impl Runs {
    fn new(options: &Options) -> Result<Self> {
        let rust = options.implementation == Implementation::Rust;
        let kernel = Kernel {
            rust,
            unique: !options.no_unique,
            comparisons: !options.no_comparisons,
        };
        let sample = open_sample()?;
        Ok(Self {
            kernel,
            sample,
            worlds: Cell::new(0),
        })
    }

    /// Runs steps in a world; the error says what differs.
    fn run(&self, steps: &[Step], log: bool) -> Result<(), String> {
        let before = self.statistics()?;
        self.worlds.set(self.worlds.get() + 1);
        let pid = call_with(libc::SYS_clone, &[libc::SIGCHLD as usize]);
        if pid == 0 {
            self.live(steps, log);
        }
        if pid < 0 {
            return Err(format!("no world can be started: {pid}"));
        }
        let mut status = 0i32;
        call_with(
            libc::SYS_wait4,
            &[
                pid as usize,
                std::ptr::from_mut(&mut status) as usize,
                libc::__WALL as usize,
                0,
            ],
        );
        // All other tasks of the world.
        call_with(libc::SYS_kill, &[-pid as usize, libc::SIGKILL as usize]);
        while call_with(libc::SYS_wait4, &[-1i64 as usize, 0, libc::__WALL as usize, 0]) > 0 {}
        let text = sys::take_text();
        match status {
            0 => {}
            0x100 => return Err(text.trim_end().to_owned()),
            _ => return Err(format!("{text}    the world ended with status {status:#x}")),
        }
        let now = self.statistics()?;
        if now == before {
            Ok(())
        } else {
            Err(format!(
                "{text}    when all tasks have ended: {now:?} instead of {before:?}"
            ))
        }
    }

    /// Does not return.
    fn live(&self, steps: &[Step], log: bool) {
        call_with(libc::SYS_setpgid, &[0, 0]);
        call_with(libc::SYS_alarm, &[WORLD_SECONDS]);
        let result = World::new(self.kernel, self.sample, log, self.worlds.get())
            .and_then(|mut world| world.run(steps));
        if let Err(what) = &result {
            sys::write_line(&format!("    {what}"));
        }
        call_with(libc::SYS_exit_group, &[usize::from(result.is_err())]);
    }

    fn statistics(&self) -> Result<Option<Statistics>, String> {
        if self.kernel.rust {
            world::statistics().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Returns whether the steps fail, with the same difference but for numbers. If the kernel does not forget something,
    /// others may follow from that.
    fn fails(&self, steps: &[Step], how: &str) -> bool {
        self.run(steps, false)
            .is_err_and(|what| without_digits(&what) == without_digits(how))
    }

    /// Leaves out steps, the last ones first, as long as the rest still fails.
    fn shorten(&self, mut steps: Vec<Step>, how: &str) -> Vec<Step> {
        let mut length = steps.len().div_ceil(2);
        while length > 0 {
            let before = steps.len();
            let mut end = steps.len();
            while end > 0 {
                let start = end.saturating_sub(length);
                let rest = [&steps[..start], &steps[end..]].concat();
                if self.fails(&rest, how) {
                    steps = rest;
                }
                end = start;
            }
            // Without one step, another one may be of no use.
            if length > 1 || steps.len() == before {
                length /= 2;
            }
        }
        steps
    }

    /// Makes the numbers of the steps smaller, as long as the sequence fails: the first task, file or choice is the simplest.
    fn simplify(&self, mut steps: Vec<Step>, how: &str) -> Vec<Step> {
        for (index, byte) in (0..steps.len()).flat_map(|index| (0..8).map(move |byte| (index, byte))) {
            let mut try_value = |value: u8| {
                let old = std::mem::replace(&mut steps[index].1[byte], value);
                let fails = self.fails(&steps, how);
                if !fails {
                    steps[index].1[byte] = old;
                }
                fails
            };
            if !try_value(0) {
                // Fewer of the highest bits, as far as it goes.
                let mut value = u8::MAX;
                while value > 0 && try_value(value) {
                    value /= 2;
                }
            }
        }
        steps
    }
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_hexdigit()).collect()
}

/// Opens the sample module's device for all worlds. Without the module, there are no sections.
fn open_sample() -> Result<bool> {
    if !Path::new("/dev/kcov-sample").exists() {
        return Ok(false);
    }
    let path = sys::address(c"/dev/kcov-sample");
    let file = call_with(
        libc::SYS_openat,
        &[libc::AT_FDCWD as usize, path, libc::O_RDWR as usize],
    );
    if file < 0 || call_with(libc::SYS_dup3, &[file as usize, SAMPLE_FILE, 0]) < 0 {
        bail!("/dev/kcov-sample can't be opened");
    }
    call_with(libc::SYS_close, &[file as usize]);
    Ok(true)
}

/// SplitMix64: the same numbers for the same seed everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn step(&mut self) -> Step {
        (
            (self.next() % u64::from(world::WEIGHTS)) as u16,
            self.next().to_le_bytes(),
        )
    }
}

/// Returns a sequence of at most so many steps.
fn sequence_of(seed: u64, sequence: u64, steps: usize) -> Vec<Step> {
    // Not the numbers of another sequence from another place on.
    let mut random = Random(Random(seed).next() ^ Random(!sequence).next());
    let length = steps - random.next() as usize % (steps / 2 + 1);
    (0..length).map(|_| random.step()).collect()
}

fn main() -> Result<ExitCode> {
    let mut arguments = env::args();
    if arguments.nth(1).as_deref() == Some("serve") {
        let slot = arguments.next().context("no number of an actor")?.parse()?;
        sys::map()?;
        actor::resume(slot);
        return Ok(ExitCode::SUCCESS);
    }
    run(&Options::parse())
}

fn run(options: &Options) -> Result<ExitCode> {
    sys::create()?;
    call_with(
        libc::SYS_prctl,
        &[libc::PR_SET_CHILD_SUBREAPER as usize, 1, 0, 0, 0],
    );
    let runs = Runs::new(options)?;
    let started = Instant::now();
    let calls = || sys::report().calls.load(Ordering::Relaxed);
    let (mut sequence, mut said) = (options.first, 0);
    println!(
        "# seed {}, sections: {}",
        options.seed,
        if runs.sample { "yes" } else { "no" }
    );
    while calls() < options.calls {
        let steps = sequence_of(options.seed, sequence, options.steps);
        if let Err(what) = runs.run(&steps, false) {
            println!(
                "# sequence {sequence} of seed {} differs: {}",
                options.seed,
                what.trim()
            );
            let steps = runs.shorten(steps, &what);
            let steps = runs.shorten(runs.simplify(steps, &what), &what);
            say_difference(&runs, options, sequence, &steps, &what);
            return Ok(ExitCode::FAILURE);
        }
        sequence += 1;
        if calls() / 100_000 > said {
            said = calls() / 100_000;
            println!("# {} calls in {} seconds", calls(), started.elapsed().as_secs());
        }
    }
    for (_, name, result, count) in world::counts().filter(|(.., count)| *count > 0) {
        println!("{name}: {} {count}", world::errno_name(result));
    }
    println!(
        "{} calls in {} sequences, {} seconds",
        calls(),
        sequence - options.first,
        started.elapsed().as_secs()
    );
    Ok(if everything_happened(&runs, calls()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn say_difference(runs: &Runs, options: &Options, sequence: u64, steps: &[Step], how: &str) {
    let again = (0..10).filter(|_| runs.fails(steps, how)).count();
    let what = runs
        .run(steps, true)
        .err()
        .unwrap_or_else(|| "(not this time)".to_owned());
    println!(
        "error: the kernel differs from the model, {again} times of 10, after {} steps:",
        steps.len()
    );
    println!("{what}");
    println!("To begin there: --seed {} --first {sequence}", options.seed);
}

/// Results that any long run comes to.
fn everything_happened(runs: &Runs, calls: u64) -> bool {
    let kinds = |kind: Kind| -> &[i32] {
        match kind {
            Kind::Init => &[0, libc::EINVAL, libc::EBUSY],
            Kind::Map => &[0, libc::EINVAL, libc::EACCES],
            Kind::Enable => &[0, libc::EINVAL, libc::EBUSY],
            Kind::RemoteEnable => &[0, libc::EINVAL, libc::EBUSY, libc::EFAULT, libc::EEXIST],
            Kind::Disable => &[0, libc::EINVAL],
            Kind::Unique | Kind::PcCmp if runs.kernel.rust => &[libc::EINVAL, libc::EBUSY],
            Kind::Reset | Kind::DisableAny if runs.kernel.rust => &[0, libc::EINVAL],
            Kind::Unique | Kind::PcCmp | Kind::Reset | Kind::DisableAny | Kind::Unknown => &[libc::ENOTTY],
            Kind::File => &[libc::EINVAL, libc::ESPIPE],
            Kind::Protect => &[0, libc::EACCES],
            Kind::Remap => &[libc::EFAULT],
            Kind::Section | Kind::Work | Kind::CommonHandle if !runs.sample => &[],
            Kind::Statistics if !runs.kernel.rust => &[],
            _ => &[0],
        }
    };
    // Enough calls that each of these comes dozens of times.
    let enough = |kind: Kind| match kind {
        Kind::Protect | Kind::Kill | Kind::Execute => 500_000,
        _ => 30_000,
    };
    let missing: Vec<String> = world::counts()
        .filter(|(kind, _, result, count)| {
            calls >= enough(*kind) && kinds(*kind).contains(result) && *count == 0
        })
        .map(|(_, name, result, _)| format!("{name}: {}", world::errno_name(result)))
        .collect();
    if !missing.is_empty() {
        println!("error: never happened: {}", missing.join(", "));
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_sequence_and_no_other_does() {
        let sequence = sequence_of(1, 5, 400);
        assert_eq!(sequence, sequence_of(1, 5, 400));
        assert!((200..=400).contains(&sequence.len()));
        for other in [
            sequence_of(1, 6, 400),
            sequence_of(2, 5, 400),
            sequence_of(5, 1, 400),
        ] {
            assert_ne!(sequence[..16], other[..16]);
        }
    }

    #[test]
    fn every_kind_of_step_comes() {
        let mut random = Random(1);
        let numbers: std::collections::BTreeSet<u16> = (0..100_000).map(|_| random.step().0).collect();
        assert_eq!(numbers.len(), usize::from(world::WEIGHTS));
    }
}
