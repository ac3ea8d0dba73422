// SPDX-License-Identifier: GPL-2.0
//! The formats of output, with a program that is really instrumented and was really run.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::process::Command;

use crate::fixture::{Fixture, frames_by, line_of, link, run, sources, tool};
use kcov_trace::symbols::{Hook, ImageFile, SiteKind, sites};

#[test]
fn every_recorded_pc_is_behind_a_call_site_and_objdump_agrees() {
    let fixture = Fixture::new();
    let file = ImageFile::open(&fixture.vmlinux).unwrap();
    let found = sites(&file.image().unwrap(), Hook::Pc).unwrap();
    for pc in fixture.pcs() {
        let site = found
            .iter()
            .find(|site| site.pc == pc)
            .unwrap_or_else(|| panic!("{pc:#x} is no site"));
        assert_eq!(site.kind, SiteKind::Call);
    }
    let listing = tool(
        Command::new("objdump")
            .args(["-d", "vmlinux"])
            .current_dir(fixture.folder.path()),
    );
    let calls = String::from_utf8(listing.stdout)
        .unwrap()
        .lines()
        .filter(|line| line.contains("<__sanitizer_cov_trace_pc>") && line.contains('\t'))
        .count();
    assert!(calls >= 6, "objdump shows {calls}");
    assert_eq!(found.len(), calls);
}

#[test]
fn frames_are_those_of_addr2line() {
    let fixture = Fixture::new();
    let trace = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", "trace", "run.kcov"]);
    let mut lines = trace.lines();
    assert_eq!(
        lines.next(),
        Some(format!("# task 7 (program): {} PCs", fixture.pcs().len()).as_str())
    );
    let mut inlined = 0;
    for (line, pc) in lines.zip(fixture.pcs()) {
        let frames = frames_by("addr2line", fixture.folder.path(), "vmlinux", pc);
        assert_eq!(line, format!("{pc:#018x}{}", frames.join(", inlined into")));
        inlined += usize::from(frames.len() > 1);
    }
    assert!(inlined > 0, "no frame was inlined:\n{trace}");
}

#[test]
fn trace_without_symbols_is_addresses() {
    let fixture = Fixture::new();
    let trace = fixture.succeeds(&["report", "run.kcov"]);
    let pcs: Vec<String> = fixture.pcs().iter().map(|pc| format!("{pc:#018x}")).collect();
    assert_eq!(trace.lines().skip(1).collect::<Vec<_>>(), pcs);
}

#[test]
fn tasks_have_a_line_each_and_need_no_symbols() {
    let fixture = Fixture::new();
    let tasks = fixture.succeeds(&["report", "-f", "tasks", "run.kcov"]);
    assert_eq!(tasks, format!("task 7 (program): {} PCs\n", fixture.pcs().len()));
}

#[test]
fn functions_have_their_counts() {
    let fixture = Fixture::new();
    let table = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", "functions", "run.kcov"]);
    let names: HashMap<&str, u64> = table
        .lines()
        .skip(1)
        .map(|row| {
            let fields: Vec<&str> = row.split_whitespace().collect();
            (fields[2], fields[0].parse().unwrap())
        })
        .collect();
    assert_eq!(names.values().sum::<u64>(), fixture.pcs().len() as u64, "{table}");
    for name in ["main", "outer", "inlined"] {
        assert!(names.contains_key(name), "{name} in\n{table}");
    }
    assert!(!names.contains_key("never"), "{table}");
}

#[test]
fn json_lines_hold_every_record() {
    let fixture = Fixture::new();
    let text = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", "json", "run.kcov"]);
    let values: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(values[0]["type"], "recording");
    assert_eq!(values[0]["release"], "7.3.4-test");
    assert_eq!(values[1]["tid"], 7);
    let pcs: Vec<&serde_json::Value> = values.iter().filter(|value| value["type"] == "pc").collect();
    assert_eq!(pcs.len(), fixture.pcs().len());
    assert_eq!(pcs[0]["pc"], format!("{:#x}", fixture.pcs()[0]));
    assert!(pcs[0]["frames"][0]["line"].as_u64().unwrap() > 0, "{}", pcs[0]);
}

