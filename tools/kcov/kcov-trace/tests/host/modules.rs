// SPDX-License-Identifier: GPL-2.0
//! Modules: objects that are not linked, at addresses that differ from boot to boot.

use std::fs;
use std::process::Command;

use crate::fixture::{Fixture, compile, tool};
use kcov_trace::recording::{Module, Records};
use kcov_trace::symbols::{Hook, Image, ImageFile, sites};

const OFFSET: u64 = 0x1e00_0000;
const BASE: u64 = 0xffff_ffff_c010_0000;

/// Adds a module to the fixture, with code in two sections that both start at address 0.
pub(crate) fn with_module(offset: u64, base: u64) -> (Fixture, usize) {
    let mut fixture = Fixture::new();
    let folder = fixture.path("drivers");
    fs::create_dir(&folder).unwrap();
    let options = ["-fsanitize-coverage=trace-pc", "-DMODULE", "-ffunction-sections"];
    compile(&folder, "program.c", "some-driver.ko", &options);
    let file = ImageFile::open(&folder.join("some-driver.ko")).unwrap();
    let image = file.image().unwrap();
    let found = sites(&image, Hook::Pc).unwrap();
    let sections = [
        (".text.outer".to_owned(), base),
        (".text.never".to_owned(), base + 0x8000),
    ];
    let pcs: Vec<u64> = found
        .iter()
        .map(|site| run_time(&image, &sections, site.pc) - offset)
        .collect();
    assert!(pcs.len() >= 5, "{pcs:?}");
    fixture.recording.kernel.text += offset;
    fixture.recording.kernel.modules = vec![Module {
        name: "some_driver".into(),
        base,
        size: 0x10000,
        build_id: Vec::new(),
        sections: sections.to_vec(),
    }];
    let mut task = fixture.recording.tasks[0].clone();
    task.name = "driver".into();
    task.records = Records::Pcs(pcs);
    fixture.recording.tasks.insert(0, task);
    fixture.save("run.kcov", &fixture.recording);
    (fixture, found.len())
}

fn run_time(image: &Image<'_>, sections: &[(String, u64)], pc: u64) -> u64 {
    sections
        .iter()
        .find_map(|(name, start)| {
            let (address, size) = image.section_layout(name)?;
            (address < pc && pc <= address + size).then(|| pc - address + start)
        })
        .unwrap()
}

#[test]
fn functions_of_all_sections_are_found() {
    let (fixture, count) = with_module(OFFSET, BASE);
    let trace = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "run.kcov"]);
    assert_eq!(
        trace
            .lines()
            .filter(|line| line.ends_with(" [some-driver]"))
            .count(),
        count,
        "{trace}"
    );
    for function in [" outer ", " never ", " inlined "] {
        assert!(trace.contains(function), "{function} in\n{trace}");
    }
    assert!(trace.contains("program.c:"), "{trace}");
}

#[test]
fn coverage_counts_the_module_s_blocks() {
    let (fixture, _) = with_module(OFFSET, BASE);
    let text = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", "lcov", "run.kcov"]);
    assert!(text.contains("FNDA:1,never\n"), "{text}");
}

#[test]
fn missing_module_is_named_and_the_rest_goes_on() {
    let (fixture, _) = with_module(OFFSET, BASE);
    fs::remove_dir_all(fixture.path("drivers")).unwrap();
    let output = fixture.kcov_trace(&["report", "--vmlinux", "vmlinux", "run.kcov"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("some_driver.ko was not found"), "{error}");
    assert!(error.contains("--modules"), "{error}");
}

#[test]
fn damaged_or_stripped_module_stands_in_nobody_s_way() {
    let (fixture, _) = with_module(OFFSET, BASE);
    let module = fixture.path("drivers/some-driver.ko");
    let page = &["report", "--vmlinux", "vmlinux", "-f", "lcov", "run.kcov"];
    let strip = std::process::Command::new("strip")
        .arg("--strip-debug")
        .arg(&module)
        .status()
        .unwrap();
    assert!(strip.success());
    let output = fixture.kcov_trace(page);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("some-driver.ko has no debug information"),
        "{error}"
    );
    fs::write(&module, "").unwrap();
    for arguments in [page.as_slice(), &["report", "--vmlinux", "vmlinux", "run.kcov"]] {
        let output = fixture.kcov_trace(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("some-driver.ko"), "{error}");
        assert!(error.contains("--modules"), "{error}");
    }
}

