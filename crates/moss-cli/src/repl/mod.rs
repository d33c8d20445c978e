//! The chat at a terminal or over a pipe.

mod answer;
mod commands;
mod input;
mod keys;
pub(crate) mod names;
mod params;
mod unedited;

use std::process::ExitCode;

use self::{
    answer::Session,
    commands::{Action, act},
    input::{Input, Line},
};
use moss_messages::msg;

use crate::{
    args::Cli,
    errors::{Unanswered, Unwritable},
    interrupt::{Interrupts, interrupted},
    messages::WELCOME,
    open,
    plugins::Calls,
    printer::Printer,
};

const PROMPT: &str = "<|Human|>: ";

pub(crate) fn run(cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let calls = Calls::new(&cli.plugins)?;
    let found = open::find(cli, printer)?;
    let interrupts = Interrupts::watch(printer)?;
    // Text that is typed while the model loads is the first message.
    let mut input = Input::new()?;
    let (mut chat, stored) = open::chat(found, &cli.model, printer)?;
    let mut session = Session::new(printer, interrupts, calls);
    if input.is_terminal() {
        printer.note(WELCOME);
    }
    let mut was_interrupted = false;
    loop {
        let line = match input.line(PROMPT, &session)? {
            Line::Text(line) => line,
            Line::End => break,
            Line::Interrupted { is_first: false } if was_interrupted => {
                return Ok(interrupted());
            }
            Line::Interrupted { .. } => {
                was_interrupted = true;
                printer.say(msg!("interrupt-again"));
                continue;
            }
        };
        (was_interrupted, session.answered) = (false, false);
        match act(&line, &mut chat, &mut session, &mut input) {
            Ok(Action::Continue) => {}
            Ok(Action::Leave) => break,
            Err(error) if error.is::<Unwritable>() => return Err(error),
            Err(error) => {
                printer.error(&error);
                if error.is::<Unanswered>() {
                    printer.say(if chat.awaits_results() {
                        msg!("give-results")
                    } else {
                        msg!("conversation-kept")
                    });
                }
            }
        }
    }
    if let Some(stored) = stored {
        stored.finish();
    }
    Ok(ExitCode::SUCCESS)
}
