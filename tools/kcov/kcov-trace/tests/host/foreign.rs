// SPDX-License-Identifier: GPL-2.0
//! Kernels for other architectures than the one that kcov-trace runs on: their call sites,
//! functions and lines. Without a cross compiler, the test says so.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fixture::{Fixture, frames_by, sources, tool};
use kcov_trace::recording::{Records, Task};
use kcov_trace::symbols::{Hook, ImageFile, Site, SiteKind, sites};

const HOOK: &str = "void __sanitizer_cov_trace_pc(void) { }\n\
                    extern int main(int, char **);\n\
                    void _start(void) { main(1, 0); for (;;) ; }\n";

/// Links a file that replaces `vmlinux` for another machine; it is never run.
fn linked(folder: &Path, prefix: &str, name: &str, options: &[&str]) {
    fs::write(folder.join("start.c"), HOOK).unwrap();
    let compiler = format!("{prefix}-gcc");
    for (source, object, more) in [
        (folder.join("start.c"), "start.o", "-g"),
        (
            sources().join("program.c"),
            "program.o",
            "-fsanitize-coverage=trace-pc",
        ),
    ] {
        tool(
            Command::new(&compiler)
                .args(["-c", "-g", "-O1", "-fno-pie", "-fno-optimize-sibling-calls", more])
                .args(["-o", object])
                .arg(source)
                .current_dir(folder),
        );
    }
    tool(
        Command::new(&compiler)
            .args(["-nostdlib", "-static", "-no-pie", "-Wl,--build-id=sha1"])
            .args(options)
            .args(["-o", name, "start.o", "program.o"])
            .current_dir(folder),
    );
}

/// Returns whether a cross compiler and its binutils are installed, and prints a message if not.
fn has_tools(prefix: &str) -> bool {
    let missing = ["gcc", "objdump", "addr2line"].into_iter().find(|name| {
        Command::new(format!("{prefix}-{name}"))
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
    });
    match missing {
        Some(name) => {
            eprintln!("skipped: {prefix}-{name} was not found");
            false
        }
        None => true,
    }
}

/// Returns the addresses after the calls of the hook that objdump shows.
fn objdump(folder: &Path, prefix: &str, name: &str) -> Vec<u64> {
    let listing = tool(
        Command::new(format!("{prefix}-objdump"))
            .args(["-d", name])
            .current_dir(folder),
    );
    let text = String::from_utf8(listing.stdout).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(":\t")).collect();
    lines
        .windows(2)
        .filter(|pair| pair[0].contains("<__sanitizer_cov_trace_pc>"))
        .map(|pair| u64::from_str_radix(pair[1].split(':').next().unwrap().trim(), 16).unwrap())
        .collect()
}

fn check(prefix: &str, machine: &str, name: &str, options: &[&str]) {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    linked(folder, prefix, name, options);
    let file = ImageFile::open(&folder.join(name)).unwrap();
    let image = file.image().unwrap();
    assert_eq!(image.architecture().name(), machine);
    let found: Vec<Site> = sites(&image, Hook::Pc).unwrap();
    let pcs: Vec<u64> = found.iter().map(|site| site.pc).collect();
    assert_eq!(pcs, objdump(folder, prefix, name));
    assert!(
        pcs.len() >= 6 && found.iter().all(|site| site.kind == SiteKind::Call),
        "{found:?}"
    );

    let mut recording = fixture.recording.clone();
    recording.kernel.machine = machine.into();
    recording.kernel.build_id = image.build_id().unwrap().to_vec();
    recording.kernel.text = 0;
    recording.tasks = vec![Task {
        records: Records::Pcs(pcs.clone()),
        ..recording.tasks[0].clone()
    }];
    fixture.save("foreign.kcov", &recording);
    let trace = fixture.succeeds(&["report", "--vmlinux", name, "-f", "trace", "foreign.kcov"]);
    for (line, pc) in trace.lines().skip(1).zip(&pcs) {
        let frames = frames_by(&format!("{prefix}-addr2line"), folder, name, *pc);
        assert_eq!(line, format!("{pc:#018x}{}", frames.join(", inlined into")));
    }
    // All code ran, so all of it is covered.
    let lcov = fixture.succeeds(&["report", "--vmlinux", name, "-f", "lcov", "foreign.kcov"]);
    assert!(lcov.contains("FNDA:1,never\n"), "{lcov}");
    assert!(!lcov.contains("FNDA:0,"), "{lcov}");
}

#[test]
fn arm64() {
    if has_tools("aarch64-linux-gnu") {
        check("aarch64-linux-gnu", "aarch64", "vmlinux.arm64", &[]);
    }
}

#[test]
fn riscv64_with_calls_that_the_linker_made_short() {
    if has_tools("riscv64-linux-gnu") {
        check("riscv64-linux-gnu", "riscv64", "vmlinux.riscv64", &[]);
    }
}

#[test]
fn riscv64_with_pairs_of_instructions() {
    if has_tools("riscv64-linux-gnu") {
        check(
            "riscv64-linux-gnu",
            "riscv64",
            "vmlinux.riscv64",
            &["-Wl,--no-relax"],
        );
    }
}
