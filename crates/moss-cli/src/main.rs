//! Chat with MOSS-moon-003 at a terminal. The one crate that reads the environment, prints, and exits.

mod args;
mod commands;
mod hints;
mod messages;
mod open;
mod printer;
mod progress;
mod repl;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Cli, Command},
    printer::{Printer, is_broken_pipe},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let printer = Printer::new(&cli.output, no_color);
    start_tracing(printer.verbose);
    match run(&cli, &printer) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error, hints::hint(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    match &cli.command {
        None | Some(Command::Chat) => repl::run(cli, printer),
        Some(Command::Generate(args)) => commands::generate::run(args, cli, printer),
        Some(Command::Inspect(args)) => commands::inspect::run(args, cli, printer),
        Some(Command::Bench(args)) => commands::bench::run(args, cli, printer),
        Some(Command::Tokenize(args)) => commands::tokenize::run(args, cli, printer),
        Some(Command::Logits(args)) => commands::logits::run(args, cli, printer),
        Some(Command::Verify(args)) => commands::verify::run(args, cli, printer),
        Some(Command::Completions(args)) => commands::completions::run(args, printer),
        Some(Command::Man) => commands::completions::man(printer),
    }
}

fn start_tracing(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(format!("moss={level},moss_model={level},moss_engine={level}"))
        .with_writer(std::io::stderr)
        .init();
}
