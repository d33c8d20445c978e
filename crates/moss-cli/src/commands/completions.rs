//! `completions`: shell completions.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::{
    args::{Cli, CompletionsArgs},
    printer::Printer,
};

pub(crate) fn run(args: &CompletionsArgs, printer: &Printer) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "moss-cli", &mut text);
    printer.raw(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
