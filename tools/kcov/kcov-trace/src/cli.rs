// SPDX-License-Identifier: GPL-2.0
//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Shows which code of the Linux kernel a command runs.
///
/// COMMAND is run with the coverage of each of its threads and children collected; what they covered is printed or
/// saved. With the vmlinux of the kernel, addresses become functions and lines.
#[derive(Debug, Parser)]
#[command(
    version,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "The exit status is the command's own, 128 and the number of the signal that ended it, 127 if it \
                  does not exist, 126 if it cannot be run, and 2 if kcov-trace itself fails."
)]
pub struct Cli {
    /// Work on recordings, or other kinds of collection.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// What to trace, if no subcommand is given.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Symbolise saved recordings, all together.
    Report(ReportArgs),
    /// Show the operands of the kernel's comparisons, of a command or of recordings.
    Cmp(CmpArgs),
    /// Collect sections that other tasks run, found by their handles, for some time or while a command runs.
    Remote(RemoteArgs),
    /// Show what recording B covers and recording A does not.
    Diff(DiffArgs),
    /// Put recordings of the same kernel together.
    Merge(MergeArgs),
    /// Make a recording of PCs that another program printed.
    Import(ImportArgs),
}

/// Arguments of tracing.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// How to collect.
    #[command(flatten)]
    pub collect: CollectArgs,
    /// Record each PC once for each task, so that long commands fill no buffer. Counts are then those of tasks. Wants
    /// a kernel with KCOV in Rust.
    #[arg(long)]
    pub unique: bool,
    /// Where the output goes and how it looks.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to symbolise.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// The command to trace.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Where the output goes and how it looks.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to symbolise.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// The recordings.
    #[arg(required = true, value_name = "RECORDING")]
    pub recordings: Vec<PathBuf>,
}

/// Arguments of `cmp`.
#[derive(Debug, Args)]
pub struct CmpArgs {
    /// How to collect.
    #[command(flatten)]
    pub collect: CollectArgs,
    /// Where the output goes and how it looks.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to symbolise.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// Show all pairs of operands of a site, not only the most frequent.
    #[arg(long)]
    pub all: bool,
    /// Recordings that 'cmp' made before.
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
    /// Collect the sections with this common handle (a number that is not 0), which the command inherits: there has to
    /// be one.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub common: Option<u32>,
    /// How long to collect if there is no command; until a signal (Ctrl-C) if this is left out too.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// Words that each section may use.
    #[arg(long, value_name = "WORDS", default_value_t = 64 << 10, value_parser = clap::value_parser!(u32).range(64..))]
    pub section_words: u32,
    /// Collect comparisons instead of PCs.
    #[arg(long)]
    pub comparisons: bool,
    /// Record each PC once. Wants a kernel with KCOV in Rust.
    #[arg(long, conflicts_with = "comparisons")]
    pub unique: bool,
    /// How to collect.
    #[command(flatten)]
    pub collect: CollectArgs,
    /// Where the output goes and how it looks.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to symbolise.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// A command to run meanwhile; what it does itself is not traced.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Where the output goes and how it looks.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to symbolise.
    #[command(flatten)]
    pub symbols: SymbolArgs,
    /// The recording to compare with.
    pub a: PathBuf,
    /// The recording whose additional coverage is shown.
    pub b: PathBuf,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The recording to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Keep every record once, without tasks and order: much smaller.
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
    /// A copy of /sys/kernel/notes from where the PCs were recorded, which holds the kernel's build id.
    #[arg(long, value_name = "FILE")]
    pub notes: Option<PathBuf>,
    /// What the PCs are of.
    #[arg(long, value_name = "TEXT", default_value = "imported")]
    pub name: String,
    /// Hexadecimal PCs, one on a line; lines that are empty or start with # are passed over. '-' is standard input.
    #[arg(value_name = "TEXT-FILE")]
    pub pcs: PathBuf,
}

/// How to collect.
#[derive(Clone, Debug, Args)]
pub struct CollectArgs {
    /// Words of the buffer of each task; a word holds a PC, four a comparison.
    #[arg(long, value_name = "WORDS", default_value_t = 256 << 10)]
    pub buffer: usize,
    /// Stop every task at each of its system calls and empty its buffer. Slower, but a long command does not fill it.
    #[arg(long)]
    pub each_syscall: bool,
}

/// Where the output goes and how it looks.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// Write to this file instead of standard output; it appears when it is complete.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The form of the output. Without this the file's name decides (.html, .info, .jsonl), else it is 'raw' in a
    /// file and 'trace' on standard output.
    #[arg(short, long, value_enum)]
    pub format: Option<Format>,
    /// Put the source of all files into an HTML report, not only of those in which something was covered.
    #[arg(long)]
    pub all_sources: bool,
}

/// The forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A recording, to be symbolised later and elsewhere.
    Raw,
    /// Every record on a line, in order.
    Trace,
    /// Every record in order, in columns, with what it is inlined into on lines of its own (needs --vmlinux).
    Listing,
    /// The tasks, with how many records each has.
    Tasks,
    /// Functions, with how often and how much of them ran (needs --vmlinux).
    Functions,
    /// JSON, one object on a line.
    Json,
    /// An LCOV tracefile (needs --vmlinux).
    Lcov,
    /// A report in one HTML file (needs --vmlinux).
    Html,
}

/// How to symbolise.
#[derive(Clone, Debug, Args)]
pub struct SymbolArgs {
    /// The uncompressed kernel with its symbols, as it lies in the build folder.
    #[arg(long, value_name = "FILE")]
    pub vmlinux: Option<PathBuf>,
    /// A folder with the kernel's modules; may be given several times. Default: the one vmlinux is in, then
    /// /lib/modules of that release.
    #[arg(long, value_name = "FOLDER")]
    pub modules: Vec<PathBuf>,
    /// The kernel's source tree, if it is not where it was when the kernel was built.
    #[arg(long, value_name = "FOLDER")]
    pub source: Option<PathBuf>,
    /// Use vmlinux even if it is not the kernel that ran.
    #[arg(long)]
    pub force: bool,
}