#[test]
fn tracefile_has_covered_and_uncovered_lines() {
    let fixture = Fixture::new();
    let text = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", "lcov", "run.kcov"]);
    let file = format!("SF:{}", sources().join("program.c").display());
    let record = text
        .split("end_of_record\n")
        .find(|record| record.contains(&file))
        .unwrap_or_else(|| panic!("{text}"));
    let data: HashMap<usize, u64> = record
        .lines()
        .filter_map(|line| line.strip_prefix("DA:")?.split_once(','))
        .map(|(line, hits)| (line.parse().unwrap(), hits.parse().unwrap()))
        .collect();
    assert!(data[&line_of("sink = 4;")] > 0, "{record}");
    assert_eq!(data[&line_of("sink = 3;")], 0, "{record}");
    assert_eq!(data.get(&line_of("volatile int sink;")), None, "{record}");
    assert!(record.lines().any(|line| line == "FNDA:0,never"), "{record}");
    // Compilers let a function begin at its name or at its brace.
    let begins = line_of("int outer(int x)");
    let starts = [begins, begins + 1].map(|line| format!("FN:{line},outer"));
    assert!(
        record
            .lines()
            .any(|line| starts.iter().any(|start| start == line)),
        "{record}"
    );
    assert!(record.contains(&format!("LF:{}\n", data.len())), "{record}");
    assert!(
        record.contains(&format!(
            "LH:{}\n",
            data.values().filter(|hits| **hits > 0).count()
        )),
        "{record}"
    );
}

#[test]
fn function_that_jumps_to_the_hook_is_credited() {
    let fixture = Fixture::new();
    let path = fixture.folder.path();
    // gcc turns the call of the hook into a jump in a function that does nothing else.
    fs::write(
        path.join("tail.c"),
        "__attribute__((noipa)) void empty(void) { }\nint main(void) { empty(); return 0; }\n",
    )
    .unwrap();
    tool(
        Command::new("gcc")
            .args([
                "-c",
                "-g",
                "-O2",
                "-fno-pie",
                "-fno-ipa-icf",
                "-fsanitize-coverage=trace-pc",
                "tail.c",
            ])
            .current_dir(path),
    );
    link(path, "tail", "tail.o");
    let file = ImageFile::open(&path.join("tail")).unwrap();
    let image = file.image().unwrap();
    let found = sites(&image, Hook::Pc).unwrap();
    let empty = image.address_of("empty").unwrap();
    let of_empty: Vec<_> = found
        .iter()
        .filter(|site| image.function(site.pc - 1).unwrap().address == empty)
        .collect();
    assert_eq!(of_empty.len(), 1);
    assert_eq!(of_empty[0].kind, SiteKind::TailJump, "{found:?}");

    let mut recording = fixture.recording_of_any_kernel();
    recording.tasks[0].records = kcov_trace::recording::Records::Pcs(run(path, "tail"));
    assert!(
        recording.pcs().any(|pc| found.iter().all(|site| site.pc != pc)),
        "no PC is the caller's"
    );
    fixture.save("tail.kcov", &recording);
    let text = fixture.succeeds(&["report", "--vmlinux", "tail", "-f", "lcov", "tail.kcov"]);
    assert!(text.contains("FNDA:1,empty\n"), "{text}");
}

#[test]
fn page_is_one_file_with_all_that_it_needs() {
    let fixture = Fixture::new();
    fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-o", "page.html", "run.kcov"]);
    let page = fs::read_to_string(fixture.path("page.html")).unwrap();
    assert!(page.contains("program.c"), "{page}");
    for loads in ["src=", "@import", "url(", "http:", "https:", "<link"] {
        assert!(!page.contains(loads), "{loads} in the page");
    }
    assert!(page.contains("name=\"viewport\""));
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(
        !fixture.files().iter().any(|name| name.contains("partial")),
        "{:?}",
        fixture.files()
    );
}

