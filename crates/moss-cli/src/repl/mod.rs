//! The chat at the terminal, or over a pipe.

mod answer;
mod commands;
mod input;
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
    messages::{Message, WELCOME},
    open,
    printer::{Printer, Unwritable},
};

const PROMPT: &str = "<|Human|>: ";

pub(crate) fn run(cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let opened = open::engine(cli, printer)?;
    let builder = open::prompt_builder(cli, &opened)?;
    let options = open::chat_options(&cli.answer, vec![builder.tokenizer().special()?.eom])?;
    let mut chat = Chat::new(Arc::new(opened.engine), builder, options);
    let mut session = Session::new(printer)?;
    let mut input = Input::new()?;
    if input.is_terminal() {
        printer.note(WELCOME);
    }
    let mut interrupted = false;
    loop {
        let line = match input.line(PROMPT, printer)? {
            Line::Text(line) => line,
            Line::End => break,
            Line::Interrupted if interrupted => return Ok(crate::interrupted()),
            Line::Interrupted => {
                interrupted = true;
                printer.say(Message::InterruptAgain);
                continue;
            }
        };
        interrupted = false;
        match act(&line, &mut chat, &mut session, &mut input) {
            Ok(Action::Continue) => {}
            Ok(Action::Leave) => break,
            Err(error) if error.is::<Unwritable>() => return Err(error),
            Err(error) => {
                printer.error(&error);
                if error.is::<Unanswered>() {
                    let waits = chat.awaits_results();
                    printer.say(if waits { Message::GiveResults } else { Message::Kept });
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
