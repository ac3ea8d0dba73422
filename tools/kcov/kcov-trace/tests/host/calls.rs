// SPDX-License-Identifier: GPL-2.0
//! Trees of calls, with a program that was really run.

use crate::fixture::{Fixture, compile, link, run};
use kcov_trace::recording::{Recording, Records, SystemCall};

/// Builds and runs the program, and saves its recording.
pub(crate) fn program() -> (Fixture, Recording) {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    let options = ["-fsanitize-coverage=trace-pc", "-fno-optimize-sibling-calls"];
    compile(folder, "tree.c", "tree.o", &options);
    link(folder, "tree", "tree.o");
    let mut recording = fixture.recording_of_any_kernel();
    recording.tasks[0].records = Records::Pcs(run(folder, "tree"));
    fixture.save("tree.kcov", &recording);
    (fixture, recording)
}

fn tree(fixture: &Fixture, format: &str) -> String {
    fixture.succeeds(&["report", "--vmlinux", "tree", "-f", format, "tree.kcov"])
}

/// Returns the lines of a tree without the numbers of records.
fn shape(text: &str) -> Vec<String> {
    let number = |word: &&str| word.parse::<u64>().is_err();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let indent = row.len() - row.trim_start().len();
        let words: Vec<&str> = row.split_whitespace().filter(number).collect();
        format!("{:indent$}{}", "", words.join(" "))
    })
    .collect()
}

#[test]
fn calls_are_those_of_the_program() {
    let (fixture, recording) = program();
    let text = tree(&fixture, "tree");
    assert_eq!(
        shape(&text),
        [
            "(no system call is known)",
            "  main",
            "first (inferred)",
            "  __x64_sys_first",
            "    leaf",
            "    leaf",
            "    by_pointer (through a pointer)",
            "      leaf",
            "    other",
            "second (inferred)",
            "  __x64_sys_second",
            "    recursive",
            "      recursive",
            "        leaf",
        ],
        "{text}"
    );
    // A return from a function to itself is not seen, so the second leaf is one level too deep.
    // No record is lost or counted twice.
    let rows = text.lines().filter(|line| line.starts_with(' '));
    let numbers = rows.flat_map(|row| row.split_whitespace().find_map(|word| word.parse::<usize>().ok()));
    assert_eq!(numbers.sum::<usize>(), recording.pcs().count(), "{text}");
}

#[test]
fn calls_in_functions_that_are_left_out_move_up() {
    let (fixture, _) = program();
    let report = ["report", "--vmlinux", "tree", "-f", "folded", "tree.kcov"];
    let text = fixture.succeeds(&[&report[..], &["--skip", "by_pointer"]].concat());
    assert!(text.contains("program;first;__x64_sys_first;leaf 3\n"), "{text}");
    assert!(!text.contains("by_pointer"), "{text}");
}

#[test]
fn folded_stacks_have_all_records() {
    let (fixture, recording) = program();
    let text = tree(&fixture, "folded");
    let rows: Vec<(&str, usize)> = text
        .lines()
        .map(|row| {
            row.rsplit_once(' ')
                .map(|(chain, count)| (chain, count.parse().unwrap()))
                .unwrap()
        })
        .collect();
    assert_eq!(
        rows.iter().map(|(_, count)| count).sum::<usize>(),
        recording.pcs().count(),
        "{text}"
    );
    assert!(
        rows.contains(&("program;first;__x64_sys_first;by_pointer;leaf", 1)),
        "{text}"
    );
    assert!(
        rows.contains(&("program;first;__x64_sys_first;leaf", 2)),
        "{text}"
    );
}

#[test]
fn lost_records_break_the_tree() {
    let (fixture, mut recording) = program();
    let Records::Pcs(pcs) = &recording.tasks[0].records else {
        panic!()
    };
    // The first leaf runs after main and __x64_sys_first; then records are lost.
    let leaf = pcs
        .iter()
        .position(|pc| pcs.iter().filter(|other| *other == pc).count() > 2)
        .unwrap();
    recording.tasks[0].gaps = vec![leaf + 1];
    recording.tasks[0].overflowed = true;
    fixture.save("tree.kcov", &recording);
    let rows = shape(&tree(&fixture, "tree"));
    let at = rows
        .iter()
        .position(|row| row.starts_with("--- records are missing here"))
        .unwrap();
    assert_eq!(rows[at - 1], "    leaf", "{rows:?}");
    assert_eq!(
        rows[at + 1],
        "  __x64_sys_first (beginning not recorded)",
        "{rows:?}"
    );
    assert!(tree(&fixture, "folded").contains("program;first;(records missing);__x64_sys_first;leaf 1\n"));
    // Where it is not known where, that is told.
    recording.tasks[0].gaps.clear();
    fixture.save("tree.kcov", &recording);
    assert!(tree(&fixture, "tree").contains("--- records are missing, it is not known where ---"));
}

