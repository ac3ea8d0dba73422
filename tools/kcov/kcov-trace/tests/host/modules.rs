// SPDX-License-Identifier: GPL-2.0
//! Modules: objects that are not linked, at addresses that differ from boot to boot.

use std::fs;

use crate::fixture::{Fixture, compile};
use kcov_trace::recording::{Module, Records};
use kcov_trace::symbols::{Hook, Image, ImageFile, sites};

const OFFSET: u64 = 0x1e00_0000;
const BASE: u64 = 0xffff_ffff_c010_0000;

/// Adds a module to the fixture, with code in two sections that both start at address 0.
fn with_module(offset: u64, base: u64) -> (Fixture, usize) {
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
    fixture.recording.tasks[0].records = Records::Pcs(pcs);
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
    assert!(output.status.success(), "{error}");
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
    assert!(output.status.success(), "{error}");
    assert!(
        error.contains("some-driver.ko has no debug information"),
        "{error}"
    );
    fs::write(&module, "").unwrap();
    for arguments in [page.as_slice(), &["report", "--vmlinux", "vmlinux", "run.kcov"]] {
        let output = fixture.kcov_trace(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{error}");
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
    moved.tasks[0].records = Records::Pcs(moved.pcs().map(|pc| pc + distance).collect());
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
