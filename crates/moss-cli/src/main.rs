//! Chat with MOSS-moon-003 at a terminal. The one crate that reads the environment, prints, and exits.

mod addresses;
mod args;
mod commands;
mod cuda_libraries;
mod errors;
mod fetch;
mod fold;
mod gpu;
mod help;
#[cfg(debug_assertions)]
mod inject;
mod interrupt;
mod memory;
mod messages;
mod open;
mod printer;
mod progress;
mod repl;
mod terminal;
mod usage;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::{
    args::{Cli, Command},
    commands::serve::LogFormat,
    printer::{Printer, Surroundings, Unwritable},
};

fn main() -> ExitCode {
    let (language, surroundings) = (help::language(std::env::args_os()), Surroundings::read());
    let mut command = help::translated(Cli::command(), language);
    let parsed = command.try_get_matches_from_mut(std::env::args_os());
    let cli = match parsed.and_then(|parsed| Cli::from_arg_matches(&parsed)) {
        Ok(cli) => cli,
        Err(told) => return usage::show(&told, language, surroundings),
    };
    let printer = Printer::new(&cli.output, surroundings);
    start_tracing(&cli, &printer);
    #[cfg(feature = "cuda")]
    cuda_libraries::register();
    match run(&cli, &printer) {
        Ok(code) => code,
        Err(error) if error.downcast_ref().is_some_and(Unwritable::is_broken_pipe) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C ended it.
pub(crate) fn interrupted() -> ExitCode {
    ExitCode::from(interrupt::INTERRUPTED)
}

fn run(cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    open::named_devices(&cli.model)?; // refused before anything is looked at
    match &cli.command {
        None | Some(Command::Chat) => repl::run(cli, printer),
        Some(Command::Generate(args)) => commands::generate::run(args, cli, printer),
        Some(Command::Download(args)) => commands::download::run(args, cli, printer),
        Some(Command::Inspect(args)) => commands::inspect::run(args, cli, printer),
        Some(Command::Serve(args)) => commands::serve::run(args, cli, printer),
        Some(Command::Bench(args)) => commands::bench::run(args, cli, printer),
        Some(Command::Doctor(args)) => commands::doctor::run(args, cli, printer),
        Some(Command::Plan(args)) => commands::plan::run(args, cli, printer),
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

/// Spans and events of the libraries, for `-v`; a server's log.
fn start_tracing(cli: &Cli, printer: &Printer) {
    let serves = match &cli.command {
        Some(Command::Serve(args)) => Some(args.log_format),
        _ => None,
    };
    let level = match printer.verbose {
        0 if serves.is_some() && !cli.output.quiet => "info",
        0 => return,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(format!("moss={level},moss_model={level},moss_engine={level},moss_server={level}"))
        .with_writer(std::io::stderr)
        .with_ansi(printer.colors)
        .log_internal_errors(false); // a closed stderr is no reason to stop
    match serves {
        Some(LogFormat::Json) => log.json().init(),
        _ => log.init(),
    }
}
