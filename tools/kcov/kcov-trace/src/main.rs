// SPDX-License-Identifier: GPL-2.0
//! The command `kcov-trace`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use kcov_trace::cli::Cli;
use kcov_trace::output::broken_pipe;
use kcov_trace::{commands, tracer};

/// The exit status of a failure of this program, different from the usual ones of the command that
/// it runs.
const FAILURE: u8 = 2;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)),
        // The reader of the output has closed it.
        Err(error) if broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, the error cannot be printed.
            let _ = writeln!(io::stderr(), "kcov-trace: {error:#}");
            ExitCode::from(match error.downcast_ref() {
                Some(tracer::Error::Command { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => 127,
                Some(tracer::Error::Command { .. }) => 126,
                _ => FAILURE,
            })
        }
    }
}
