// SPDX-License-Identifier: GPL-2.0
//! Bad input: one sentence, the right status, and no file left over.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, compile, link, sources, tool};
use kcov::Comparison;
use kcov_trace::recording::Records;
use kcov_trace::symbols::{Hook, ImageFile, sites};

#[test]
fn truncated_recording() {
    let fixture = Fixture::new();
    let bytes = fs::read(fixture.path("run.kcov")).unwrap();
    fs::write(fixture.path("short.kcov"), &bytes[..bytes.len() / 2]).unwrap();
    let before = fixture.files();
    let error = fixture.fails(&["report", "--vmlinux", "vmlinux", "-o", "page.html", "short.kcov"]);
    assert!(error.contains("short.kcov is truncated"), "{error}");
    assert_eq!(fixture.files(), before);
}

#[test]
fn foreign_recording() {
    let fixture = Fixture::new();
    let error = fixture.fails(&["report", "vmlinux"]);
    assert!(error.contains("not a kcov-trace recording"), "{error}");
    let error = fixture.fails(&["report", "nothing.kcov"]);
    assert!(error.contains("nothing.kcov cannot be read"), "{error}");
}

#[test]
fn foreign_vmlinux() {
    let fixture = Fixture::new();
    let error = fixture.fails(&["report", "--vmlinux", "run.kcov", "run.kcov"]);
    assert!(error.contains("not an ELF file"), "{error}");
    assert!(error.contains("vmlinux"), "{error}");
}

#[test]
fn vmlinux_of_another_build() {
    let fixture = Fixture::new();
    let mut other = fixture.recording.clone();
    other.kernel.build_id[0] ^= 1;
    fixture.save("other.kcov", &other);
    let before = fixture.files();
    let error = fixture.fails(&["report", "--vmlinux", "vmlinux", "-o", "page.html", "other.kcov"]);
    assert!(error.contains("build id") && error.contains("--force"), "{error}");
    assert_eq!(fixture.files(), before);
    let output = fixture.kcov_trace(&[
        "report",
        "--force",
        "--vmlinux",
        "vmlinux",
        "-f",
        "functions",
        "other.kcov",
    ]);
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stderr).unwrap().contains("warning"),
        "the mismatch is still told"
    );
}

#[test]
fn recordings_of_different_kernels() {
    let fixture = Fixture::new();
    let mut other = fixture.recording.clone();
    other.kernel.build_id[0] ^= 1;
    fixture.save("other.kcov", &other);
    for arguments in [
        &["merge", "-o", "all.kcov", "run.kcov", "other.kcov"][..],
        &["diff", "run.kcov", "other.kcov"],
        &["report", "run.kcov", "other.kcov"],
    ] {
        let error = fixture.fails(arguments);
        assert!(error.contains("one build"), "{error}");
    }
    assert!(!fixture.path("all.kcov").exists());
}

#[test]
fn missing_debug_information() {
    let fixture = Fixture::new();
    tool(
        Command::new("objcopy")
            .args(["--strip-debug", "vmlinux", "plain"])
            .current_dir(fixture.folder.path()),
    );
    let error = fixture.fails(&["report", "--vmlinux", "plain", "-f", "lcov", "run.kcov"]);
    assert!(error.contains("CONFIG_DEBUG_INFO"), "{error}");
    // Functions are known nevertheless.
    let output = fixture.kcov_trace(&["report", "--vmlinux", "plain", "-f", "functions", "run.kcov"]);
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("outer"), "{table}");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("no debug information")
    );
}

