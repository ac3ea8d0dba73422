// SPDX-License-Identifier: GPL-2.0
//! What each subcommand does.

mod diff;
mod import;
mod merge;
mod remote;
mod render;
mod trace;

use anyhow::Result;

use crate::cli::{Action, Cli};

/// Does what the command line says; gives the exit status.
///
/// # Errors
///
/// What is to be told the user.
pub fn run(cli: Cli) -> Result<i32> {
    match cli.action {
        None => trace::trace(&cli.trace),
        Some(Action::Report(args)) => {
            render::check_output(args.output.output.as_deref())?;
            let recording = merge::read_all(&args.recordings)?;
            render::render(&recording, &args.output, &args.symbols)?;
            Ok(0)
        }
        Some(Action::Cmp(args)) => trace::cmp(&args),
        Some(Action::Remote(args)) => remote::remote(&args),
        Some(Action::Diff(args)) => diff::diff(&args),
        Some(Action::Merge(args)) => merge::merge(&args),
        Some(Action::Import(args)) => import::import(&args),
    }
}
