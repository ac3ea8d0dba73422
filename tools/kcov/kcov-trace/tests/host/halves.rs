// SPDX-License-Identifier: GPL-2.0
//! Debug information that is in another file than the code, or compressed, or missing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fixture::{Fixture, compile, link, tool};

const LCOV: [&str; 4] = ["report", "-f", "lcov", "--vmlinux"];
const FUNCTIONS: [&str; 4] = ["report", "-f", "functions", "--vmlinux"];

fn with<'a>(before: &[&'a str; 4], after: &[&'a str]) -> Vec<&'a str> {
    before.iter().chain(after).copied().collect()
}

fn objcopy(folder: &Path, arguments: &[&str]) {
    tool(Command::new("objcopy").args(arguments).current_dir(folder));
}

/// Splits a file as packagers do: the debug information goes to `debug`.
fn split(folder: &Path, file: &str, debug: &str, link: bool) {
    objcopy(folder, &["--only-keep-debug", file, debug]);
    objcopy(folder, &["--strip-debug", file]);
    if link {
        objcopy(folder, &[&format!("--add-gnu-debuglink={debug}"), file]);
    }
}

#[test]
fn either_half_of_a_kernel_finds_the_other() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    let lcov = fixture.succeeds(&with(&LCOV, &["vmlinux", "run.kcov"]));
    let functions = fixture.succeeds(&with(&FUNCTIONS, &["vmlinux", "run.kcov"]));
    split(folder, "vmlinux", "vmlinux.debug", true);
    for half in ["vmlinux", "vmlinux.debug"] {
        assert_eq!(
            fixture.succeeds(&with(&LCOV, &[half, "run.kcov"])),
            lcov,
            "{half}"
        );
        assert_eq!(
            fixture.succeeds(&with(&FUNCTIONS, &[half, "run.kcov"])),
            functions,
            "{half}"
        );
    }
    // Without a table of symbols, too.
    objcopy(folder, &["--strip-all", "vmlinux"]);
    assert_eq!(fixture.succeeds(&with(&LCOV, &["vmlinux", "run.kcov"])), lcov);
    // A file that the link names, but that belongs to another build.
    let other = Fixture::new();
    compile(
        other.folder.path(),
        "program.c",
        "program.o",
        &["-fsanitize-coverage=trace-pc", "-O2"],
    );
    link(other.folder.path(), "vmlinux", "program.o");
    objcopy(
        other.folder.path(),
        &["--only-keep-debug", "vmlinux", "vmlinux.debug"],
    );
    fs::copy(other.path("vmlinux.debug"), fixture.path("vmlinux.debug")).unwrap();
    let error = fixture.fails(&with(&LCOV, &["vmlinux", "run.kcov"]));
    assert!(
        error.contains("vmlinux has no symbols") && error.contains("vmlinux.debug"),
        "{error}"
    );
}

#[test]
fn missing_half_of_a_kernel_is_named() {
    let fixture = Fixture::new();
    split(fixture.folder.path(), "vmlinux", "kernel.debug", true);
    fs::rename(fixture.path("kernel.debug"), fixture.path("elsewhere")).unwrap();
    let error = fixture.fails(&with(&LCOV, &["vmlinux", "run.kcov"]));
    assert!(error.contains("put the file kernel.debug"), "{error}");
    // The other half has names and lines, but no call sites.
    fs::remove_file(&fixture.vmlinux).unwrap();
    let functions = fixture.succeeds(&with(&FUNCTIONS, &["elsewhere", "run.kcov"]));
    assert!(
        functions.contains("outer") && functions.contains("program.c:"),
        "{functions}"
    );
    let before = fixture.files();
    let error = fixture.fails(&with(&LCOV, &["elsewhere", "-o", "out.info", "run.kcov"]));
    assert!(
        error.contains("elsewhere has debug information, but not the code"),
        "{error}"
    );
    assert_eq!(fixture.files(), before);
}

/// Compresses the debug information by any llvm-objcopy that is installed and can.
fn compressed_by_llvm(fixture: &Fixture, kind: &str) -> bool {
    let installed = (14..40).map(|version| format!("/usr/lib/llvm-{version}/bin/llvm-objcopy"));
    ["llvm-objcopy".to_string()]
        .into_iter()
        .chain(installed)
        .any(|program| {
            let status = Command::new(program)
                .args([&format!("--compress-debug-sections={kind}"), "vmlinux", kind])
                .current_dir(fixture.folder.path())
                .status();
            status.is_ok_and(|status| status.success())
        })
}

