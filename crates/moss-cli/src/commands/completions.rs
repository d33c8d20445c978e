//! `completions`: what shells read.

use std::process::ExitCode;

use clap::{Args, CommandFactory};

use crate::{args::Cli, printer::Printer};

/// Print shell completions
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &CompletionsArgs, printer: &Printer) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "moss-cli", &mut text);
    printer.raw(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
