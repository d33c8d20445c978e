//! The chat at the terminal, or over a pipe.

mod answer;
mod commands;
mod input;
mod keys;
mod params;

use std::{process::ExitCode, sync::Arc};

use moss::Chat;

pub(crate) use self::answer::Unanswered;
#[cfg(test)]
pub(crate) use self::commands::NAMES;
use self::{
    answer::Session,
    commands::{Action, act},
    input::{Input, Line},
};
use crate::{
    args::Cli,
    fetch,
    interrupt::Interrupts,
    messages::{Message, WELCOME},
    open,
    printer::{Printer, Unwritable},
};

const PROMPT: &str = "<|Human|>: ";

pub(crate) fn run(cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let model = fetch::find_or_fetch(&cli.model, printer)?;
    let interrupts = Interrupts::watch(printer)?;
    // Before the model loads: what is typed meanwhile is the first message.
    let mut input = Input::new()?;
    let opened = open::engine_on(model, cli, printer)?;
    let builder = open::prompt_builder(cli, &opened)?;
    let options = open::chat_options(&cli.answer, Vec::new())?;
    let mut chat = Chat::new(Arc::new(opened.engine), builder, options);
    let mut session = Session::new(printer, interrupts);
    if input.is_terminal() {
        printer.note(WELCOME);
    }
    let mut interrupted = false;
    loop {
        let line = match input.line(PROMPT, &session)? {
            Line::Text(line) => line,
            Line::End => break,
            Line::Interrupted { starts_over: false } if interrupted => {
                return Ok(crate::interrupted());
            }
            Line::Interrupted { .. } => {
                interrupted = true;
                printer.say(Message::InterruptAgain);
                continue;
            }
        };
        (interrupted, session.answered) = (false, false);
        match act(&line, &mut chat, &mut session, &mut input) {
            Ok(Action::Continue) => {}
            Ok(Action::Leave) => break,
            Err(error) if error.is::<Unwritable>() => return Err(error),
            Err(error) => {
                printer.error(&error);
                if error.is::<Unanswered>() {
                    let waits = chat.awaits_results();
                    printer.say(if waits {
                        Message::GiveResults
                    } else {
                        Message::Kept
                    });
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
