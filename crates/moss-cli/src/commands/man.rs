//! `man`: manual pages with the texts of `--help`.

use std::process::ExitCode;

use clap::CommandFactory;

use moss_messages::msg;

use crate::{
    args::{Cli, ManArgs},
    errors::CliError,
    help,
    printer::Printer,
};

pub(crate) fn run(args: &ManArgs, printer: &Printer) -> anyhow::Result<ExitCode> {
    let mut command = help::translated(Cli::command(), printer.language);
    command.build(); // adds global flags and full names to the subcommands
    if let Some(name) = &args.subcommand {
        command = command
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| CliError::new(msg!("unknown-subcommand", name)))?;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    printer.raw(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
