// SPDX-License-Identifier: GPL-2.0
//! The coverage of a patch, with programs of gcc and clang that were really run.

use std::fs;
use std::process::Command;

use crate::fixture::{Fixture, link, run, tool};
use kcov_trace::recording::Records;

/// The program before the patch, of which the patch makes another one.
const BEFORE: &str = "volatile int sink;\n\
    __attribute__((noinline)) int f(int x)\n{\n\tif (x > 100)\n\t\tsink = 1;\n\treturn x;\n}\n\
    int main(int x, char **y)\n{\n\t(void)y;\n\treturn f(x) - x;\n}\n";
/// The program after it. What each line is, is in a comment.
const AFTER: &str = "volatile int sink;\n\
    /* no code */\n\
    __attribute__((noinline)) int f(int x)\n{\n\
    \tsink = 7; /* covered */\n\
    \tif (x > 100) {\n\
    \t\tsink = 1; /* not covered */\n\
    \t\tsink = x; /* not covered */\n\
    \t}\n\
    \tsink = 8; /* covered */\n\
    \treturn x;\n}\n\
    __attribute__((no_sanitize(\"coverage\"), noinline)) static int quiet(int x)\n{\n\
    \treturn x ^ sink; /* not decidable */\n}\n\
    int main(int x, char **y)\n{\n\t(void)y;\n\tsink = quiet(x);\n\treturn f(x) - x;\n}\n";

/// Builds the program after the patch, runs it, and makes the patch.
fn patched(fixture: &Fixture, compiler: &str) {
    let folder = fixture.folder.path();
    for (name, text) in [("a", BEFORE), ("b", AFTER)] {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("x.c"), text).unwrap();
    }
    let after = AFTER.replace("no_sanitize(\"coverage\")", "no_sanitize_coverage");
    if compiler == "gcc" {
        fs::write(folder.join("b/x.c"), after).unwrap();
    }
    let diff = Command::new("diff")
        .args(["-u", "a/x.c", "b/x.c"])
        .current_dir(folder)
        .output()
        .unwrap();
    fs::write(folder.join("x.patch"), diff.stdout).unwrap();
    tool(
        Command::new(compiler)
            .args(["-c", "-g", "-O1", "-fno-pie", "-fno-optimize-sibling-calls"])
            .args(["-fsanitize-coverage=trace-pc", "-o", "x.o"])
            .arg(folder.join("b/x.c"))
            .current_dir(folder),
    );
    link(folder, "x", "x.o");
    let mut recording = fixture.recording_of_any_kernel();
    recording.tasks[0].records = Records::Pcs(run(folder, "x"));
    fixture.save("x.kcov", &recording);
}

fn all_kinds_are_told(compiler: &str) {
    let fixture = Fixture::new();
    patched(&fixture, compiler);
    let report = ["report", "--vmlinux", "x", "--diff", "x.patch", "x.kcov"];
    let text = fixture.succeeds(&report);
    let mut kinds = 0;
    for line in text.lines().filter(|line| line.contains("/* ")) {
        let (told, source) = line.split_at(33);
        let wanted = source.split("/* ").nth(1).unwrap().trim_end_matches(" */");
        let state = told.trim().split_once("  ").unwrap().1;
        assert_eq!(
            state.trim_end_matches(" (inferred)"),
            wanted,
            "{compiler}: {line}\n{text}"
        );
        kinds += 1;
    }
    assert_eq!(kinds, 6, "{text}");
    assert!(text.contains("(its function is not instrumented)"), "{text}");
    // The second line of the block has no call site of its own.
    assert!(text.contains("not covered (inferred)"), "{text}");
    let summary = text.lines().last().unwrap();
    assert!(
        summary.starts_with("patch: ") && summary.contains(" changed lines that can be decided: "),
        "{text}"
    );

    let json = fixture.succeeds(&[&report[..5], &["-f", "json", "x.kcov"]].concat());
    let objects: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let all = objects.last().unwrap();
    let lines = objects.iter().filter(|object| object["type"] == "changed_line");
    let covered = lines.clone().filter(|line| line["state"] == "covered").count();
    assert_eq!(all["covered"], covered, "{json}");
    let decided = covered + lines.filter(|line| line["state"] == "not covered").count();
    let percent = covered as f64 * 100.0 / decided as f64;
    assert_eq!(all["percent_of_decided"], percent, "{json}");
    assert!(
        summary.contains(&format!("{percent:.1} % of {decided} changed")),
        "{text}"
    );

    for (least, status) in [(percent - 1.0, 0), (percent + 1.0, 3)] {
        let least = least.to_string();
        let output = fixture.kcov_trace(&[&report[..5], &["--fail-under", &least, "x.kcov"]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert_eq!(said.contains("covered less than"), status == 3, "{said}");
    }
}

#[test]
fn all_kinds_are_told_of_gcc() {
    all_kinds_are_told("gcc");
}

#[test]
fn all_kinds_are_told_of_clang() {
    let names = ["clang", "clang-22", "clang-19"];
    let found = names
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok());
    let Some(clang) = found else {
        eprintln!("skipped: clang was not found");
        return;
    };
    all_kinds_are_told(clang);
}

#[test]
fn what_does_not_fit_is_not_decided() {
    let fixture = Fixture::new();
    patched(&fixture, "gcc");
    let report = |patch: &str| {
        fs::write(fixture.path("other.patch"), patch).unwrap();
        fixture.succeeds(&["report", "--vmlinux", "x", "--diff", "other.patch", "x.kcov"])
    };
    let text = report("--- a/b/x.c\n+++ b/b/x.c\n@@ -5,0 +5,1 @@\n+\tsink = 9;\n");
    assert!(text.contains("apply the patch"), "{text}");
    let text = report("--- a/y.c\n+++ b/y.c\n@@ -5,0 +5,1 @@\n+\tsink = 9;\n");
    assert!(text.contains("it was not built"), "{text}");
    assert!(text.ends_with("patch: no changed line that can be decided: 0 covered, 0 not covered (0 of both inferred); 1 not decidable, 0 without code\n"), "{text}");
    let text = report("--- a/y.rst\n+++ b/y.rst\n@@ -5,0 +5,1 @@\n+words\n");
    assert!(text.contains("no code"), "{text}");
    let output = fixture.kcov_trace(&["report", "--vmlinux", "x", "--diff", "x.c", "x.kcov"]);
    assert_eq!(output.status.code(), Some(2));
}
