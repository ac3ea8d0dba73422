// SPDX-License-Identifier: GPL-2.0
//! Makes man pages and completions for shells from the description of the command line.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::output::Target;

/// Writes a man page for the command and for each subcommand into the folder.
pub(super) fn man(args: &ManArgs) -> Result<i32> {
    let mut command = Cli::command();
    command.build();
    page(&command, &args.folder)?;
    for subcommand in command.get_subcommands().filter(|one| one.get_name() != "help") {
        page(subcommand, &args.folder)?;
    }
    Ok(0)
}

fn page(command: &clap::Command, folder: &Path) -> Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let path = folder.join(format!("{name}.1"));
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name)
        .render(&mut text)?;
    fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// Prints the completions for a shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<i32> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kcov-trace", &mut text);
    Target::Stdout.write(|out| Ok(out.write_all(&text)?))?;
    Ok(0)
}
