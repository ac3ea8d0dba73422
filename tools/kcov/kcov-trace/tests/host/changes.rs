// SPDX-License-Identifier: GPL-2.0
//! The difference of two recordings, or of two sets of them.

use std::fs;

use crate::fixture::{Fixture, line_of, sources};
use kcov_trace::recording::Records;

#[test]
fn both_directions_are_told() {
    let fixture = Fixture::new();
    let pcs = fixture.pcs();
    let saved = |name: &str, pcs: &[u64]| {
        let mut recording = fixture.recording.clone();
        recording.tasks[0].records = Records::Pcs(pcs.to_vec());
        fixture.save(name, &recording);
    };
    // Blocks of main, of outer, three of them with code that was inlined, and of main again.
    assert_eq!(pcs.len(), 5, "{pcs:x?}");
    saved("a.kcov", &pcs[..2]);
    for folder in ["before", "after"] {
        fs::create_dir(fixture.path(folder)).unwrap();
    }
    saved("before/1", &pcs[..1]);
    saved("before/2", &pcs[1..2]);
    saved("after/1", &pcs[2..]);
    saved("after/2", &[&pcs[..1], &pcs[2..3], &pcs[2..3]].concat());
    let changes = ["diff", "-f", "changes", "--vmlinux", "vmlinux"];
    let text = fixture.succeeds(&[&changes[..], &["before", "after"]].concat());
    let file = sources().join("program.c").display().to_string();
    let (covered, uncovered) = text.split_once("became uncovered").unwrap();
    assert!(
        covered.starts_with("became covered: 3 blocks in 3 functions\n"),
        "{text}"
    );
    let row = format!("       1  inlined  {file}:{}\n", line_of("sink = 4;"));
    assert!(covered.contains(&row), "{text}");
    let row = format!("       1  inlined  {file}:{}\n", line_of("if (x > 3)"));
    assert_eq!(uncovered, format!(": 1 blocks in 1 functions\n{row}"), "{text}");
    let whole = fixture.succeeds(&[&changes[..], &["before/2", "run.kcov"]].concat());
    assert!(whole.contains("       2  main  "), "{whole}");
    // A set is the same as the recordings that it has, and without symbols there are addresses.
    let plain = fixture.succeeds(&["diff", "-f", "changes", "a.kcov", "after"]);
    assert!(plain.ends_with(&format!("       1  {:#x}\n", pcs[1])), "{plain}");
    assert_eq!(
        fixture.succeeds(&[&changes[..], &["a.kcov", "after"]].concat()),
        text
    );
}

#[test]
fn format_of_changes_is_that_of_diff_only() {
    let fixture = Fixture::new();
    let error = fixture.fails(&["report", "-f", "changes", "run.kcov"]);
    assert!(error.contains("diff -f changes"), "{error}");
}
