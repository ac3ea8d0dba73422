// SPDX-License-Identifier: GPL-2.0
//! The tests and tasks that ran a line, in LCOV files, JSON and the page.

use std::fs;

use crate::fixture::{Fixture, line_of, packed, sources};
use kcov_trace::recording::Records;

/// Saves two recordings: "short", which leaves out the last PC, and "long", which has two tasks.
fn two_tests(fixture: &Fixture) -> u64 {
    let pcs = fixture.pcs();
    let (last, rest) = pcs.split_last().unwrap();
    assert!(!rest.contains(last), "{pcs:x?}");
    let mut short = fixture.recording.clone();
    short.tasks[0].records = Records::Pcs(rest.to_vec());
    fixture.save("short.kcov", &short);
    let mut long = fixture.recording.clone();
    long.tasks.push(long.tasks[0].clone());
    long.tasks[1].tid = 8;
    fixture.save("long.kcov", &long);
    *last
}

#[test]
fn tracefile_has_a_record_for_each_test() {
    let fixture = Fixture::new();
    two_tests(&fixture);
    let report = ["report", "--vmlinux", "vmlinux", "-f", "lcov"];
    let text = fixture.succeeds(&[&report[..], &["short.kcov", "long.kcov"]].concat());
    let line = line_of("sink = 4;");
    let hits = |name: &str| {
        let start = format!("TN:{name}\nSF:{}\n", sources().join("program.c").display());
        let record = text
            .split("end_of_record\n")
            .find(|record| record.starts_with(&start));
        let record = record.unwrap_or_else(|| panic!("{name}: {text}"));
        let found = record
            .lines()
            .find_map(|row| row.strip_prefix(&format!("DA:{line},")));
        found.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!([hits("short"), hits("long")], [1, 2], "{text}");
    // A single recording is a test, too.
    let alone = fixture.succeeds(&[&report[..], &["long.kcov"]].concat());
    assert!(
        alone.contains("TN:long\n") && !alone.contains("TN:short"),
        "{alone}"
    );
    // Recordings that were put together keep their tests.
    fixture.succeeds(&["merge", "-o", "both.kcov", "short.kcov", "long.kcov"]);
    assert_eq!(fixture.succeeds(&[&report[..], &["both.kcov"]].concat()), text);
}

#[test]
fn json_names_who_ran_a_line() {
    let fixture = Fixture::new();
    let last = two_tests(&fixture);
    let by = |recordings: &[&str]| {
        let text =
            fixture.succeeds(&[&["report", "--vmlinux", "vmlinux", "-f", "json"], recordings].concat());
        let objects: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let of_type = |kind: &'static str| objects.iter().filter(move |object| object["type"] == kind);
        let of_last = of_type("pc")
            .find(|object| object["pc"] == format!("{last:#x}"))
            .unwrap();
        let frame = of_last["frames"][0].clone();
        let found =
            of_type("line").find(|line| line["file"] == frame["file"] && line["line"] == frame["line"]);
        found.unwrap()["by"].to_string()
    };
    assert_eq!(by(&["short.kcov", "long.kcov"]), r#"[{"hits":2,"run":"long"}]"#);
    assert_eq!(
        by(&["long.kcov"]),
        r#"[{"hits":1,"run":"program (7)"},{"hits":1,"run":"program (8)"}]"#
    );
}

#[test]
fn page_names_who_ran_a_line() {
    let fixture = Fixture::new();
    two_tests(&fixture);
    fixture.succeeds(&[
        "report",
        "--vmlinux",
        "vmlinux",
        "-o",
        "page.html",
        "short.kcov",
        "long.kcov",
    ]);
    let page = fs::read_to_string(fixture.path("page.html")).unwrap();
    assert_eq!(packed(&page, "runs"), serde_json::json!(["short", "long"]));
    let file = packed(&page, "s0");
    let line = |text: &str| {
        let number = line_of(text);
        let rows = file["lines"].as_array().unwrap();
        rows.iter().find(|row| row[0] == number).unwrap().to_string()
    };
    assert!(
        line("sink = 4;").ends_with(",3,2,[0,1]]"),
        "{}",
        line("sink = 4;")
    );
    assert!(line("sink = 3;").ends_with(",0,0,[]]"), "{}", line("sink = 3;"));
}