#[test]
fn moved_kernel_finds_its_functions() {
    let fixture = Fixture::new();
    let plain = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "run.kcov"]);
    // As upstream records it: the PCs are those of vmlinux for every offset.
    let mut moved = fixture.recording.clone();
    moved.kernel.text += 0x1234_0000;
    fixture.save("moved.kcov", &moved);
    assert_eq!(
        fixture.succeeds(&["report", "--vmlinux", "vmlinux", "moved.kcov"]),
        plain
    );
    // As a kernel records it that does not subtract the offset.
    let shifted: Vec<u64> = fixture.pcs().iter().map(|pc| pc + 0x1234_0000).collect();
    moved.tasks[0].records = kcov_trace::recording::Records::Pcs(shifted);
    fixture.save("shifted.kcov", &moved);
    let shifted = fixture.succeeds(&[
        "report",
        "--vmlinux",
        "vmlinux",
        "-f",
        "functions",
        "shifted.kcov",
    ]);
    assert_eq!(
        shifted,
        fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", "functions", "run.kcov"])
    );
}

#[test]
fn imported_text_is_the_recording() {
    let fixture = Fixture::new();
    let text: String = fixture.pcs().iter().map(|pc| format!("{pc:#x}\n")).collect();
    fs::write(fixture.path("pcs.txt"), &text).unwrap();
    fixture.save_notes();
    fixture.succeeds(&[
        "import", "--notes", "notes", "--name", "a call", "-o", "in.kcov", "pcs.txt",
    ]);
    let imported = kcov_trace::recording::read(&fixture.path("in.kcov")).unwrap();
    assert_eq!(imported.pcs().collect::<Vec<_>>(), fixture.pcs());
    assert_eq!(imported.kernel.build_id, fixture.recording.kernel.build_id);
    assert_eq!(
        fixture.succeeds(&["report", "-f", "tasks", "in.kcov"]),
        format!("a call: {} PCs\n", fixture.pcs().len())
    );
    let error = fixture.fails(&["import", "--notes", "pcs.txt", "-o", "out.kcov", "pcs.txt"]);
    assert!(
        error.contains("pcs.txt has no build id") && error.contains("/sys/kernel/notes"),
        "{error}"
    );
    let error = fixture.fails(&["import", "-o", "out.kcov", "vmlinux"]);
    assert!(error.contains("vmlinux: line 1 has no hexadecimal PC"), "{error}");
    let error = fixture.fails(&["import", "-o", "out.kcov", "none.txt"]);
    assert!(error.contains("none.txt cannot be read"), "{error}");
    assert!(!fixture.path("out.kcov").exists());
}

#[test]
fn listing_has_columns_and_inlining_below() {
    let fixture = Fixture::new();
    let arguments = ["report", "--vmlinux", "vmlinux", "-f", "listing", "run.kcov"];
    let listing = fixture.succeeds(&arguments);
    let trace = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", "trace", "run.kcov"]);
    // The same words as in the trace, where they are on one line.
    let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let joined = listing
        .replace("(inlined by ", ", inlined into ")
        .replace(")\n", "\n")
        .replace("\n                     ,", ",");
    assert_eq!(words(&joined), words(&trace), "{listing}");
    let places: Vec<usize> = listing
        .lines()
        .filter(|line| line.starts_with("0x"))
        .map(|line| line.find('/').unwrap())
        .collect();
    assert!(
        places.iter().all(|column| *column == places[0]),
        "no columns:\n{listing}"
    );
    assert!(
        listing.contains("\n                     (inlined by outer "),
        "{listing}"
    );
}

