// SPDX-License-Identifier: GPL-2.0
//! Reports of recordings that have each edge once, compared with those that have each PC once.

use std::collections::HashSet;

use kcov::Edge;
use kcov_trace::recording::{self, Name, Recording, Records};

use crate::fixture::{Fixture, packed};

/// Returns the edges of a trace, each once.
fn edges_of(pcs: &[u64]) -> Vec<Edge> {
    let mut seen = HashSet::new();
    let before = [0].into_iter().chain(pcs.iter().copied());
    before
        .zip(pcs)
        .map(|(previous, pc)| Edge { previous, pc: *pc })
        .filter(|edge| seen.insert(*edge))
        .collect()
}

/// Saves the fixture's recording as one with each edge once, and as one with each PC once.
fn edges_and_unique(fixture: &Fixture) -> Vec<Edge> {
    let mut seen = HashSet::new();
    let mut pcs = fixture.pcs();
    // And back again, so that PCs have several ones before them.
    pcs.extend(fixture.pcs().iter().rev());
    let edges = edges_of(&pcs);
    pcs.retain(|pc| seen.insert(*pc));
    assert!(edges.len() > pcs.len(), "no PC has several ones before it");
    let mut recording = fixture.recording.clone();
    recording.tasks[0].unique = true;
    recording.tasks[0].test = "test".into();
    recording.tasks[0].records = Records::Pcs(pcs);
    fixture.save("unique.kcov", &recording);
    recording.tasks[0].records = Records::Edges(edges.clone());
    fixture.save("edges.kcov", &recording);
    edges
}

fn report(fixture: &Fixture, format: &str, name: &str) -> String {
    fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", format, name])
}

fn rows(text: &str) -> Vec<&str> {
    text.lines().filter(|row| !row.starts_with('#')).collect()
}

