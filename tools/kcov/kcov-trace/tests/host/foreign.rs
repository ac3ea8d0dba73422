// SPDX-License-Identifier: GPL-2.0
//! Kernels for other architectures than the one that kcov-trace runs on: their call sites,
//! functions and lines. Without a cross compiler, the test says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fixture::{Fixture, frames_by, sources, tool};
use kcov_trace::recording::{Recording, Records, Task};
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

/// Returns a clang for arm64 and the folder of its tools; prints a message if there is none.
fn clang() -> Option<PathBuf> {
    let runs = |path: &Path| {
        let status = Command::new(path)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    // Debian has each version in a folder of its own, with all tools under their plain names.
    let versions = (14..40)
        .rev()
        .map(|version| format!("/usr/lib/llvm-{version}/bin"));
    let found = versions
        .map(PathBuf::from)
        .chain([PathBuf::from("/usr/bin")])
        .find(|folder| runs(&folder.join("clang")) && runs(&folder.join("ld.lld")));
    if found.is_none() {
        eprintln!("skipped: clang and ld.lld were not found");
    }
    found
}

/// Compiles the program for arm64, and links it with the hook more than 128 MiB away.
fn with_distant_hook(folder: &Path, clang: &Path, linker: &Path, options: &[&str]) {
    fs::write(folder.join("start.c"), HOOK).unwrap();
    for (source, more) in [
        (folder.join("start.c"), "-ffunction-sections"),
        (sources().join("program.c"), "-fsanitize-coverage=trace-pc"),
    ] {
        tool(
            Command::new(clang.join("clang"))
                .args(["--target=aarch64-linux-gnu", "-c", "-g", "-O1", "-fno-pie", more])
                .arg(source)
                .current_dir(folder),
        );
    }
    let script = "PHDRS { near PT_LOAD; far PT_LOAD; }\n\
                  SECTIONS {\n\
                  .text 0x10000 : { program.o(.text*) start.o(.text._start) } :near\n\
                  .far 0x9010000 : { start.o(.text.__sanitizer_cov_trace_pc) } :far\n\
                  .bss : { *(.bss*) } :far\n\
                  }\n";
    fs::write(folder.join("distant.ld"), script).unwrap();
    tool(
        Command::new(linker)
            .args(["-T", "distant.ld", "--build-id=sha1", "-e", "_start"])
            .args(options)
            .args(["-o", "distant", "program.o", "start.o"])
            .current_dir(folder),
    );
}

/// Checks that all sites are the places after calls of the veneer, which the linker has named.
fn check_veneers(clang: &Path, linker: &Path, options: &[&str], name: &str) {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    with_distant_hook(folder, clang, linker, options);
    let listing = tool(
        Command::new(clang.join("llvm-objdump"))
            .args(["-d", "--no-show-raw-insn", "distant"])
            .current_dir(folder),
    );
    let text = String::from_utf8(listing.stdout).unwrap();
    let wanted: Vec<u64> = text
        .lines()
        .filter(|line| line.contains("bl\t") && line.contains(&format!("<{name}>")))
        .map(|line| u64::from_str_radix(line.split(':').next().unwrap().trim(), 16).unwrap() + 4)
        .collect();
    assert!(wanted.len() >= 4, "{text}");
    let file = ImageFile::open(&folder.join("distant")).unwrap();
    let image = file.image().unwrap();
    let found = sites(&image, Hook::Pc).unwrap();
    assert!(found.iter().all(|site| site.kind == SiteKind::Call), "{found:?}");
    assert_eq!(
        found.iter().map(|site| site.pc).collect::<Vec<_>>(),
        wanted,
        "{text}"
    );
}

#[test]
fn arm64_with_veneers_of_lld() {
    let Some(clang) = clang() else { return };
    let lld = clang.join("ld.lld");
    check_veneers(
        &clang,
        &lld,
        &[],
        "__AArch64AbsLongThunk___sanitizer_cov_trace_pc",
    );
    check_veneers(
        &clang,
        &lld,
        &["-pie"],
        "__AArch64ADRPThunk___sanitizer_cov_trace_pc",
    );
}

#[test]
fn arm64_with_veneers_of_gnu_ld() {
    let Some(clang) = clang() else { return };
    let linker = Path::new("aarch64-linux-gnu-ld");
    if Command::new(linker)
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("skipped: aarch64-linux-gnu-ld was not found");
        return;
    }
    check_veneers(&clang, linker, &[], "____sanitizer_cov_trace_pc_veneer");
}

#[test]
fn addresses_of_calls_of_arm64_are_mended() {
    let Some(clang) = clang() else { return };
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    with_distant_hook(folder, &clang, &clang.join("ld.lld"), &[]);
    let file = ImageFile::open(&folder.join("distant")).unwrap();
    let image = file.image().unwrap();
    let pcs: Vec<u64> = sites(&image, Hook::Pc)
        .unwrap()
        .iter()
        .map(|site| site.pc)
        .collect();
    let mut recording = fixture.recording.clone();
    recording.kernel.machine = "aarch64".into();
    recording.kernel.build_id = image.build_id().unwrap().to_vec();
    recording.kernel.text = 0;
    let lcov = |recording: &Recording| {
        fixture.save("arm64.kcov", recording);
        let output = fixture.kcov_trace(&["report", "--vmlinux", "distant", "-f", "lcov", "arm64.kcov"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    recording.tasks[0].records = Records::Pcs(pcs.clone());
    let (right, _) = lcov(&recording);
    recording.tasks[0].records = Records::Pcs(pcs.iter().map(|pc| pc - 4).collect());
    let (mended, said) = lcov(&recording);
    assert!(said.contains("4 was added"), "{said}");
    assert_eq!(mended, right);
}
