// SPDX-License-Identifier: GPL-2.0
//! PCs that match no call site, because something has changed them or because a file is another one
//! than the user thinks. Each is right, or a sentence names the cause and the remedy.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture::{Fixture, compile, link, sources, tool};
use kcov_trace::recording::{Module, Recording, Records};
use kcov_trace::symbols::{Hook, ImageFile, sites};

const LCOV: [&str; 5] = ["report", "--vmlinux", "vmlinux", "-f", "lcov"];

/// Returns the PCs of all call sites of a file.
fn all_sites(file: &Path) -> Vec<u64> {
    let file = ImageFile::open(file).unwrap();
    let image = file.image().unwrap();
    sites(&image, Hook::Pc)
        .unwrap()
        .iter()
        .map(|site| site.pc)
        .collect()
}

fn recording_of(fixture: &Fixture, pcs: Vec<u64>) -> Recording {
    let mut recording = fixture.recording.clone();
    recording.tasks[0].records = Records::Pcs(pcs);
    recording
}

/// Makes a report as LCOV; returns status, output without the test's name, and what was said.
fn lcov(fixture: &Fixture, recording: &str) -> (i32, String, String) {
    let output = fixture.kcov_trace(&[&LCOV[..], &[recording]].concat());
    let test = format!("TN:{}\n", recording.trim_end_matches(".kcov"));
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap().replace(&test, "TN:\n"),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn text_of(pcs: impl Iterator<Item = u64>) -> String {
    pcs.map(|pc| format!("{pc:#x}\n")).collect()
}

#[test]
fn shifted_pcs_are_mended() {
    let fixture = Fixture::new();
    let pcs = all_sites(&fixture.vmlinux);
    fixture.save("right.kcov", &recording_of(&fixture, pcs.clone()));
    let (status, right, said) = lcov(&fixture, "right.kcov");
    assert_eq!((status, said.as_str()), (0, ""));
    for shift in [1, 5] {
        let shifted = pcs.iter().map(|pc| pc - shift);
        fixture.save("shifted.kcov", &recording_of(&fixture, shifted.clone().collect()));
        let (status, mended, said) = lcov(&fixture, "shifted.kcov");
        assert_eq!(mended, right, "{said}");
        assert!(said.contains(&format!("{shift} was added")), "{said}");
        assert_eq!(status, 0, "{said}");
        // As text, where the user knows the distance.
        fs::write(fixture.path("shifted.txt"), text_of(shifted)).unwrap();
        fixture.succeeds(&[
            "import",
            "--add",
            &shift.to_string(),
            "-o",
            "in.kcov",
            "shifted.txt",
        ]);
        let imported = kcov_trace::recording::read(&fixture.path("in.kcov")).unwrap();
        assert_eq!(imported.pcs().collect::<Vec<_>>(), pcs);
    }
}

#[test]
fn one_shifted_task_does_not_change_another() {
    let fixture = Fixture::new();
    let pcs = all_sites(&fixture.vmlinux);
    let mut recording = recording_of(&fixture, pcs.clone());
    let mut other = recording.tasks[0].clone();
    other.name = "of syzkaller".into();
    other.records = Records::Pcs(pcs.iter().map(|pc| pc - 5).collect());
    recording.tasks.push(other);
    fixture.save("both.kcov", &recording);
    let (status, text, said) = lcov(&fixture, "both.kcov");
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("'of syzkaller'"), "{said}");
    assert!(text.contains("FNDA:2,never\n"), "{text}");
}

#[test]
fn too_few_shifted_pcs_are_refused_with_the_remedy() {
    let fixture = Fixture::new();
    let shifted = all_sites(&fixture.vmlinux)[..2].iter().map(|pc| pc - 5).collect();
    fixture.save("few.kcov", &recording_of(&fixture, shifted));
    let before = fixture.files();
    let error = fixture.fails(&["report", "--vmlinux", "vmlinux", "-o", "out.info", "few.kcov"]);
    assert!(
        error.contains("no PC matches vmlinux") && error.contains("--add 5"),
        "{error}"
    );
    assert_eq!(fixture.files(), before);
}