#[test]
fn reports_are_those_of_each_pc_once() {
    let fixture = Fixture::new();
    edges_and_unique(&fixture);
    for format in ["lcov", "functions"] {
        let [edges, unique] = ["edges.kcov", "unique.kcov"].map(|name| report(&fixture, format, name));
        assert_eq!(edges, unique, "{format}");
    }
    let page = |name: &str| report(&fixture, "html", name);
    assert_eq!(
        packed(&page("edges.kcov"), "s0"),
        packed(&page("unique.kcov"), "s0")
    );
    let lines = |name: &str| -> Vec<String> {
        let text = report(&fixture, "json", name);
        let of_line = |row: &&str| row.contains(r#""type":"line""#);
        text.lines().filter(of_line).map(str::to_owned).collect()
    };
    assert_eq!(lines("edges.kcov"), lines("unique.kcov"));
    assert!(!lines("edges.kcov").is_empty());
}

#[test]
fn both_pcs_of_an_edge_are_named() {
    let fixture = Fixture::new();
    let edges = edges_and_unique(&fixture);
    let plain = report(&fixture, "trace", "run.kcov");
    let named = |pc: u64| {
        let start = format!("{pc:#018x} ");
        plain.lines().find(|row| row.starts_with(&start)).unwrap()
    };
    let text = report(&fixture, "trace", "edges.kcov");
    let wanted: Vec<String> = edges
        .iter()
        .map(|edge| match edge.previous {
            0 => format!("(first PC)         -> {}", named(edge.pc)),
            before => format!("{} -> {}", named(before), named(edge.pc)),
        })
        .collect();
    assert_eq!(rows(&text), wanted);
    let heading = format!("# task 7 (program): {} edges", edges.len());
    assert_eq!(text.lines().next(), Some(&*heading));
    let listing = report(&fixture, "listing", "edges.kcov");
    assert_eq!(listing.matches("(after) (first PC)\n").count(), 1, "{listing}");
    for edge in &edges[1..] {
        let after = format!("{:21}(after) {}\n", "", named(edge.previous));
        assert!(listing.contains(&after), "{after}{listing}");
    }
    assert_eq!(listing.matches("(after) ").count(), edges.len());
}

#[test]
fn names_of_the_running_kernel_are_those_of_both_pcs() {
    let fixture = Fixture::new();
    let mut recording = fixture.recording_of_any_kernel();
    let name = |(address, name): (u64, &str)| Name {
        address,
        name: name.into(),
        module: String::new(),
    };
    recording.names = [(0x1000, "one"), (0x2000, "two"), (0x3000, "three")]
        .map(name)
        .to_vec();
    // No edge to the PC of "three" is there, as if the buffer had been full.
    let edges = [(0, 0x1005), (0x3005, 0x2009)].map(|(previous, pc)| Edge { previous, pc });
    recording.tasks[0].records = Records::Edges(edges.to_vec());
    fixture.save("names.kcov", &recording);
    let text = fixture.succeeds(&["report", "-f", "trace", "names.kcov"]);
    let wanted = [
        "(first PC)         -> 0x0000000000001005 one",
        "0x0000000000003005 three -> 0x0000000000002009 two",
    ];
    assert_eq!(rows(&text), wanted);
    let json = fixture.succeeds(&["report", "-f", "json", "names.kcov"]);
    let objects: Vec<serde_json::Value> = json
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .filter(|value: &serde_json::Value| value["type"] == "edge")
        .collect();
    assert_eq!(objects.len(), 2);
    assert!(objects[0]["previous"].is_null() && objects[0].get("previous_frames").is_none());
    assert_eq!(objects[0]["frames"][0]["function"], "one");
    assert_eq!(objects[1]["previous"], "0x3005");
    assert_eq!(objects[1]["previous_frames"][0]["function"], "three");
    assert_eq!(objects[1]["frames"][0]["function"], "two");
}

#[test]
fn calls_cannot_be_inferred_from_edges() {
    let fixture = Fixture::new();
    edges_and_unique(&fixture);
    for format in ["tree", "folded"] {
        let error = fixture.fails(&["report", "--vmlinux", "vmlinux", "-f", format, "edges.kcov"]);
        assert!(error.contains("'program' has each edge once"), "{error}");
        assert!(error.contains("'--edges'"), "{error}");
    }
    let error = fixture.fails(&[
        "report",
        "--vmlinux",
        "vmlinux",
        "--syscall",
        "read",
        "edges.kcov",
    ]);
    assert!(error.contains("'program' has each edge once"), "{error}");
}

#[test]
fn edges_are_merged_and_compared() {
    let fixture = Fixture::new();
    let edges = edges_and_unique(&fixture);
    let read = |name: &str| -> Recording { recording::read(&fixture.path(name)).unwrap() };
    fixture.succeeds(&["merge", "-o", "all.kcov", "edges.kcov", "run.kcov"]);
    let all = read("all.kcov");
    assert_eq!(all.tasks[0], read("edges.kcov").tasks[0]);
    assert_eq!(all.tasks[1].records, fixture.recording.tasks[0].records);
    fixture.succeeds(&[
        "merge",
        "--unique",
        "-o",
        "once.kcov",
        "edges.kcov",
        "edges.kcov",
        "run.kcov",
    ]);
    let once = read("once.kcov");
    let mut sorted = edges.clone();
    sorted.sort_unstable();
    assert_eq!(once.tasks.len(), 2);
    assert_eq!(once.tasks[1].records, Records::Edges(sorted));
    // The same code was covered.
    for (a, b) in [("edges.kcov", "run.kcov"), ("run.kcov", "edges.kcov")] {
        let text = fixture.succeeds(&["diff", "--vmlinux", "vmlinux", "-f", "trace", a, b]);
        assert!(rows(&text).is_empty(), "{text}");
    }
}

#[test]
fn edges_are_selected_by_the_code_that_they_lead_to() {
    let fixture = Fixture::new();
    let edges = edges_and_unique(&fixture);
    let select = |option: &str| {
        let arguments = [
            "report",
            "--vmlinux",
            "vmlinux",
            "-f",
            "trace",
            option,
            "main",
            "edges.kcov",
        ];
        rows(&fixture.succeeds(&arguments)).len()
    };
    let (only, skip) = (select("--only"), select("--skip"));
    assert!(only > 0 && skip > 0, "{only} {skip}");
    assert_eq!(only + skip, edges.len());
}

#[test]
fn changed_pcs_of_edges_are_recognised() {
    let fixture = Fixture::new();
    edges_and_unique(&fixture);
    let mut shifted = recording::read(&fixture.path("edges.kcov")).unwrap();
    shifted.tasks[0].records.change_pcs(|pc| *pc -= 1);
    fixture.save("shifted.kcov", &shifted);
    let output = fixture.kcov_trace(&["report", "--vmlinux", "vmlinux", "-f", "trace", "shifted.kcov"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, report(&fixture, "trace", "edges.kcov"));
}

#[test]
fn only_one_kind_of_records_is_collected() {
    let fixture = Fixture::new();
    for arguments in [
        &["--edges", "--unique", "--", "true"][..],
        &["remote", "--edges", "--unique", "--usb", "1"],
        &["remote", "--edges", "--comparisons", "--usb", "1"],
    ] {
        let output = fixture.kcov_trace(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("cannot be used with"), "{error}");
    }
}
