//! The chat at the terminal, or over a pipe.

mod commands;
mod input;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::Context;
use moss::{
    Chat, ChatEvent, PromptBuilder, StopCause, SystemText,
    engine::{CancelHandle, ChatRun},
    text::SegmentKind,
};

use self::{
    commands::{Action, act},
    input::{Input, Line},
};
use crate::{args::Cli, commands::generate, hints, messages::WELCOME, open, printer::Printer};

pub(crate) fn run(cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let opened = open::engine(cli, printer)?;
    let tokenizer = generate::tokenizer(opened.engine.tokenizer(), &opened.model.folder)?;
    let stop_ids = vec![tokenizer.special()?.eom];
    let system = cli.answer.system.clone().map_or(SystemText::Published, SystemText::Custom);
    let builder = PromptBuilder::new(tokenizer, system, open::plugins(&cli.answer, &opened.model)?)?;
    let options = open::chat_options(&cli.answer, stop_ids)?;
    let mut chat = Chat::new(Arc::new(opened.engine), builder, options);
    let mut session = Session { printer, answering: Arc::default(), outcome: None };
    session.watch_interrupts()?;

    let mut input = Input::new()?;
    if input.is_terminal() {
        printer.note(WELCOME);
    }
    loop {
        let line = match input.line("<|Human|>: ", printer)? {
            Line::Text(line) => line,
            Line::End => break,
        };
        let done = act(&line, &mut chat, &mut session, &mut input);
        match done {
            Ok(Action::Continue) => {}
            Ok(Action::Leave) => break,
            Err(error) if crate::printer::is_broken_pipe(&error) => return Err(error),
            // Whatever went wrong, the conversation is as it was.
            Err(error) => printer.error(&error, hints::hint(&error)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What lasts from line to line, besides the conversation.
pub(crate) struct Session<'a> {
    pub(crate) printer: &'a Printer,
    /// The answer in the making, for Ctrl-C.
    answering: Arc<Mutex<Option<CancelHandle>>>,
    /// The last answer, for /stats.
    pub(crate) outcome: Option<moss::Outcome>,
}

impl Session<'_> {
    /// Ctrl-C stops an answer; where there is none, the program.
    fn watch_interrupts(&self) -> anyhow::Result<()> {
        let answering = self.answering.clone();
        ctrlc::set_handler(move || match answering.lock().ok().and_then(|mut handle| handle.take()) {
            Some(handle) => handle.cancel(),
            None => std::process::exit(130),
        })
        .context("cannot watch for Ctrl-C")
    }

    /// Streams an answer to its end.
    pub(crate) fn stream(&mut self, run: ChatRun<'_>) -> anyhow::Result<()> {
        self.set(Some(run.cancel_handle()));
        let shown = self.show(run);
        self.set(None);
        shown
    }

    fn show(&mut self, run: ChatRun<'_>) -> anyhow::Result<()> {
        let printer = self.printer;
        let mut part = SegmentKind::Answer;
        for event in run {
            match event {
                ChatEvent::TurnsDropped { count } => printer.note(&printer.language.turns_dropped(count)),
                ChatEvent::Text { kind: SegmentKind::Answer, piece } => {
                    if part != SegmentKind::Answer {
                        printer.aside("\n");
                    }
                    part = SegmentKind::Answer;
                    printer.answer(&piece)?;
                }
                ChatEvent::Text { kind, piece } => {
                    if part != kind {
                        printer.aside(match kind {
                            SegmentKind::Commands => "\n[commands] ",
                            _ => "[thoughts] ",
                        });
                    }
                    part = kind;
                    printer.aside(&piece);
                }
                ChatEvent::Finished(outcome) => {
                    if part == SegmentKind::Answer {
                        printer.answer("\n")?;
                    } else {
                        printer.aside("\n");
                    }
                    self.say_why(&outcome.cause);
                    self.outcome = Some(outcome);
                }
                ChatEvent::Failed(error) => return Err(error).context("cannot answer"),
                ChatEvent::Started { .. } | ChatEvent::Prefill { .. } => {}
            }
        }
        Ok(())
    }

    /// Says why an answer ended, where it did not end by itself.
    fn say_why(&self, cause: &StopCause) {
        let pick = |en, zh| self.printer.note(self.printer.language.pick(en, zh));
        match cause {
            StopCause::Cancelled => pick("(stopped)", "（已停止）"),
            StopCause::TimeLimit => pick("(the time limit has passed)", "（已到时间上限）"),
            StopCause::WindowFull => pick("(the window is full)", "（窗口已满）"),
            StopCause::MaxNewTokens => {
                pick("(as long as --max-new-tokens allows)", "（已到 --max-new-tokens 上限）")
            }
            StopCause::EndOfTurn | StopCause::StopString(_) => {}
        }
    }

    fn set(&self, handle: Option<CancelHandle>) {
        if let Ok(mut answering) = self.answering.lock() {
            *answering = handle;
        }
    }

    /// A plugin model that commands nothing is told so at once; otherwise the user gives the results.
    pub(crate) fn after_commands(&mut self, chat: &mut Chat) -> anyhow::Result<()> {
        if !chat.awaits_results() {
            return Ok(());
        }
        let text = self.outcome.as_ref().map_or("", |outcome| outcome.text.as_str());
        if text.trim_end().ends_with("None") {
            let run = chat.results("None")?;
            return self.stream(run);
        }
        self.printer.note(
            self.printer
                .language
                .pick("(give the results with `/results TEXT`)", "（请用 `/results 文本` 提供结果）"),
        );
        Ok(())
    }
}