/// Links a kernel at the addresses of a real one; it is never run.
fn high_kernel(fixture: &Fixture) -> Vec<u64> {
    let folder = fixture.folder.path();
    let options = [
        "-fsanitize-coverage=trace-pc",
        "-mcmodel=kernel",
        "-fno-optimize-sibling-calls",
    ];
    compile(folder, "program.c", "high.o", &options);
    fs::write(
        folder.join("start.c"),
        "void __sanitizer_cov_trace_pc(void) { }\nvoid _stext(void) { }\n",
    )
    .unwrap();
    tool(
        Command::new("gcc")
            .args(["-c", "-mcmodel=kernel", "-fno-pie", "start.c"])
            .current_dir(folder),
    );
    tool(
        Command::new("gcc")
            .args([
                "-nostdlib",
                "-static",
                "-no-pie",
                "-Wl,-Ttext=0xffffffff81000000,-e,main",
            ])
            .args(["-Wl,--build-id=sha1", "-o", "vmlinux", "start.o", "high.o"])
            .current_dir(folder),
    );
    all_sites(&fixture.vmlinux)
}

fn recording_of_high_kernel(fixture: &Fixture, pcs: Vec<u64>) -> Recording {
    let file = ImageFile::open(&fixture.vmlinux).unwrap();
    let mut recording = recording_of(fixture, pcs);
    recording.kernel.build_id = file.image().unwrap().build_id().unwrap().to_vec();
    recording.kernel.text = 0;
    recording
}

#[cfg(target_arch = "x86_64")]
#[test]
fn offset_of_the_address_space_is_recognised() {
    let fixture = Fixture::new();
    let pcs = high_kernel(&fixture);
    assert!(pcs.len() >= 8, "{pcs:x?}");
    fixture.save("right.kcov", &recording_of_high_kernel(&fixture, pcs.clone()));
    let (status, right, _) = lcov(&fixture, "right.kcov");
    assert_eq!(status, 0);
    for (change, wanted) in [
        (
            0x1e00_0000_u64,
            "the offset 0x1e000000 of the kernel's address space (KASLR)",
        ),
        (1 << 32, "cut to 32 bits"),
    ] {
        // A cut address is the distance between the two halves of a word lower.
        let moved = pcs
            .iter()
            .map(|pc| pc.wrapping_add(change))
            .map(|pc| if change == 1 << 32 { pc & 0xffff_ffff } else { pc })
            .collect();
        fixture.save("moved.kcov", &recording_of_high_kernel(&fixture, moved));
        let (status, mended, said) = lcov(&fixture, "moved.kcov");
        assert!(said.contains(wanted), "{said}");
        assert_eq!((status, mended), (0, right.clone()), "{said}");
    }
}

#[test]
fn pcs_of_another_kernel_are_refused() {
    let fixture = Fixture::new();
    // Distances that no call has.
    let foreign = all_sites(&fixture.vmlinux).iter().map(|pc| pc + 3).collect();
    let mut recording = recording_of(&fixture, foreign);
    recording.kernel.build_id.clear();
    fixture.save("foreign.kcov", &recording);
    let output = fixture.kcov_trace(&["report", "--vmlinux", "vmlinux", "-o", "o.html", "foreign.kcov"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("another build"), "{error}");
    assert!(!fixture.path("o.html").exists());
}

#[test]
fn some_foreign_pcs_make_the_report_partial() {
    let fixture = Fixture::new();
    let pcs = all_sites(&fixture.vmlinux);
    let foreign = (0..5).map(|i| 0xffff_ffff_c000_0000 + i * 16);
    let mixed = pcs.iter().copied().chain(foreign).collect();
    fixture.save("mixed.kcov", &recording_of(&fixture, mixed));
    let (status, text, said) = lcov(&fixture, "mixed.kcov");
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains(&format!("5 of {} different PCs are in none", pcs.len() + 5))
            && said.contains("--proc"),
        "{said}"
    );
    assert!(text.contains("FNDA:1,never\n"), "{text}");
    // The addresses of modules were hidden.
    let mut recording = kcov_trace::recording::read(&fixture.path("mixed.kcov")).unwrap();
    recording.kernel.modules = vec![Module {
        name: "hidden".into(),
        ..Module::default()
    }];
    fixture.save("hidden.kcov", &recording);
    let (status, _, said) = lcov(&fixture, "hidden.kcov");
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("kernel.kptr_restrict"), "{said}");
    // Too few to tell anything.
    let single = pcs.iter().copied().chain([0xffff_ffff_c000_0000]).collect();
    fixture.save("single.kcov", &recording_of(&fixture, single));
    let (status, _, said) = lcov(&fixture, "single.kcov");
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("1 of") && said.contains("PCs is in none"), "{said}");
}

