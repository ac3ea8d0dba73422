// SPDX-License-Identifier: GPL-2.0
//! The subcommands, one file each.

mod diff;
mod doctor;
mod filter;
mod import;
mod manual;
mod merge;
mod patch;
mod remote;
mod render;
mod select;
mod trace;

use anyhow::Result;

use crate::cli::{Action, Cli};

/// Runs the command line; returns the exit status.
///
/// # Errors
///
/// The message for the user.
pub fn run(cli: Cli) -> Result<i32> {
    match cli.action {
        None => trace::trace(&cli.trace),
        Some(Action::Report(args)) => {
            render::check_output(args.output.output.as_deref())?;
            let recording = merge::read_all(&args.recordings)?;
            match &args.diff {
                Some(patch) => patch::report(&args, patch, &recording),
                None => Ok(render::render(&recording, &args.output, &args.symbols)?.status()),
            }
        }
        Some(Action::Cmp(args)) => trace::cmp(&args),
        Some(Action::Remote(args)) => remote::remote(&args),
        Some(Action::Diff(args)) => diff::diff(&args),
        Some(Action::Merge(args)) => merge::merge(&args),
        Some(Action::Import(args)) => import::import(&args),
        Some(Action::Filter(args)) => filter::filter(&args),
        Some(Action::Man(args)) => manual::man(&args),
        Some(Action::Completions(args)) => manual::completions(&args),
        Some(Action::Doctor(args)) => doctor::doctor(&args),
    }
}
