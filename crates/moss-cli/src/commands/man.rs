//! `man`: manual pages, made of the same words as `--help`.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::{
    args::{Cli, ManArgs},
    errors::Failed,
    help,
    messages::Language,
    printer::Printer,
};

pub(crate) fn run(args: &ManArgs, printer: &Printer) -> anyhow::Result<ExitCode> {
    let mut command = help::translated(Cli::command(), printer.language);
    command.build(); // hands the global flags down and gives subcommands their full names
    if let Some(name) = &args.subcommand {
        command = command.find_subcommand(name).cloned().ok_or_else(|| {
            Failed::new((
                format!("`{name}` is no subcommand"),
                format!("没有子命令 `{name}`"),
            ))
            .hint((
                "`moss-cli --help` lists them",
                "`moss-cli --help` 可列出子命令",
            ))
        })?;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    let page = String::from_utf8_lossy(&text);
    match printer.language {
        Language::En => printer.raw(&page)?,
        Language::Zh => printer.raw(&help::localized_page(&page))?,
    }
    Ok(ExitCode::SUCCESS)
}
