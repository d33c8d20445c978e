//! The command line. This is the only crate that reads the environment, prints, and exits.

mod addresses;
mod args;
mod commands;
mod cuda_libraries;
mod errors;
mod fold;
mod help;
#[cfg(debug_assertions)]
mod inject;
mod interrupt;
mod log;
mod memory;
mod messages;
mod open;
mod origin;
mod output;
mod plugins;
mod printer;
mod progress;
mod repl;
mod signals;
mod source;
mod terminal;
mod truncation;
mod usage;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::{
    args::{Cli, Command},
    errors::Unwritable,
    printer::{Printer, TerminalEnv},
};

fn main() -> ExitCode {
    let (language, terminal) = (help::language(std::env::args_os()), TerminalEnv::read());
    let mut command = help::translated(Cli::command(), language);
    let parsed = command.try_get_matches_from_mut(std::env::args_os());
    let cli = match parsed.and_then(|parsed| Cli::from_arg_matches(&parsed)) {
        Ok(cli) => cli,
        Err(error) => return usage::show(&error, &command, language, terminal),
    };
    let printer = Printer::new(&cli.output, terminal);
    log::start(&cli, &printer);
    truncation::watch(&printer);
    cuda_libraries::register();
    match run(&cli, &printer) {
        Ok(code) => code,
        Err(error) if error.downcast_ref().is_some_and(Unwritable::is_broken_pipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            printer.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    // invalid options are rejected first
    open::check_engine(cli)?;
    open::named_devices(&cli.model)?;
    match &cli.command {
        None | Some(Command::Chat) => repl::run(cli, printer),
        Some(Command::Generate(args)) => commands::generate::run(args, cli, printer),
        Some(Command::Download(args)) => commands::download::run(args, cli, printer),
        Some(Command::Inspect(args)) => commands::inspect::run(args, cli, printer),
        Some(Command::Serve(args)) => commands::serve::run(args, cli, printer),
        Some(Command::Bench(args)) => commands::bench::run(args, cli, printer),
        Some(Command::Cache(args)) => commands::cache::run(args, cli, printer),
        Some(Command::Doctor(args)) => commands::doctor::run(args, cli, printer),
        Some(Command::Plan(args)) => commands::plan::run(args, cli, printer),
        Some(Command::Plugins(args)) => commands::plugins::run(args, cli, printer),
        Some(Command::Tokenize(args)) => commands::tokenize::run(args, cli, printer),
        Some(Command::Logits(args)) => commands::logits::run(args, cli, printer),
        Some(Command::Verify(args)) => commands::verify::run(args, cli, printer),
        Some(Command::Convert(args)) => commands::convert::run(args, cli, printer),
        Some(Command::Quantize(args)) => commands::quantize::run(args, cli, printer),
        Some(Command::Eval(args)) => commands::eval::run(args, cli, printer),
        Some(Command::Completions(args)) => commands::completions::run(args, printer),
        Some(Command::Man(args)) => commands::man::run(args, printer),
    }
}
