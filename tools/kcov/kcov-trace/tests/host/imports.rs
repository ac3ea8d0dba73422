// SPDX-License-Identifier: GPL-2.0
//! PCs that other programs hand over, with copies of the files that tell where modules were.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture::{Fixture, tool};
use crate::modules::with_module;
use kcov_trace::recording::{Kernel, read};

fn text_of(pcs: &[u64]) -> String {
    pcs.iter().map(|pc| format!("{pc:#x}\n")).collect()
}

#[test]
fn every_file_is_a_test_of_its_own() {
    let fixture = Fixture::new();
    let pcs = fixture.pcs();
    let folder = fixture.path("cover");
    fs::create_dir(&folder).unwrap();
    // The names and the form of `syz-execprog -coverfile`: addresses of calls, a file for each call.
    let calls: Vec<u64> = pcs.iter().map(|pc| pc - 5).collect();
    fs::write(folder.join("cover_prog0.0"), text_of(&calls)).unwrap();
    fs::write(folder.join("cover_prog0.1"), text_of(&calls[..1])).unwrap();
    fs::write(folder.join("cover_prog0.2"), "").unwrap();
    fs::write(fixture.path("rawcover"), text_of(&calls)).unwrap();
    let output = fixture.kcov_trace(&["import", "-o", "in.kcov", "cover", "rawcover"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("1 files have no PC") && said.contains("cover_prog0.2"),
        "{said}"
    );
    let tasks = fixture.succeeds(&["report", "-f", "tasks", "in.kcov"]);
    let count = pcs.len();
    assert_eq!(
        tasks,
        format!("cover_prog0.0: {count} PCs\ncover_prog0.1: 1 PC\nrawcover: {count} PCs\n")
    );
    let output = fixture.kcov_trace(&[
        "import", "-o", "in.kcov", "--name", "fuzzer", "--add", "5", "cover",
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let imported = read(&fixture.path("in.kcov")).unwrap();
    assert_eq!(imported.tasks[0].name, "fuzzer cover_prog0.0");
    assert_eq!(imported.pcs().take(count).collect::<Vec<_>>(), pcs);
    let error = fixture.fails(&["import", "-o", "out.kcov", "cover/cover_prog0.2"]);
    assert!(error.contains("it has no PC"), "{error}");
}

/// Writes what the kernel of a recording would show in proc and sys.
fn write_copies(folder: &Path, kernel: &Kernel, notes: &Path) {
    for name in ["proc/sys/kernel", "sys/kernel"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::copy(notes, folder.join("sys/kernel/notes")).unwrap();
    fs::write(
        folder.join("proc/sys/kernel/osrelease"),
        format!("{}\n", kernel.release),
    )
    .unwrap();
    fs::write(
        folder.join("proc/sys/kernel/arch"),
        format!("{}\n", kernel.machine),
    )
    .unwrap();
    fs::write(
        folder.join("proc/kallsyms"),
        format!("{:016x} T _stext\n", kernel.text),
    )
    .unwrap();
    let mut list = String::new();
    for module in &kernel.modules {
        list += &format!("{} {} 0 - Live {:#x}\n", module.name, module.size, module.base);
        let sections = folder.join("sys/module").join(&module.name).join("sections");
        fs::create_dir_all(&sections).unwrap();
        for (name, address) in &module.sections {
            fs::write(sections.join(name), format!("{address:#x}\n")).unwrap();
        }
    }
    fs::write(folder.join("proc/modules"), list).unwrap();
}

#[test]
fn copies_of_proc_resolve_modules() {
    let (fixture, count) = with_module(0x1e00_0000, 0xffff_ffff_c010_0000);
    fixture.save_notes();
    let copies = fixture.path("copies");
    write_copies(&copies, &fixture.recording.kernel, &fixture.path("notes"));
    fs::write(fixture.path("pcs.txt"), text_of(&fixture.pcs())).unwrap();
    fixture.succeeds(&["import", "--proc", "copies", "-o", "in.kcov", "pcs.txt"]);
    let imported = read(&fixture.path("in.kcov")).unwrap();
    let mut wanted = fixture.recording.kernel.clone();
    wanted.modules[0].sections.sort();
    assert_eq!(imported.kernel, wanted);
    let trace = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "in.kcov"]);
    let resolved = trace
        .lines()
        .filter(|line| line.ends_with(" [some-driver]"))
        .count();
    assert_eq!(resolved, count, "{trace}");

    // Without sections, which only privileged users see, nothing is guessed in silence.
    fs::remove_dir_all(copies.join("sys/module/some_driver/sections")).unwrap();
    fs::remove_file(copies.join("proc/kallsyms")).unwrap();
    let output = fixture.kcov_trace(&["import", "--proc", "copies", "-o", "in.kcov", "pcs.txt"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("sections of 1 modules are not known"), "{said}");
    assert!(said.contains("_stext is not known"), "{said}");
    let error = fixture.fails(&["import", "--proc", "drivers", "-o", "out.kcov", "pcs.txt"]);
    assert!(
        error.contains("drivers has no copies of sys/kernel/notes"),
        "{error}"
    );
}

#[test]
fn shell_line_of_the_readme_copies_what_is_needed() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let start = readme
        .find("    (cd / && for f in proc/modules")
        .expect("README has the line");
    let text: Vec<&str> = readme[start..]
        .lines()
        .take_while(|line| line.starts_with("    "))
        .collect();
    let fixture = Fixture::new();
    let copies = fixture.path("copies");
    tool(
        Command::new("sh")
            .args(["-euc", &text.join("\n")])
            .env("TO", &copies),
    );
    let running = Kernel::running();
    let mut copied = Kernel::below(&copies);
    // Before Linux 6.1, no file has the machine.
    if copied.machine.is_empty() {
        copied.machine.clone_from(&running.machine);
    }
    assert_eq!(copied, running);
    assert!(!copied.release.is_empty());
}
