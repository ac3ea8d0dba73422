// SPDX-License-Identifier: GPL-2.0
//! Builds a small instrumented program with gcc, runs it and makes a recording of the PCs that its hook saw.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use kcov_trace::recording::{self, Kernel, Recording, Records, Task};
use kcov_trace::symbols::ImageFile;

/// A program that replaces `vmlinux`, and its recording.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) vmlinux: PathBuf,
    pub(crate) recording: Recording,
}

/// The folder of the fixture's sources.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture")
}

/// Returns the number of the line of program.c that contains the text.
pub(crate) fn line_of(text: &str) -> usize {
    let source = std::fs::read_to_string(sources().join("program.c")).unwrap();
    source.lines().position(|line| line.contains(text)).unwrap() + 1
}

/// Runs a tool, which must succeed.
pub(crate) fn tool(command: &mut Command) -> Output {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Compiles a file of the fixture.
pub(crate) fn compile(folder: &Path, source: &str, object: &str, options: &[&str]) {
    tool(
        Command::new("gcc")
            .args(["-c", "-g", "-O1", "-fno-pie", "-o", object])
            .args(options)
            .arg(sources().join(source))
            .current_dir(folder),
    );
}

/// Runs a program in a folder that is linked with the hook, and returns the PCs that the hook saw.
pub(crate) fn run(folder: &Path, program: &str) -> Vec<u64> {
    // The hook writes to descriptor 3.
    let output = tool(
        Command::new("sh")
            .args(["-c", &format!("exec ./{program} 3>&1")])
            .current_dir(folder),
    );
    let pcs = output.stdout.chunks_exact(8);
    pcs.map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

/// Links an object with the hook.
pub(crate) fn link(folder: &Path, name: &str, object: &str) {
    tool(
        Command::new("gcc")
            .args(["-no-pie", "-Wl,--build-id=sha1", "-o", name, "hook.o", object])
            .current_dir(folder),
    );
}

/// Returns the frames of a call that ends at `pc` according to binutils: function and place of
/// each, the innermost first.
pub(crate) fn frames_by(addr2line: &str, folder: &Path, image: &str, pc: u64) -> Vec<String> {
    // Any byte of the call is sufficient; the last one is known without the length of the call.
    let answer = tool(
        Command::new(addr2line)
            .args(["-f", "-i", "-e", image, &format!("{:#x}", pc - 1)])
            .current_dir(folder),
    );
    let answer = String::from_utf8(answer.stdout).unwrap();
    // The lines alternate between function and place; a discriminator may follow the place.
    let lines: Vec<&str> = answer
        .lines()
        .map(|line| line.split(" (").next().unwrap())
        .collect();
    lines
        .chunks(2)
        .map(|pair| format!(" {} {}", pair[0], pair[1]))
        .collect()
}

/// Returns the data that a page has packed under an id.
pub(crate) fn packed(page: &str, id: &str) -> serde_json::Value {
    let start = format!("<script type=\"text/plain\" id=\"{id}\">");
    let (_, rest) = page.split_once(&start).unwrap();
    let (text, _) = rest.split_once('<').unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    serde_json::from_reader(flate2::read::DeflateDecoder::new(&bytes[..])).unwrap()
}

impl Fixture {
    pub(crate) fn new() -> Self {
        // The program is run, and the folder for temporary files may be mounted noexec.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = folder.path();
        compile(
            path,
            "program.c",
            "program.o",
            &["-fsanitize-coverage=trace-pc", "-fno-optimize-sibling-calls"],
        );
        compile(path, "hook.c", "hook.o", &[]);
        link(path, "vmlinux", "program.o");
        let pcs = run(path, "vmlinux");
        assert!(!pcs.is_empty(), "the hook saw nothing");
        let vmlinux = path.join("vmlinux");
        let file = ImageFile::open(&vmlinux).unwrap();
        let image = file.image().unwrap();
        let kernel = Kernel {
            machine: image.architecture().name().into(),
            release: "7.3.4-test".into(),
            build_id: image.build_id().unwrap().to_vec(),
            text: image.address_of("_stext").unwrap(),
            ..Kernel::default()
        };
        let recording = Recording {
            kernel,
            command: vec!["a program".into()],
            tasks: vec![Task {
                tid: 7,
                name: "program".into(),
                records: Records::Pcs(pcs),
                ..Task::default()
            }],
            ..Recording::default()
        };
        let fixture = Self {
            vmlinux,
            folder,
            recording,
        };
        fixture.save("run.kcov", &fixture.recording);
        fixture
    }

    /// Writes the notes of `vmlinux` to a file, as a running kernel has them in `/sys/kernel/notes`.
    pub(crate) fn save_notes(&self) {
        tool(
            Command::new("objcopy")
                .args([
                    "-O",
                    "binary",
                    "--only-section=.note.gnu.build-id",
                    "vmlinux",
                    "notes",
                ])
                .current_dir(self.folder.path()),
        );
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn save(&self, name: &str, recording: &Recording) -> PathBuf {
        let mut bytes = Vec::new();
        recording::write(recording, &mut bytes).unwrap();
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Returns the recording without the kernel's build id, so that any file may be its kernel.
    pub(crate) fn recording_of_any_kernel(&self) -> Recording {
        let mut recording = self.recording.clone();
        recording.kernel.build_id.clear();
        recording
    }

    pub(crate) fn pcs(&self) -> Vec<u64> {
        self.recording.pcs().collect()
    }

    /// Runs kcov-trace in the fixture's folder.
    pub(crate) fn kcov_trace(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_kcov-trace"))
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Returns the standard output of a run that must succeed.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.kcov_trace(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the standard error of a run that must fail with status 2, with one sentence on one
    /// line.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.kcov_trace(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("kcov-trace: "), "{error}");
        error
    }

    /// Returns the files in the folder, to check that no file is left over.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}