#[test]
fn kernel_without_the_hook() {
    let fixture = Fixture::new();
    let path = fixture.folder.path();
    fs::write(path.join("bare.c"), "int main(void) { return 0; }\n").unwrap();
    tool(
        Command::new("gcc")
            .args(["-g", "-no-pie", "-o", "bare", "bare.c"])
            .current_dir(path),
    );
    fixture.save("bare.kcov", &fixture.recording_of_any_kernel());
    let output = fixture.kcov_trace(&["report", "--vmlinux", "bare", "-f", "lcov", "bare.kcov"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("CONFIG_KCOV"), "{error}");
}

#[test]
fn formats_that_need_vmlinux() {
    let fixture = Fixture::new();
    for format in ["listing", "functions", "lcov", "html"] {
        let error = fixture.fails(&["report", "-f", format, "run.kcov"]);
        assert!(error.contains("--vmlinux"), "{error}");
    }
}

#[test]
fn comparisons_are_no_coverage() {
    let fixture = Fixture::new();
    // A kernel with the hook of a comparison, which is never run.
    let folder = fixture.folder.path();
    let more = "int main(int x, char **y) { (void)y; return x > 0x1234 ? 7 : 9; }\n";
    fs::write(folder.join("compare.c"), more).unwrap();
    let hook = "void __sanitizer_cov_trace_const_cmp4(int a, int b) { (void)a, (void)b; }\n";
    fs::write(folder.join("hooks.c"), hook).unwrap();
    for (options, name) in [
        ("-fsanitize-coverage=trace-pc,trace-cmp", "compare.c"),
        ("-g", "hooks.c"),
    ] {
        let all = [
            "-c",
            "-g",
            "-O1",
            "-fno-pie",
            "-fno-optimize-sibling-calls",
            options,
            name,
        ];
        tool(Command::new("gcc").args(all).current_dir(folder));
    }
    tool(
        Command::new("gcc")
            .args(["-no-pie", "-Wl,--build-id=sha1", "-o", "vmlinux"])
            .args(["hook.o", "compare.o", "hooks.o"])
            .current_dir(folder),
    );
    let site = |hook| {
        let file = ImageFile::open(&fixture.vmlinux).unwrap();
        sites(&file.image().unwrap(), hook).unwrap()[0].pc
    };
    let (pc, plain) = (site(Hook::Comparison), site(Hook::Pc));
    let mut recording = fixture.recording_of_any_kernel();
    recording.tasks[0].records = Records::Pcs(vec![plain]);
    fixture.save("run.kcov", &recording);
    recording.tasks[0].records = Records::Comparisons(vec![
        Comparison::from_raw(5, 0x1234, 0x1234, pc),
        Comparison::from_raw(5, 0x1234, 7, pc),
        Comparison::from_raw(5, 0x1234, 7, pc),
    ]);
    fixture.save("cmp.kcov", &recording);
    let output = fixture.kcov_trace(&["report", "--vmlinux", "vmlinux", "-f", "lcov", "cmp.kcov"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("holds comparisons"), "{error}");
    let error = fixture.fails(&["cmp", "run.kcov"]);
    assert!(error.contains("holds PCs, not comparisons"), "{error}");
    for (a, b, wanted) in [
        (
            "run.kcov",
            "cmp.kcov",
            "run.kcov holds PCs and cmp.kcov comparisons",
        ),
        (
            "cmp.kcov",
            "run.kcov",
            "cmp.kcov holds comparisons and run.kcov PCs",
        ),
    ] {
        let error = fixture.fails(&["diff", a, b]);
        assert!(error.contains(wanted), "{error}");
    }
    let text = fixture.succeeds(&["cmp", "--vmlinux", "vmlinux", "cmp.kcov"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(&format!("{pc:#018x} main ")), "{text}");
    assert_eq!(lines[1], "         2  =0x00001234  0x00000007");
    assert_eq!(lines[2], "         1  =0x00001234  0x00001234  equal");
}

#[test]
fn output_that_cannot_be_written() {
    let fixture = Fixture::new();
    let error = fixture.fails(&[
        "report",
        "-o",
        "nowhere/page.html",
        "--vmlinux",
        "vmlinux",
        "run.kcov",
    ]);
    assert!(error.contains("nowhere"), "{error}");
    let error = fixture.fails(&["report", "-o", ".", "-f", "raw", "run.kcov"]);
    assert!(error.contains(". cannot be written: it is a folder"), "{error}");
    // One fails while the report is made, the other at its end.
    let mut long = fixture.recording.clone();
    long.tasks[0].records = Records::Pcs(vec![fixture.pcs()[0]; 100_000]);
    fixture.save("long.kcov", &long);
    for recording in ["long.kcov", "run.kcov"] {
        for format in ["trace", "raw", "json"] {
            let full = fixture.fails(&["report", "-o", "/dev/full", "-f", format, recording]);
            assert!(
                full.starts_with("kcov-trace: /dev/full cannot be written: No space left on device"),
                "{full}"
            );
        }
    }
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kcov-trace"))
        .args(["report", "long.kcov"])
        .current_dir(fixture.folder.path())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("kcov-trace: standard output cannot be written: No space left"),
        "{error}"
    );
}

#[test]
fn file_that_may_grow_no_more() {
    let fixture = Fixture::new();
    let mut long = fixture.recording.clone();
    long.tasks[0].records = Records::Pcs(vec![fixture.pcs()[0]; 100_000]);
    fixture.save("long.kcov", &long);
    let before = fixture.files();
    // The signal may write a core file, and the parent of the tests may have it ignored.
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -c 0; ulimit -f 1; exec env --default-signal=XFSZ \"$0\" report -f trace -o out.txt long.kcov",
        ])
        .arg(env!("CARGO_BIN_EXE_kcov-trace"))
        .current_dir(fixture.folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGXFSZ), "{output:?}");
    assert_eq!(fixture.files(), before);
}