#[test]
fn compressed_debug_information_is_the_same() {
    let fixture = Fixture::new();
    let lcov = fixture.succeeds(&with(&LCOV, &["vmlinux", "run.kcov"]));
    for kind in ["zlib", "zlib-gnu", "zstd"] {
        let compressed = Command::new("objcopy")
            .args([&format!("--compress-debug-sections={kind}"), "vmlinux", kind])
            .current_dir(fixture.folder.path())
            .output()
            .unwrap();
        // Not every binutils has zstd; llvm-objcopy has it.
        if !compressed.status.success() && !compressed_by_llvm(&fixture, kind) {
            eprintln!("skipped: a llvm-objcopy with {kind} was not found");
            continue;
        }
        assert_eq!(
            fixture.succeeds(&with(&LCOV, &[kind, "run.kcov"])),
            lcov,
            "{kind}"
        );
    }
}

/// Compiles a kernel whose debug information is in a file for each object.
fn with_split_dwarf(fixture: &Fixture, version: &str) {
    let folder = fixture.folder.path();
    let options = [
        "-fsanitize-coverage=trace-pc",
        "-fno-optimize-sibling-calls",
        "-gsplit-dwarf",
        version,
    ];
    compile(folder, "program.c", "program.o", &options);
    link(folder, "split", "program.o");
    fixture.save("split.kcov", &fixture.recording_of_any_kernel());
}

/// Makes a package of the split debug information; returns whether a program was there that can. Of
/// the DWARF 5 of GCC, LLVM 19 to 22 never make one, and binutils 2.40 crashes.
fn make_package(folder: &Path) -> bool {
    (15..40).rev().any(|version| {
        let program = format!("/usr/lib/llvm-{version}/bin/llvm-dwp");
        let status = Command::new("timeout")
            .args(["20", &program, "-e", "split", "-o", "split.dwp"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()) && folder.join("split.dwp").exists()
    })
}

#[test]
fn split_debug_information_is_read_or_its_absence_told() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let fixture = Fixture::new();
        with_split_dwarf(&fixture, version);
        let output = fixture.kcov_trace(&with(&FUNCTIONS, &["split", "split.kcov"]));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let whole = String::from_utf8(output.stdout).unwrap();
        assert!(whole.contains("  inlined  "), "{whole}");
        // The files were moved together.
        fs::create_dir(fixture.path("moved")).unwrap();
        for name in ["split", "program.dwo"] {
            fs::rename(fixture.path(name), fixture.path("moved").join(name)).unwrap();
        }
        let output = fixture.kcov_trace(&with(&FUNCTIONS, &["moved/split", "split.kcov"]));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), whole);
        // As a package.
        let package = fixture.path("moved");
        let packed = version == "-gdwarf-4" && make_package(&package);
        fs::remove_file(package.join("program.dwo")).unwrap();
        if packed {
            let output = fixture.kcov_trace(&with(&FUNCTIONS, &["moved/split", "split.kcov"]));
            assert_eq!(String::from_utf8(output.stdout).unwrap(), whole, "{version}");
            fs::remove_file(package.join("split.dwp")).unwrap();
        } else if version == "-gdwarf-4" {
            eprintln!("skipped: a llvm-dwp that works was not found");
        }
        // Not at all.
        let output = fixture.kcov_trace(&with(&FUNCTIONS, &["moved/split", "split.kcov"]));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("inlined functions are not known") && error.contains("program.dwo"),
            "{error}"
        );
    }
}

#[test]
fn split_debug_information_of_another_build_is_not_taken() {
    let fixture = Fixture::new();
    with_split_dwarf(&fixture, "-gdwarf-5");
    // The same file, compiled in another way after the kernel was linked.
    compile(
        fixture.folder.path(),
        "program.c",
        "program.o",
        &[
            "-fsanitize-coverage=trace-pc",
            "-gsplit-dwarf",
            "-gdwarf-5",
            "-O2",
            "-DMODULE",
        ],
    );
    let output = fixture.kcov_trace(&with(&FUNCTIONS, &["split", "split.kcov"]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("program.dwo"), "{error}");
}