/// Returns the first contradiction of a file's record by the rule of lcov 2: a function has the lines
/// up to the next function, and it was hit if one of its lines was.
fn contradiction(record: &str) -> Option<String> {
    let pairs = |prefix: &str| -> Vec<(&str, &str)> {
        let lines = record.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.map(|line| line.split_once(',').unwrap()).collect()
    };
    let lines: Vec<(u32, u64)> = pairs("DA:")
        .iter()
        .map(|(line, hits)| (line.parse().unwrap(), hits.parse().unwrap()))
        .collect();
    let hits: HashMap<&str, u64> = pairs("FNDA:")
        .iter()
        .map(|(hits, name)| (*name, hits.parse().unwrap()))
        .collect();
    // Functions that start on the same line are one.
    let mut starts: BTreeMap<u32, bool> = BTreeMap::new();
    for (line, name) in pairs("FN:") {
        *starts.entry(line.parse().unwrap()).or_default() |= hits[name] > 0;
    }
    let ends = starts.keys().skip(1).copied().chain([u32::MAX]);
    starts.iter().zip(ends).find_map(|((start, hit), end)| {
        let of_function = || lines.iter().filter(|(line, _)| (*start..end).contains(line));
        if of_function().next().is_none() {
            return Some(format!("the function in line {start} has no line"));
        }
        let hits = of_function().any(|(_, hits)| *hits > 0);
        (hits != *hit).then(|| format!("the function in line {start} is hit: {hit}, its lines: {hits}"))
    })
}

#[test]
fn tracefile_is_free_of_contradictions() {
    let fixture = Fixture::new();
    let path = fixture.folder.path();
    // Of `shared`, the inlined copy runs and the other one does not; `nearly` runs only its own block.
    fs::write(
        path.join("copies.c"),
        "volatile int sink;\n\
         inline __attribute__((always_inline)) void inner(int x)\n{\n\tif (x > 1)\n\t\tsink = 1;\n}\n\
         void shared(int x)\n{\n\tif (x)\n\t\tinner(x);\n\tsink = 2;\n}\n\
         __attribute__((noipa)) void user(void (*f)(int))\n{\n\tif (sink)\n\t\tf(1);\n}\n\
         __attribute__((noipa)) void never(int x)\n{\n\tinner(x);\n\tsink = x;\n}\n\
         int main(int x, char **y)\n{\n\t(void)y;\n\tuser(shared);\n\tshared(x + 1);\n\
         \tif (x > 100)\n\t\tnever(x);\n\treturn 0;\n}\n",
    )
    .unwrap();
    tool(
        Command::new("gcc")
            .args(["-c", "-g", "-O2", "-fno-pie", "-fno-optimize-sibling-calls"])
            .args(["-fsanitize-coverage=trace-pc", "copies.c"])
            .current_dir(path),
    );
    link(path, "copies", "copies.o");
    let mut recording = fixture.recording_of_any_kernel();
    recording.tasks[0].records = kcov_trace::recording::Records::Pcs(run(path, "copies"));
    fixture.save("copies.kcov", &recording);
    fixture.succeeds(&[
        "report",
        "--vmlinux",
        "copies",
        "-o",
        "copies.info",
        "copies.kcov",
    ]);
    let text = fs::read_to_string(fixture.path("copies.info")).unwrap();
    assert!(text.contains(",shared\n") && text.contains(",inner\n"), "{text}");
    assert!(text.contains("FNDA:0,never\n"), "{text}");
    for record in text.split("end_of_record\n") {
        assert_eq!(contradiction(record), None, "{text}");
    }
    assert!(!text.contains("BR"), "no branch is known:\n{text}");
    // lcov's own opinion.
    let genhtml = Command::new("genhtml")
        .args(["--branch-coverage", "-o", "html", "copies.info"])
        .current_dir(path)
        .output();
    let Ok(genhtml) = genhtml else {
        eprintln!("skipped: genhtml was not found");
        return;
    };
    let said =
        String::from_utf8_lossy(&genhtml.stdout).into_owned() + &String::from_utf8_lossy(&genhtml.stderr);
    assert!(
        genhtml.status.success() && !said.contains("inconsistent"),
        "{said}"
    );
    assert!(fixture.path("html/index.html").exists(), "{said}");
}