#[test]
fn module_is_found_where_the_image_would_be_if_it_were_shifted_back() {
    // The PCs are recorded at the offset after the image, the address where a kernel without the
    // subtraction records its own.
    let fixture = Fixture::new();
    let text = fixture.recording.kernel.text;
    let (fixture, count) = with_module(OFFSET, text + 2 * OFFSET);
    let trace = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "run.kcov"]);
    let found = trace
        .lines()
        .filter(|line| line.ends_with(" [some-driver]"))
        .count();
    assert_eq!(found, count, "{trace}");
}

#[test]
fn same_code_after_another_boot_is_no_difference() {
    let (first, _) = with_module(OFFSET, BASE);
    let mut moved = first.recording.clone();
    let distance = 0x70_0000;
    moved.kernel.modules[0].base += distance;
    for (_, address) in &mut moved.kernel.modules[0].sections {
        *address += distance;
    }
    let Records::Pcs(pcs) = &mut moved.tasks[0].records else {
        panic!("{moved:?}");
    };
    pcs.iter_mut().for_each(|pc| *pc += distance);
    first.save("moved.kcov", &moved);
    let text = first.succeeds(&["diff", "--vmlinux", "vmlinux", "run.kcov", "moved.kcov"]);
    assert_eq!(
        text.lines().filter(|line| line.starts_with("0x")).count(),
        0,
        "{text}"
    );
    // Without the files, only the addresses can be compared, and the command says so.
    let output = first.kcov_trace(&["diff", "run.kcov", "moved.kcov"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--vmlinux"), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_ne!(
        text.lines().filter(|line| line.starts_with("0x")).count(),
        0,
        "{text}"
    );
    // Without the module's file, its PCs have no names.
    fs::remove_dir_all(first.path("drivers")).unwrap();
    let output = first.kcov_trace(&["diff", "--vmlinux", "vmlinux", "run.kcov", "moved.kcov"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text.lines().filter(|line| line.starts_with("0x")).count(),
        0,
        "{text}"
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("left out"), "{error}");
}

/// Returns the number of covered and of all blocks that a page has at its head.
fn blocks_of(fixture: &Fixture, recording: &str) -> String {
    fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-o", "page.html", recording]);
    let page = fs::read_to_string(fixture.path("page.html")).unwrap();
    let (_, rest) = page.split_once("<dt>Blocks</dt><dd>").unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}

#[test]
fn module_that_is_loaded_twice_is_counted_once() {
    let (fixture, count) = with_module(OFFSET, BASE);
    let once = blocks_of(&fixture, "run.kcov");
    let mut twice = fixture.recording.clone();
    let mut again = twice.kernel.modules[0].clone();
    let distance = 0x70_0000;
    again.base += distance;
    for (_, address) in &mut again.sections {
        *address += distance;
    }
    twice.kernel.modules.push(again);
    // Half of the PCs are of the second time.
    let Records::Pcs(pcs) = &mut twice.tasks[0].records else {
        panic!("{twice:?}");
    };
    let half = pcs.len() / 2;
    pcs[half..].iter_mut().for_each(|pc| *pc += distance);
    fixture.save("twice.kcov", &twice);
    assert_eq!(blocks_of(&fixture, "twice.kcov"), once);
    let table = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", "trace", "twice.kcov"]);
    let named = table.lines().filter(|line| line.ends_with(" [some-driver]"));
    assert_eq!(named.count(), count, "{table}");
}

#[test]
fn module_in_two_halves_or_compressed_is_the_same() {
    let (fixture, _) = with_module(OFFSET, BASE);
    let folder = fixture.path("drivers");
    let lcov = ["report", "--vmlinux", "vmlinux", "-f", "lcov", "run.kcov"];
    let whole = fixture.succeeds(&lcov);
    let plain = fs::read(folder.join("some-driver.ko")).unwrap();
    for (program, name) in [
        ("gzip", "some-driver.ko.gz"),
        ("xz", "some-driver.ko.xz"),
        ("zstd", "some-driver.ko.zst"),
    ] {
        // As the kernel's build does it.
        let more: &[&str] = if program == "xz" {
            &["--check=crc32", "--lzma2=dict=1MiB"]
        } else {
            &["-q"]
        };
        tool(
            Command::new(program)
                .args(more)
                .arg("some-driver.ko")
                .current_dir(&folder),
        );
        let _ = fs::remove_file(folder.join("some-driver.ko"));
        assert!(folder.join(name).exists(), "{name}");
        assert_eq!(fixture.succeeds(&lcov), whole, "{name}");
        fs::remove_file(folder.join(name)).unwrap();
        fs::write(folder.join("some-driver.ko"), &plain).unwrap();
    }
    let objcopy = |arguments: &[&str]| tool(Command::new("objcopy").args(arguments).current_dir(&folder));
    objcopy(&["--only-keep-debug", "some-driver.ko", "some-driver.ko.debug"]);
    objcopy(&["--strip-debug", "some-driver.ko"]);
    objcopy(&["--add-gnu-debuglink=some-driver.ko.debug", "some-driver.ko"]);
    assert_eq!(fixture.succeeds(&lcov), whole);
}

#[test]
fn sections_decide_where_a_module_is() {
    let (fixture, _) = with_module(OFFSET, BASE);
    // On arm64, a page of trampolines comes before the code.
    let mut recording = fixture.recording.clone();
    recording.kernel.modules[0].base -= 0x1000;
    fixture.save("base.kcov", &recording);
    let trace = ["report", "--vmlinux", "vmlinux", "-f", "trace"];
    let right = fixture.succeeds(&[&trace[..], &["run.kcov"]].concat());
    assert_eq!(fixture.succeeds(&[&trace[..], &["base.kcov"]].concat()), right);
    // Without sections the base is all that is known, and wrong.
    recording.kernel.modules[0].sections.clear();
    fixture.save("base.kcov", &recording);
    let output = fixture.kcov_trace(&[&trace[..], &["base.kcov"]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("sections"), "{said}");
}

#[test]
fn recordings_of_several_boots_go_together() {
    let (fixture, count) = with_module(OFFSET, BASE);
    let mut first = fixture.recording.clone();
    first.kernel.offset = Some(OFFSET);
    fixture.save("first.kcov", &first);
    // Another offset of the address space, and another address of the module.
    let (further, distance) = (0x40_0000, 0x70_0000);
    let mut second = first.clone();
    second.kernel.offset = Some(OFFSET + further);
    second.kernel.text += further;
    let module = &mut second.kernel.modules[0];
    module.base += distance;
    for (_, address) in &mut module.sections {
        *address += distance;
    }
    let Records::Pcs(pcs) = &mut second.tasks[0].records else {
        panic!("{second:?}");
    };
    pcs.iter_mut().for_each(|pc| *pc = *pc + distance - further);
    fixture.save("second.kcov", &second);
    let report = ["report", "--vmlinux", "vmlinux", "-f", "trace"];
    let alone = fixture.succeeds(&[&report[..], &["first.kcov"]].concat());
    fixture.succeeds(&["merge", "-o", "both.kcov", "first.kcov", "second.kcov"]);
    for recordings in [&["both.kcov"][..], &["first.kcov", "second.kcov"]] {
        let trace = fixture.succeeds(&[&report[..], recordings].concat());
        assert_eq!(trace, format!("{alone}{alone}"));
    }
    let once = fixture.path("once.kcov");
    fixture.succeeds(&[
        "merge",
        "--unique",
        "-o",
        "once.kcov",
        "first.kcov",
        "second.kcov",
    ]);
    let distinct: std::collections::BTreeSet<u64> = first.pcs().collect();
    let merged = kcov_trace::recording::read(&once).unwrap();
    assert_eq!(
        merged.pcs().collect::<Vec<_>>(),
        distinct.into_iter().collect::<Vec<_>>()
    );
    assert!(count > 0);
    // Without the offset, nothing tells which PCs are a module's.
    second.kernel.offset = None;
    fixture.save("second.kcov", &second);
    let error = fixture.fails(&["merge", "-o", "out.kcov", "first.kcov", "second.kcov"]);
    assert!(
        error.contains("another boot") && error.contains("CONFIG_VMCORE_INFO"),
        "{error}"
    );
}