#[test]
fn recordings_without_order_are_refused() {
    let (fixture, mut recording) = program();
    fixture.succeeds(&["merge", "--unique", "-o", "merged.kcov", "tree.kcov"]);
    let refused = |name: &str, wanted: &str| {
        for format in ["tree", "folded"] {
            let error = fixture.fails(&["report", "--vmlinux", "tree", "-f", format, name]);
            assert!(error.contains(wanted), "{error}");
        }
    };
    refused("merged.kcov", "'all tasks' has each PC once");
    // A recording of an older version does not tell.
    let first = recording.pcs().next().unwrap();
    recording.tasks[0].records = Records::Pcs((0..100).map(|i| first + i).collect());
    fixture.save("old.kcov", &recording);
    refused("old.kcov", "'program' has no PC twice");
}

/// Returns the recording with two system calls that were recorded.
pub(crate) fn with_calls(fixture: &Fixture, recording: &mut Recording) {
    let records = recording.tasks[0].records.len();
    let call = |start, end, number, result| SystemCall {
        start,
        end,
        interface: 0xc000_003e,
        number,
        arguments: [3, 0xabc, 0, 0, 0, 0],
        result,
    };
    recording.tasks[0].calls = vec![call(1, 3, 257, Some(-2)), call(3, records, 0, None)];
    fixture.save("tree.kcov", recording);
}

#[test]
fn recorded_calls_are_in_all_formats() {
    let (fixture, mut recording) = program();
    with_calls(&fixture, &mut recording);
    let line = "257: openat(0x3, 0xabc, 0x0, 0x0, 0x0, 0x0) = -2";
    for format in ["trace", "listing", "tree", "html"] {
        let text = tree(&fixture, format);
        assert!(text.contains(line), "{format}: {text}");
        assert!(
            text.contains(": read(") && text.contains("did not return"),
            "{format}: {text}"
        );
    }
    let text = tree(&fixture, "trace");
    let at = text.lines().position(|row| row == format!("## {line}")).unwrap();
    assert_eq!(at, 2, "after the heading and one record: {text}");
    let json = tree(&fixture, "json");
    let call: serde_json::Value = json
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .find(|value: &serde_json::Value| value["type"] == "system_call")
        .unwrap();
    assert_eq!(
        (&call["name"], &call["inferred"]),
        (&"openat".into(), &false.into())
    );
    assert_eq!((&call["number"], &call["result"]), (&257.into(), &(-2).into()));
    assert_eq!(
        (&call["arguments"][1], &call["records"]),
        (&"0xabc".into(), &2.into())
    );
}

#[test]
fn inferred_calls_are_marked() {
    let (fixture, _) = program();
    for format in ["trace", "listing", "html"] {
        let text = tree(&fixture, format);
        assert!(
            text.contains("first (inferred)") && text.contains("second (inferred)"),
            "{format}: {text}"
        );
    }
    let json = tree(&fixture, "json");
    assert!(json.contains("\"inferred\":true,\"name\":\"first\""), "{json}");
}

#[test]
fn calls_are_selected_by_name() {
    let (fixture, mut recording) = program();
    let pcs = |options: &[&str]| {
        let report = ["report", "--vmlinux", "tree", "-f", "trace", "tree.kcov"];
        let text = fixture.succeeds(&[&report[..], options].concat());
        text.lines().filter(|row| row.starts_with("0x")).count()
    };
    let all = pcs(&[]);
    let [first, second] = ["first", "second"].map(|name| pcs(&["--syscall", name]));
    assert_eq!(first + second + 1, all, "all but the first record, of main");
    assert_eq!(pcs(&["--syscall", "first", "--syscall", "sec*"]), all - 1);
    with_calls(&fixture, &mut recording);
    assert_eq!(
        [pcs(&["--syscall", "openat"]), pcs(&["--syscall", "first"])],
        [2, 0]
    );
}
