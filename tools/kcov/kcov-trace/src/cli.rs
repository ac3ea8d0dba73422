// SPDX-License-Identifier: GPL-2.0
//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Shows the code of the Linux kernel that a command runs.
///
/// Runs COMMAND, collects the coverage of each of its threads and children, and prints or saves it.
/// With the vmlinux of the kernel, addresses become functions and lines.
#[derive(Debug, Parser)]
#[command(
    version,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "The exit status is the command's own, 128 and the number of the signal that ended it, 127 if it \
                  does not exist, 126 if it cannot be run, and 2 if no report could be written. Of subcommands that \
                  work on recordings it is 0, 1 if something is missing from the report, which a warning names, 2 if \
                  there is no report, and 3 if less of a patch is covered than --fail-under asks for."
)]
pub struct Cli {
    /// Work on recordings, or other kinds of collection.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// Arguments of tracing, if no subcommand is given.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Symbolise saved recordings together.
    Report(ReportArgs),
    /// Show the operands of the kernel's comparisons, for a command or from recordings.
    Cmp(CmpArgs),
    /// Collect sections that other tasks run, selected by their handles, for some time or while a
    /// command runs.
    Remote(RemoteArgs),
    /// Show the coverage of recording B that recording A does not have.
    Diff(DiffArgs),
    /// Merge recordings of the same kernel.
    Merge(MergeArgs),
    /// Make a recording from PCs that another program printed.
    Import(ImportArgs),
    /// Print the lines of the kernel's filter (/sys/kernel/debug/kcov_filter) for sources, folders,
    /// functions or entries of MAINTAINERS.
    Filter(FilterArgs),
    /// Tell what is there for tracing and reports on this machine, and what is missing.
    Doctor(DoctorArgs),
    /// Write man pages, for packages.
    Man(ManArgs),
    /// Print a script with which a shell completes the command line, for packages.
    Completions(CompletionsArgs),
}

/// Arguments of tracing.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Arguments of collection.
    #[command(flatten)]
    pub collect: CollectArgs,
    /// Record each PC once per task, so that long commands do not fill the buffer; counts then
    /// count tasks. Requires CONFIG_KCOV_RUST.
    #[arg(long)]
    pub unique: bool,
    /// Record each edge once per task: a PC with the PC before it. Counts then count tasks. Requires
    /// CONFIG_KCOV_RUST.
    #[arg(long, conflicts_with = "unique")]
    pub edges: bool,
    /// The destination and the format of the output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Arguments of symbolising.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// The command to trace.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The destination and the format of the output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Arguments of symbolising.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// Report whether the lines that this patch adds are covered, instead of the whole kernel.
    #[arg(long, value_name = "PATCH")]
    pub diff: Option<PathBuf>,
    /// End with status 3 if fewer percent of the patch's lines that can be decided are covered.
    #[arg(long, value_name = "PERCENT", requires = "diff")]
    pub fail_under: Option<f64>,
    /// The recordings, or folders of recordings.
    #[arg(required = true, value_name = "RECORDING")]
    pub recordings: Vec<PathBuf>,
}

/// Arguments of `cmp`.
#[derive(Debug, Args)]
pub struct CmpArgs {
    /// Arguments of collection.
    #[command(flatten)]
    pub collect: CollectArgs,
    /// The destination and the format of the output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Arguments of symbolising.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// Show all pairs of operands of a site, not only the most frequent ones.
    #[arg(long)]
    pub all: bool,
    /// Recordings that 'cmp' has made before.
    #[arg(
        value_name = "RECORDING",
        conflicts_with = "command",
        required_unless_present = "command"
    )]
    pub recordings: Vec<PathBuf>,
    /// The command to trace.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Arguments of `remote`.
#[derive(Debug, Args)]
pub struct RemoteArgs {
    /// Collect the sections of this USB bus; may be given several times.
    #[arg(long, value_name = "BUS")]
    pub usb: Vec<u32>,
    /// Collect the sections with this common handle (a number other than 0), which the command
    /// inherits. Requires a command.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub common: Option<u32>,
    /// The time to collect if no command is given; without it, collect until a signal (Ctrl-C).
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// The number of words that each section may use.
    #[arg(long, value_name = "WORDS", default_value_t = 64 << 10, value_parser = clap::value_parser!(u32).range(64..))]
    pub section_words: u32,
    /// Collect comparisons instead of PCs.
    #[arg(long)]
    pub comparisons: bool,
    /// Record each PC once. Requires CONFIG_KCOV_RUST.
    #[arg(long, conflicts_with = "comparisons")]
    pub unique: bool,
    /// Record each edge once: a PC with the PC before it in its section. Requires CONFIG_KCOV_RUST.
    #[arg(long, conflicts_with_all = ["comparisons", "unique"])]
    pub edges: bool,
    /// Arguments of collection.
    #[command(flatten)]
    pub collect: CollectArgs,
    /// The destination and the format of the output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Arguments of symbolising.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// A command to run during the collection; its own system calls are not traced.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The destination and the format of the output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Arguments of symbolising.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// The recording to compare with, or a folder of recordings.
    pub a: PathBuf,
    /// The recording whose additional coverage is shown, or a folder of recordings. With the format
    /// 'changes', also the coverage that it lacks is shown.
    pub b: PathBuf,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The recording to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Keep every record once, without tasks and order, which makes the file much smaller.
    #[arg(long)]
    pub unique: bool,
    /// The recordings.
    #[arg(required = true, value_name = "RECORDING")]
    pub recordings: Vec<PathBuf>,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The recording to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// A copy of /sys/kernel/notes from the machine where the PCs were recorded, which contains the
    /// kernel's build id.
    #[arg(long, value_name = "FILE")]
    pub notes: Option<PathBuf>,
    /// A folder with copies of files from the machine where the PCs were recorded, below proc and
    /// sys: the modules, their sections, the symbols and the notes of the kernel. README has the
    /// shell line that makes it.
    #[arg(long, value_name = "FOLDER", conflicts_with = "notes")]
    pub proc: Option<PathBuf>,
    /// The number that the other program has subtracted from each PC, which is added again. Without
    /// it, 'report' recognises the usual numbers.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub add: u64,
    /// A description of the PCs. Default: the name of the file if there are several, or 'imported'.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Files with hexadecimal PCs, one per line, such as those of 'syz-execprog -coverfile' and
    /// syzkaller's rawcover; empty lines and lines that start with # are skipped. Of a folder, all
    /// files. '-' is standard input.
    #[arg(required = true, value_name = "TEXT-FILE")]
    pub pcs: Vec<PathBuf>,
}

