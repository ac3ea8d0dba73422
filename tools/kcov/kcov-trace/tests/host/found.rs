// SPDX-License-Identifier: GPL-2.0
//! Files and names that are found without being named: the kernel by its build id, names of the running kernel, `doctor`.

use std::fs;
use std::process::Command;

use crate::fixture::{Fixture, tool};
use kcov_trace::recording::Name;
use kcov_trace::search;
use kcov_trace::symbols::ImageFile;

#[test]
fn recording_without_vmlinux_has_the_names_of_the_running_kernel() {
    let fixture = Fixture::new();
    let file = ImageFile::open(&fixture.vmlinux).unwrap();
    let image = file.image().unwrap();
    let mut recording = fixture.recording.clone();
    recording.names = ["outer", "main"]
        .map(|name| Name {
            address: image.address_of(name).unwrap(),
            name: name.into(),
            module: String::new(),
        })
        .to_vec();
    recording.names.sort();
    fixture.save("named.kcov", &recording);
    let table = fixture.succeeds(&["report", "-f", "functions", "named.kcov"]);
    assert!(
        table.contains("  outer\n") && table.contains("  main\n"),
        "{table}"
    );
    let trace = fixture.succeeds(&["report", "named.kcov"]);
    assert!(
        trace.lines().skip(1).all(|line| line.split(' ').count() == 2),
        "{trace}"
    );
    assert!(trace.contains(" outer\n"), "{trace}");
    // Copies of a fuzzer's machine have them, too.
    let copies = fixture.path("copies/proc");
    fs::create_dir_all(&copies).unwrap();
    fs::create_dir_all(fixture.path("copies/proc/sys/kernel")).unwrap();
    fs::write(copies.join("sys/kernel/arch"), "x86_64\n").unwrap();
    let list =
        "ffffffff81000000 T _stext\nffffffff81000100 t reader\nffffffffc0000000 t in_driver\t[driver]\n";
    fs::write(copies.join("kallsyms"), list).unwrap();
    fs::write(
        fixture.path("pcs.txt"),
        "0xffffffff81000105\n0xffffffffc0000005\n",
    )
    .unwrap();
    fixture.succeeds(&["import", "--proc", "copies", "-o", "in.kcov", "pcs.txt"]);
    let trace = fixture.succeeds(&["report", "in.kcov"]);
    assert!(trace.contains("0xffffffff81000105 reader\n"), "{trace}");
    assert!(
        trace.contains("0xffffffffc0000005 in_driver [driver]\n"),
        "{trace}"
    );
}

#[test]
fn kernel_is_found_by_its_build_id() {
    let fixture = Fixture::new();
    let wanted = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", "functions", "run.kcov"]);
    let kernel = fixture.recording.kernel.clone();
    let id = search::hexadecimal(&kernel.build_id);
    let root = fixture.path("root");
    let found = ["report", "--symfs", "root", "-f", "functions", "run.kcov"];
    let places = search::places(&kernel, &root);
    assert!(
        places
            .iter()
            .any(|place| place.ends_with(format!("{}.debug", &id[2..]))),
        "{places:?}"
    );
    assert!(places.len() > 5, "{places:?}");
    for place in places {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&fixture.vmlinux, &place).unwrap();
        assert_eq!(fixture.succeeds(&found), wanted, "{}", place.display());
        // The kernel of another build is not taken.
        let mut other = fs::read(&place).unwrap();
        let at = memchr::memmem::find(&other, &kernel.build_id).unwrap();
        other[at] ^= 1;
        fs::write(&place, other).unwrap();
        let error = fixture.fails(&found);
        assert!(error.contains(&id) && error.contains("usual places"), "{error}");
        fs::remove_file(&place).unwrap();
    }
    // A client of debuginfod, which prints the name of the file that it has downloaded.
    let client = fixture.path("debuginfod-find");
    let script = format!("#!/bin/sh\n[ \"$1 $2\" = 'debuginfo {id}' ] && echo \"$PWD/vmlinux\"\n");
    fs::write(&client, script).unwrap();
    tool(Command::new("chmod").arg("+x").arg(&client));
    let path = format!(
        "{}:{}",
        fixture.folder.path().display(),
        std::env::var("PATH").unwrap()
    );
    let run = |urls: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_kcov-trace"))
            .args(found)
            .current_dir(fixture.folder.path())
            .env("PATH", &path)
            .env("DEBUGINFOD_URLS", urls)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run("https://debuginfod.example/"), (Some(0), wanted));
    assert_eq!(run("").0, Some(2));
}

#[test]
fn doctor_tells_what_is_missing() {
    let fixture = Fixture::new();
    let output = fixture.kcov_trace(&["doctor", "--symfs", "nowhere"]);
    let told = String::from_utf8(output.stdout).unwrap();
    let row = |name: &str| {
        let line = told.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} in\n{told}")).to_owned()
    };
    assert!(
        row("vmlinux").contains("missing") && row("vmlinux").contains("nowhere/boot/vmlinux-"),
        "{told}"
    );
    assert!(row("vmlinux").contains("--vmlinux"), "{told}");
    // The machine of the tests may have KCOV.
    let traces = row("kcov").contains(" ok ");
    assert_eq!(output.status.code(), Some(if traces { 1 } else { 2 }), "{told}");
    assert!(traces || row("kcov").contains("FAILED"), "{told}");
    let output = fixture.kcov_trace(&["doctor", "--vmlinux", "vmlinux"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("vmlinux is not the kernel that runs"), "{told}");
}
