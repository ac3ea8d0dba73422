// SPDX-License-Identifier: GPL-2.0
//! The texts that programs and people read about the command: the schema of its JSON output, man pages,
//! completions.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use crate::calls::{program, with_calls};
use crate::fixture::Fixture;
use kcov::{Comparison, Edge};
use kcov_trace::recording::Records;
use serde_json::Value;

/// Returns the types of the objects in the output, each of which must fit the schema.
fn checked(fixture: &Fixture, arguments: &[&str], types: &mut BTreeSet<String>) {
    let schema: Value = serde_json::from_str(include_str!("../../schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for row in fixture.succeeds(arguments).lines() {
        let value: Value = serde_json::from_str(row).unwrap();
        if let Err(error) = schema.validate(&value) {
            panic!("{error}: {row}");
        }
        types.insert(value["type"].as_str().unwrap().to_owned());
    }
}

#[test]
fn json_fits_the_schema() {
    let (fixture, mut recording) = program();
    let report = ["report", "--vmlinux", "tree", "-f", "json", "tree.kcov"];
    let mut types = BTreeSet::new();
    checked(&fixture, &report, &mut types);
    checked(&fixture, &["report", "-f", "json", "tree.kcov"], &mut types);
    with_calls(&fixture, &mut recording);
    checked(&fixture, &report, &mut types);
    recording.tasks[0].calls.clear();
    recording.tasks[0].problem = Some("no memory".into());
    recording.tasks[0].records = Records::Comparisons(vec![Comparison::from_raw(7, 1, u64::MAX, 3)]);
    fixture.save("cmp.kcov", &recording);
    checked(&fixture, &["report", "-f", "json", "cmp.kcov"], &mut types);
    // Null for the first PC, and two PCs.
    let pc = fixture.pcs()[0];
    let edges = [(0, pc), (pc, pc)].map(|(previous, pc)| Edge { previous, pc });
    recording.tasks[0].records = Records::Edges(edges.to_vec());
    fixture.save("edges.kcov", &recording);
    checked(&fixture, &["report", "-f", "json", "edges.kcov"], &mut types);
    checked(
        &fixture,
        &["report", "--vmlinux", "vmlinux", "-f", "json", "edges.kcov"],
        &mut types,
    );
    let text = "+++ b/y.c\n@@ -5,0 +5,1 @@\n+\tsink = 9;\n+++ b/y.txt\n@@ -5,0 +5,1 @@\n+words\n";
    fs::write(fixture.path("x.patch"), text).unwrap();
    checked(
        &fixture,
        &[&report[..], &["--diff", "x.patch"]].concat(),
        &mut types,
    );
    let all = [
        "changed_line",
        "comparison",
        "edge",
        "line",
        "patch",
        "pc",
        "recording",
        "system_call",
        "task",
    ];
    assert_eq!(types.iter().map(String::as_str).collect::<Vec<_>>(), all);
}

#[test]
fn each_subcommand_has_a_man_page() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("man")).unwrap();
    fixture.succeeds(&["man", "man"]);
    for (name, option) in [
        ("kcov-trace", "each\\-syscall"),
        ("kcov-trace-report", "fail\\-under"),
    ] {
        let page = fs::read_to_string(fixture.path(&format!("man/{name}.1"))).unwrap();
        assert!(page.contains(&format!("\\-\\-{option}")), "{name}: {page}");
        assert!(page.contains(&format!(".TH {name} 1")), "{name}: {page}");
    }
    let count = fs::read_dir(fixture.path("man")).unwrap().count();
    let help = fixture.succeeds(&["--help"]);
    let commands = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let named = commands
        .lines()
        .filter(|row| row.starts_with("  ") && !row.starts_with("   "));
    // The command itself has a page, and the help has none.
    assert_eq!(count, named.count(), "{commands}");
    let error = fixture.fails(&["man", "missing"]);
    assert!(
        error.contains("missing/kcov-trace.1 cannot be written"),
        "{error}"
    );
}

#[test]
fn completions_are_scripts_of_the_shell() {
    let fixture = Fixture::new();
    let text = fixture.succeeds(&["completions", "bash"]);
    assert!(
        text.contains("--fail-under") && text.contains("complete -F"),
        "{text}"
    );
    fs::write(fixture.path("complete"), text).unwrap();
    let status = Command::new("bash")
        .args(["-n", "complete"])
        .current_dir(fixture.folder.path())
        .stdin(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}
