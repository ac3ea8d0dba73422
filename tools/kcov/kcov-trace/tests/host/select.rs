// SPDX-License-Identifier: GPL-2.0
//! Code that the user wants to see, and the lines for the kernel's filter.

use std::fs;

use crate::fixture::{Fixture, line_of, sources};
use crate::modules::with_module;

/// Makes the folder of the fixture the tree of the sources, with an entry for program.c, and returns
/// the options that tell so.
fn tree(fixture: &Fixture) -> [String; 2] {
    let folder = fixture.folder.path().display().to_string();
    let text = "Maintainers\n\nTEST PROGRAM\nM:\tA\nF:\tprogram.c\n\nOTHER CODE\nF:\tmm/\n";
    fs::write(fixture.path("MAINTAINERS"), text).unwrap();
    [
        format!("--source={}={folder}", sources().display()),
        format!("--source={folder}"),
    ]
}

fn functions(fixture: &Fixture, options: &[&str]) -> Vec<String> {
    let report = ["report", "--vmlinux", "vmlinux", "-f", "functions", "run.kcov"];
    let text = fixture.succeeds(&[&report[..], options].concat());
    let rows = text.lines().skip(1);
    let mut names: Vec<String> = rows
        .map(|row| row.split_whitespace().nth(2).unwrap().into())
        .collect();
    names.sort();
    names
}

#[test]
fn functions_files_and_entries_are_selected() {
    let fixture = Fixture::new();
    let source = tree(&fixture);
    let source: Vec<&str> = source.iter().map(String::as_str).collect();
    let with = |options: &[&str]| functions(&fixture, &[&source[..], options].concat());
    assert_eq!(with(&[]), ["inlined", "main", "outer"]);
    // Code that was inlined belongs to both functions.
    assert_eq!(with(&["--only", "out*"]), ["inlined", "outer"]);
    assert_eq!(with(&["--skip", "inlined", "--skip", "main"]), ["outer"]);
    for everything in ["program.c", "file:program.c", "TEST PROGRAM", "maintainers:test*"] {
        assert_eq!(with(&["--only", everything]).len(), 3, "{everything}");
        assert_eq!(with(&["--skip", everything]).len(), 0, "{everything}");
    }
    assert_eq!(with(&["--skip", "OTHER CODE", "--skip", "noise"]).len(), 3);
    let report = ["report", "--vmlinux", "vmlinux", "run.kcov", source[0], source[1]];
    let error = fixture.fails(&[&report[..], &["--only", "NO SUCH ENTRY"]].concat());
    assert!(error.contains("no entry 'NO SUCH ENTRY'"), "{error}");
    let error = fixture.fails(&["report", "--skip", "noise", "-o", "x.kcov", "run.kcov"]);
    assert!(error.contains("--skip cannot be used here"), "{error}");
}

#[test]
fn share_is_that_of_what_is_selected() {
    let fixture = Fixture::new();
    let lcov = |options: &[&str]| {
        let report = ["report", "--vmlinux", "vmlinux", "-f", "lcov", "run.kcov"];
        fixture.succeeds(&[&report[..], options].concat())
    };
    let never = format!("DA:{},0\n", line_of("sink = 2;") - 1);
    assert!(lcov(&[]).contains("FNDA:0,never\n"));
    let text = lcov(&["--skip", "never"]);
    assert!(!text.contains("never") && !text.contains(&never), "{text}");
    assert!(
        text.contains(&format!("DA:{},1\n", line_of("sink = 4;"))),
        "{text}"
    );
}

#[test]
fn page_has_groups_of_maintainers() {
    let fixture = Fixture::new();
    let source = tree(&fixture);
    let page = |options: &[&str]| {
        let report = [
            "report",
            "--vmlinux",
            "vmlinux",
            "-o",
            "p.html",
            "run.kcov",
            &source[0],
            &source[1],
        ];
        fixture.succeeds(&[&report[..], options].concat());
        fs::read_to_string(fixture.path("p.html")).unwrap()
    };
    let group = "<summary class=\"row\"><span class=\"name\">TEST PROGRAM</span>";
    assert!(page(&["--by-maintainer"]).contains(group));
    assert!(!page(&[]).contains(group));
}

#[test]
fn tree_leaves_out_functions_and_keeps_what_they_call() {
    let fixture = Fixture::new();
    let report = ["report", "--vmlinux", "vmlinux", "-f", "tree", "run.kcov"];
    let whole = fixture.succeeds(&report);
    assert!(
        whole.contains("\n  main 2\n") || whole.contains("\n    outer 3\n"),
        "{whole}"
    );
    let text = fixture.succeeds(&[&report[..], &["--skip", "main"]].concat());
    assert!(text.contains("\n  outer 3\n") && !text.contains("main"), "{text}");
}

#[test]
fn lines_of_the_filter_are_functions() {
    let (fixture, _) = with_module(0, 0xffff_ffff_c010_0000);
    let filter = |patterns: &[&str]| {
        let text = fixture.succeeds(&[&["filter", "--vmlinux", "vmlinux"], patterns].concat());
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(filter(&["program.c"]), ["outer", "never", "main"]);
    assert_eq!(filter(&["program.c", "!outer"]), ["never", "main"]);
    assert_eq!(filter(&["!outer"]), ["!outer"]);
    let lines = filter(&["--modules", "drivers", "outer"]);
    assert_eq!(lines, ["outer", "outer:mod:some_driver"]);
    let output = fixture.kcov_trace(&["filter", "--vmlinux", "vmlinux", "none.c"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
}