#[test]
fn files_that_are_not_vmlinux_are_named() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    tool(
        Command::new("objcopy")
            .args(["--strip-all", "vmlinux", "stripped"])
            .current_dir(folder),
    );
    fs::write(folder.join("piggy"), "packed").unwrap();
    tool(
        Command::new("objcopy")
            .args(["--add-section=.rodata..compressed=piggy", "vmlinux", "compressed"])
            .current_dir(folder),
    );
    let image = |offset: usize, magic: &[u8]| {
        let mut bytes = vec![0; 0x1000];
        bytes[offset..offset + magic.len()].copy_from_slice(magic);
        bytes
    };
    fs::write(folder.join("bzImage"), image(0x202, b"HdrS")).unwrap();
    fs::write(folder.join("Image"), image(0x38, b"ARM\x64")).unwrap();
    fs::write(folder.join("vmlinuz.efi"), image(4, b"zimg")).unwrap();
    tool(Command::new("gzip").args(["-k", "Image"]).current_dir(folder));
    for (name, wanted) in [
        ("stripped", "stripped has no symbols: it was stripped"),
        ("compressed", "is the program that unpacks the kernel"),
        ("program.o", "program.o was not linked yet"),
        ("bzImage", "bzImage is a bzImage"),
        ("Image", "Image is an Image"),
        ("Image.gz", "Image.gz is an Image"),
        ("vmlinuz.efi", "vmlinuz.efi is a compressed Image"),
        ("run.kcov", "is a recording, not an ELF file"),
    ] {
        for format in ["lcov", "trace"] {
            let error = fixture.fails(&["report", "--vmlinux", name, "-f", format, "run.kcov"]);
            assert!(
                error.contains(wanted) && error.contains("vmlinux"),
                "{name}: {error}"
            );
        }
    }
    // A whole kernel that was packed is a kernel.
    tool(Command::new("gzip").args(["-k", "vmlinux"]).current_dir(folder));
    let packed = fixture.succeeds(&["report", "--vmlinux", "vmlinux.gz", "-f", "lcov", "run.kcov"]);
    assert_eq!(packed, fixture.succeeds(&[&LCOV[..], &["run.kcov"]].concat()));
}

#[test]
fn kernel_with_hooks_and_without_calls() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    compile(folder, "program.c", "program.o", &[]);
    link(folder, "vmlinux", "program.o");
    fixture.save("run.kcov", &fixture.recording_of_any_kernel());
    for format in ["html", "trace"] {
        let output = fixture.kcov_trace(&["report", "--vmlinux", "vmlinux", "-f", format, "run.kcov"]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains("has KCOV's hooks, but no code that calls them"),
            "{error}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn moved_sources_are_found() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    let build = fixture.path("build");
    fs::create_dir(&build).unwrap();
    fs::copy(sources().join("program.c"), build.join("program.c")).unwrap();
    // A tree with its landmark, and the program outside it.
    fs::create_dir_all(fixture.path("tree/init")).unwrap();
    fs::write(fixture.path("tree/init/main.c"), "void start_kernel(void) { }\n").unwrap();
    let flags = ["-c", "-g", "-O1", "-fno-pie", "-fsanitize-coverage=trace-pc"];
    tool(
        Command::new("gcc")
            .args(flags)
            .arg(build.join("program.c"))
            .args(["-fno-optimize-sibling-calls", "-o", "program.o"])
            .current_dir(folder),
    );
    tool(
        Command::new("gcc")
            .args(flags)
            .arg(format!("-ffile-prefix-map={}/=", fixture.path("tree").display()))
            .arg(fixture.path("tree/init/main.c"))
            .args(["-o", "main.o"])
            .current_dir(folder),
    );
    tool(
        Command::new("gcc")
            .args([
                "-no-pie",
                "-Wl,--build-id=sha1",
                "-o",
                "vmlinux",
                "hook.o",
                "program.o",
                "main.o",
            ])
            .current_dir(folder),
    );
    let mut recording = fixture.recording_of_any_kernel();
    recording.tasks[0].records = Records::Pcs(all_sites(&fixture.vmlinux));
    fixture.save("all.kcov", &recording);
    fs::rename(&build, fixture.path("now")).unwrap();
    let files = |more: &[&str]| -> Vec<String> {
        let arguments = [
            &["report", "--vmlinux", "vmlinux", "-f", "lcov", "all.kcov"],
            more,
        ]
        .concat();
        let text = fixture.succeeds(&arguments);
        let mut names: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("SF:"))
            .map(|name| name.replace(&folder.display().to_string(), "."))
            .collect();
        names.sort();
        names
    };
    // Two roots: the tree, whose prefix the compiler removed, and the moved folder.
    let tree = fixture.path("tree").display().to_string();
    let now = fixture.path("now").display().to_string();
    let both = files(&["--source", &tree, "--source", &now]);
    assert_eq!(both, ["./now/program.c", "./tree/init/main.c"]);
    let mapping = format!("{}={now}", build.display());
    let mapped = files(&["--source", &tree, "--source", &mapping]);
    assert_eq!(mapped, both);
    // Without help, the names are those of the debug information: the compiler's working folder takes
    // the place of the removed prefix.
    assert_eq!(files(&[]), ["./build/program.c", "./init/main.c"]);
}