/// Arguments of `filter`.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Arguments of symbolising.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// Code, described as for --only. With ! before it, it is left out.
    #[arg(required = true, value_name = "PATTERN")]
    pub patterns: Vec<String>,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder for the pages.
    pub folder: PathBuf,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: Shell,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The vmlinux to look at. Default: the one that is found, as for reports.
    #[arg(long, value_name = "FILE")]
    pub vmlinux: Option<PathBuf>,
    /// The folder that takes the place of / where vmlinux is searched.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    pub symfs: PathBuf,
}

/// Arguments of collection.
#[derive(Clone, Debug, Args)]
pub struct CollectArgs {
    /// The size of the buffer of each task in words; a PC takes one word, an edge two, a comparison
    /// four. Of a buffer for edges, up to a quarter is a table of those that are known.
    #[arg(long, value_name = "WORDS", default_value_t = 256 << 10)]
    pub buffer: usize,
    /// Stop every task at each of its system calls and empty its buffer. Slower, but a long command
    /// does not fill the buffer.
    #[arg(long)]
    pub each_syscall: bool,
    /// Keep the names of functions from /proc/kallsyms in a recording, for reports without vmlinux on
    /// another machine. Reading them takes long where the processor is emulated.
    #[arg(long)]
    pub names: bool,
}

/// The destination and the format of the output.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// Write to this file instead of standard output; the file appears when it is complete.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The format of the output. By default, the extension of the file decides (.html, .info,
    /// .jsonl); otherwise it is 'raw' for a file and 'trace' for standard output.
    #[arg(short, long, value_enum)]
    pub format: Option<Format>,
    /// Include the source of all files in an HTML report, not only of those with coverage.
    #[arg(long)]
    pub all_sources: bool,
    /// Group the files of an HTML report by the entries of MAINTAINERS.
    #[arg(long)]
    pub by_maintainer: bool,
}

/// The formats of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A recording, to symbolise later or on another machine.
    Raw,
    /// Every record on a line, in order.
    Trace,
    /// Every record in order, in columns; the functions that it is inlined into follow on lines of
    /// their own (needs vmlinux).
    Listing,
    /// The tasks, with their numbers of records.
    Tasks,
    /// Functions, with counts and the share of each that ran (needs vmlinux).
    Functions,
    /// JSON, one object per line.
    Json,
    /// An LCOV tracefile (needs vmlinux).
    Lcov,
    /// A report in one HTML file (needs vmlinux).
    Html,
    /// The calls of functions in each system call, inferred from the order of the PCs (needs
    /// vmlinux).
    Tree,
    /// The number of PCs in each chain of calls, on lines for programs that draw flame graphs (needs
    /// vmlinux).
    Folded,
    /// Of 'diff' only: the functions and lines that became covered, and those that became uncovered.
    Changes,
}

/// Arguments of symbolising.
#[derive(Clone, Debug, Args)]
pub struct SymbolArgs {
    /// The uncompressed kernel with its symbols, from the build folder. Without it, it is searched by
    /// its build id in /usr/lib/debug, /boot and /lib/modules, and by debuginfod if DEBUGINFOD_URLS is
    /// set; names of functions in the recording are used if it is not found.
    #[arg(long, value_name = "FILE")]
    pub vmlinux: Option<PathBuf>,
    /// The folder that takes the place of / in that search, such as the mounted disk of a guest.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    pub symfs: PathBuf,
    /// A folder with the kernel's modules; may be given several times. Default: the folder of
    /// vmlinux, then /lib/modules of that release.
    #[arg(long, value_name = "FOLDER")]
    pub modules: Vec<PathBuf>,
    /// The kernel's source tree or another folder with sources, if it was moved after the build; or
    /// the prefix of names in the debug information and the folder that takes its place. May be given
    /// several times.
    #[arg(long, value_name = "FOLDER|OLD=NEW")]
    pub source: Vec<PathBuf>,
    /// Show only this code: a function, a source, a folder or an entry of MAINTAINERS, in which *
    /// stands for any characters; or 'noise', which is all of 'allocator', 'rcu', 'locking' and
    /// 'sanitizers'. 'function:', 'file:' or 'maintainers:' before it tells what it is. May be given
    /// several times.
    #[arg(long, value_name = "PATTERN")]
    pub only: Vec<String>,
    /// Leave out this code, which is described as for --only. May be given several times.
    #[arg(long, value_name = "PATTERN")]
    pub skip: Vec<String>,
    /// Show only the records of system calls with this name, such as 'openat'. May be given several
    /// times.
    #[arg(long, value_name = "NAME")]
    pub syscall: Vec<String>,
    /// Use vmlinux even if it is not the kernel that ran.
    #[arg(long)]
    pub force: bool,
}