#[test]
fn vmlinux_that_is_cut_off_or_none_at_all() {
    let fixture = Fixture::new();
    let bytes = fs::read(&fixture.vmlinux).unwrap();
    for length in [5, 20, 63, 64, 1000, bytes.len() / 2, bytes.len() - 1] {
        fs::write(fixture.path("short"), &bytes[..length]).unwrap();
        let error = fixture.fails(&["report", "--vmlinux", "short", "run.kcov"]);
        let wanted = if length == 5 { "is damaged" } else { "is cut off" };
        assert!(
            error.contains(&format!("short {wanted}")) && error.contains("copy it again"),
            "{length}: {error}"
        );
    }
    fs::write(fixture.path("empty"), "").unwrap();
    for (name, wanted) in [
        (".", ". is a folder; name the file vmlinux in it"),
        ("empty", "empty is empty"),
        ("/dev/zero", "/dev/zero is not a regular file"),
        ("missing", "missing cannot be opened: No such file"),
    ] {
        let error = fixture.fails(&["report", "--vmlinux", name, "run.kcov"]);
        assert!(error.contains(wanted), "{error}");
    }
    // The offset of the number of sections.
    let mut damaged = bytes;
    damaged[62] = 0xfe;
    damaged[63] = 0xff;
    fs::write(fixture.path("damaged"), damaged).unwrap();
    let error = fixture.fails(&["report", "--vmlinux", "damaged", "run.kcov"]);
    assert!(error.contains("damaged is damaged"), "{error}");
}

#[test]
fn signal_during_a_report_leaves_no_file() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    // The source is a pipe without a writer: the report stops when it opens it.
    let map = format!("-fdebug-prefix-map={}={}", sources().display(), folder.display());
    compile(
        folder,
        "program.c",
        "program.o",
        &[
            "-fsanitize-coverage=trace-pc",
            "-fno-optimize-sibling-calls",
            &map,
        ],
    );
    link(folder, "vmlinux", "program.o");
    tool(Command::new("mkfifo").arg("program.c").current_dir(folder));
    fixture.save("run.kcov", &fixture.recording_of_any_kernel());
    fs::write(fixture.path("page.html"), "old").unwrap();
    let before = fixture.files();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // A shell may start background programs with SIGINT ignored, and the program would respect
        // that.
        let child = Command::new("env")
            .arg("--default-signal=INT,TERM,HUP")
            .arg(env!("CARGO_BIN_EXE_kcov-trace"))
            .args(["report", "--vmlinux", "vmlinux", "-o", "page.html", "run.kcov"])
            .current_dir(folder)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let partial = format!("page.html.{}.partial", child.id());
        let until = Instant::now() + Duration::from_secs(60);
        while !fixture.path(&partial).exists() {
            assert!(Instant::now() < until, "{partial} does not appear");
            thread::sleep(Duration::from_millis(5));
        }
        let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        let number = rustix::process::Signal::from_named_raw(signal).unwrap();
        rustix::process::kill_process(pid, number).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(signal), "{output:?}");
        assert_eq!(fixture.files(), before);
        assert_eq!(fs::read_to_string(fixture.path("page.html")).unwrap(), "old");
    }
}

#[test]
fn reader_that_has_had_enough_is_no_error() {
    let fixture = Fixture::new();
    let mut long = fixture.recording.clone();
    long.tasks[0].records = Records::Pcs(vec![fixture.pcs()[0]; 100_000]);
    fixture.save("long.kcov", &long);
    let mut child = Command::new(env!("CARGO_BIN_EXE_kcov-trace"))
        .args(["report", "long.kcov"])
        .current_dir(fixture.folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn merged_recordings_hold_everything() {
    let fixture = Fixture::new();
    fixture.succeeds(&["merge", "-o", "all.kcov", "run.kcov", "run.kcov"]);
    let all = kcov_trace::recording::read(&fixture.path("all.kcov")).unwrap();
    assert_eq!(all.pcs().count(), 2 * fixture.pcs().len());
    assert_eq!(all.kernel, fixture.recording.kernel);
    fixture.succeeds(&["merge", "--unique", "-o", "once.kcov", "run.kcov", "run.kcov"]);
    let once = kcov_trace::recording::read(&fixture.path("once.kcov")).unwrap();
    let mut distinct = fixture.pcs();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(once.pcs().collect::<Vec<_>>(), distinct);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn kernel_that_calls_the_hook_through_registers() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    compile(
        folder,
        "program.c",
        "program.o",
        &[
            "-fsanitize-coverage=trace-pc",
            "-fno-optimize-sibling-calls",
            "-mcmodel=large",
        ],
    );
    link(folder, "large", "program.o");
    fixture.save("large.kcov", &fixture.recording_of_any_kernel());
    for format in ["html", "lcov"] {
        let output = fixture.kcov_trace(&["report", "--vmlinux", "large", "-f", format, "large.kcov"]);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("through registers"), "{error}");
    }
    let output = fixture.kcov_trace(&["report", "--vmlinux", "large", "-f", "listing", "large.kcov"]);
    assert_eq!(output.status.code(), Some(0));
}
