// SPDX-License-Identifier: GPL-2.0
//! Measures the time to find all call sites of a kernel and to symbolise a recording, and the time
//! that llvm-addr2line takes for the same addresses.
//!
//! `KCOV_VMLINUX` names the kernel's vmlinux; without it, nothing is measured.

#![expect(missing_docs, reason = "criterion's macros make a function without")]

use std::env;
use std::hint::black_box;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};
use kcov_trace::images::{Files, Images, Search};
use kcov_trace::progress::Progress;
use kcov_trace::recording::{Recording, Records, Task};
use kcov_trace::sources::Sources;
use kcov_trace::symbolised::Symbolised;
use kcov_trace::symbols::{Hook, ImageFile, lines, sites};

/// The number of distinct PCs of the recording, spread over the kernel.
const DISTINCT: usize = 10_000;
/// The number of records of the recording.
const RECORDS: usize = 100_000;

fn measure(criterion: &mut Criterion) {
    let Some(vmlinux) = env::var_os("KCOV_VMLINUX").map(PathBuf::from) else {
        eprintln!("Name a vmlinux with KCOV in KCOV_VMLINUX; there is nothing to measure without one.");
        return;
    };
    let file = ImageFile::open(&vmlinux).expect("vmlinux opens");
    let image = file.image().expect("vmlinux is an ELF file");
    let all: Vec<u64> = sites(&image, Hook::Pc)
        .expect("vmlinux has KCOV")
        .iter()
        .map(|site| site.pc)
        .collect();
    let distinct: Vec<u64> = all
        .iter()
        .step_by((all.len() / DISTINCT).max(1))
        .take(DISTINCT)
        .copied()
        .collect();
    eprintln!(
        "{}: {} call sites, {} distinct PCs",
        vmlinux.display(),
        all.len(),
        distinct.len()
    );
    let recording = recording_of(&distinct);

    let mut group = criterion.benchmark_group("vmlinux");
    group.sample_size(10);
    group.bench_function("find all call sites", |bencher| {
        bencher.iter(|| {
            let file = ImageFile::open(&vmlinux).expect("vmlinux opens");
            let image = file.image().expect("vmlinux is an ELF file");
            black_box(sites(&image, Hook::Pc).expect("vmlinux has KCOV").len())
        });
    });
    group.bench_function("lines of all call sites", |bencher| {
        bencher.iter(|| {
            black_box(
                lines(&image, &all, &Progress::hidden())
                    .expect("DWARF is sound")
                    .lines
                    .len(),
            )
        });
    });
    group.bench_function("symbolise 100,000 PCs", |bencher| {
        bencher.iter(|| black_box(symbolise(&vmlinux, &recording)));
    });
    match Command::new("llvm-addr2line")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
    {
        Ok(_) => drop(
            group.bench_function("llvm-addr2line, the 10,000 distinct ones", |bencher| {
                bencher.iter(|| black_box(llvm_addr2line(&vmlinux, &distinct)));
            }),
        ),
        Err(error) => eprintln!("llvm-addr2line cannot be run, so it is not compared: {error}"),
    }
    group.finish();
}

/// Returns a recording with every PC ten times, in an order that does not help.
fn recording_of(distinct: &[u64]) -> Recording {
    let pcs = (0..RECORDS)
        .map(|i| distinct[i * 7919 % distinct.len()])
        .collect();
    let task = Task {
        tid: 1,
        name: "benchmark".into(),
        records: Records::Pcs(pcs),
        ..Task::default()
    };
    Recording {
        tasks: vec![task],
        ..Recording::default()
    }
}

/// Opens the file and finds a name for every record; returns the number of names.
fn symbolise(vmlinux: &std::path::Path, recording: &Recording) -> usize {
    let search = Search {
        vmlinux: vmlinux.into(),
        ..Search::default()
    };
    let files = Files::open(&search, &recording.kernel).expect("vmlinux opens");
    let images =
        Images::read(&files, &recording.kernel, false, &mut Vec::new()).expect("vmlinux is an ELF file");
    let sources = Sources::of(&images.list[0], &[]);
    let symbols = Symbolised::new(&images, recording, &sources).expect("DWARF is sound");
    recording
        .pcs()
        .map(|pc| {
            symbols
                .frames(pc)
                .map(|frame| frame.function.len())
                .sum::<usize>()
        })
        .sum()
}

fn llvm_addr2line(vmlinux: &std::path::Path, pcs: &[u64]) -> usize {
    let mut child = Command::new("llvm-addr2line")
        .args(["-f", "-i", "-e"])
        .arg(vmlinux)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("llvm-addr2line starts");
    let mut input = child.stdin.take().expect("a pipe");
    let text: String = pcs.iter().map(|pc| format!("{:#x}\n", pc - 1)).collect();
    // The program answers while it reads, so a thread is needed to write: otherwise both pipes may
    // fill up.
    let writer = thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("llvm-addr2line ends");
    writer
        .join()
        .expect("no panic")
        .expect("llvm-addr2line reads everything");
    assert!(output.status.success());
    output.stdout.len()
}

criterion_group!(benches, measure);
criterion_main!(benches);