#[test]
fn sources_that_are_newer_than_the_kernel_are_told() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    fs::copy(sources().join("program.c"), folder.join("program.c")).unwrap();
    tool(
        Command::new("gcc")
            .args(["-c", "-g", "-O1", "-fno-pie", "-fsanitize-coverage=trace-pc"])
            .args(["-fno-optimize-sibling-calls", "program.c"])
            .current_dir(folder),
    );
    link(folder, "vmlinux", "program.o");
    fixture.save("run.kcov", &fixture.recording_of_any_kernel());
    let page = ["report", "--vmlinux", "vmlinux", "-o", "page.html", "run.kcov"];
    let output = fixture.kcov_trace(&page);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("changed after"));
    tool(
        Command::new("touch")
            .args(["-d", "+1 hour", "program.c"])
            .current_dir(folder),
    );
    let output = fixture.kcov_trace(&page);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("1 sources were changed after the kernel was built, such as"),
        "{error}"
    );
    let page = fs::read_to_string(fixture.path("page.html")).unwrap();
    assert!(page.contains("1 sources were changed after the kernel was built"));
}

#[test]
fn names_are_those_of_authors() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    fs::write(
        folder.join("names.c"),
        "#define COPY(name) __attribute__((noipa, noinline)) void name\n\
         volatile int sink;\n\
         COPY(part)(void) __asm__(\"work.part.0\"); COPY(part)(void) { sink = 1; }\n\
         COPY(cold)(void) __asm__(\"work.cold\"); COPY(cold)(void) { sink = 2; }\n\
         COPY(isra)(void) __asm__(\"other.isra.0.cold\"); COPY(isra)(void) { sink = 3; }\n\
         COPY(a_driver_with_a_long_name_init)(void) { sink = 4; }\n\
         void init_module(void) __attribute__((alias(\"a_driver_with_a_long_name_init\")));\n\
         int main(void) { part(); cold(); isra(); init_module(); return 0; }\n",
    )
    .unwrap();
    tool(
        Command::new("gcc")
            .args(["-c", "-g", "-O1", "-fno-pie", "-fno-optimize-sibling-calls"])
            .args(["-fsanitize-coverage=trace-pc", "names.c"])
            .current_dir(folder),
    );
    link(folder, "vmlinux", "names.o");
    let mut recording = fixture.recording_of_any_kernel();
    recording.tasks[0].records = Records::Pcs(all_sites(&fixture.vmlinux));
    fixture.save("run.kcov", &recording);
    let (_, text, said) = lcov(&fixture, "run.kcov");
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("FNDA:"))
        .map(|line| line.split_once(',').unwrap().1)
        .collect();
    assert_eq!(
        names,
        ["a_driver_with_a_long_name_init", "main", "other", "work"],
        "{said}"
    );
    // Without lines, the symbols are the only names.
    tool(
        Command::new("objcopy")
            .args(["--strip-debug", "vmlinux"])
            .current_dir(folder),
    );
    let table = fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-f", "functions", "run.kcov"]);
    for name in ["a_driver_with_a_long_name_init", "main", "other", "work"] {
        assert!(
            table.lines().any(|line| line.ends_with(&format!("  {name}"))),
            "{table}"
        );
    }
    assert!(
        !table.contains("init_module") && !table.contains(".cold"),
        "{table}"
    );
}
