//! Shows an answer while it is generated, and stops it on Ctrl-C.

use moss::{
    Chat, Event, Outcome,
    engine::ChatRun,
    plugins::{Citations, Source},
    text::SegmentKind,
};

use moss_messages::msg;

use crate::{
    errors::Unanswered,
    interrupt::Interrupts,
    messages::{ending_of_chat, last_answer},
    output::Created,
    plugins::{Calls, MAX_ROUNDS, show_sources},
    printer::Printer,
    progress::PrefillBar,
    terminal,
};

/// The state of a chat, without the conversation.
pub(crate) struct Session<'a> {
    pub(crate) printer: &'a Printer,
    pub(crate) interrupts: Interrupts,
    calls: Calls,
    /// The passages that the answer may cite.
    sources: Vec<Source>,
    /// The last answer, for `/stats`.
    pub(crate) outcome: Option<Outcome>,
    /// The last line was answered.
    pub(crate) answered: bool,
    /// Number of times that the last message was answered again.
    pub(crate) retries: u64,
    /// Files that `/save` wrote.
    pub(crate) created: Created,
}

impl<'a> Session<'a> {
    pub(crate) fn new(printer: &'a Printer, interrupts: Interrupts, calls: Calls) -> Self {
        Self {
            printer,
            interrupts,
            calls,
            sources: Vec::new(),
            outcome: None,
            answered: false,
            retries: 0,
            created: Created::default(),
        }
    }

    /// Streams an answer to its end.
    pub(crate) fn stream(&mut self, run: ChatRun<'_>) -> anyhow::Result<()> {
        let guard = self.interrupts.stop_with(run.cancel_handle());
        let shown = self.show(run);
        drop(guard);
        self.answered = true;
        shown
    }

    fn show(&mut self, run: ChatRun<'_>) -> anyhow::Result<()> {
        let printer = self.printer;
        let prefill = PrefillBar::new(printer);
        let (mut part, mut has_output) = (SegmentKind::Answer, false);
        let sources = std::mem::take(&mut self.sources);
        let mut citations = Citations::default();
        let end_line = |part| match part {
            SegmentKind::Answer => printer.answer("\n"),
            _ => {
                printer.aside("\n");
                Ok(())
            }
        };
        for event in run {
            terminal::reapply_after_stop();
            match event {
                Event::TurnsDropped { count } => printer.say(msg!("turns-dropped", count)),
                Event::Started {
                    prompt_tokens,
                    reused_tokens,
                } => {
                    prefill.start(prompt_tokens, reused_tokens);
                }
                Event::Prefill { done, .. } => prefill.advance(done),
                Event::Text { kind, piece, .. } => {
                    prefill.clear();
                    has_output = true;
                    if part != kind {
                        printer.aside(&match kind {
                            SegmentKind::Answer => "\n".into(),
                            SegmentKind::Commands => {
                                format!("\n{} ", printer.text(&msg!("commands")))
                            }
                            _ => format!("{} ", printer.text(&msg!("thoughts"))),
                        });
                        part = kind;
                    }
                    match kind {
                        SegmentKind::Answer if sources.is_empty() => printer.answer(&piece)?,
                        SegmentKind::Answer => printer.answer(&citations.push(&piece))?,
                        _ => printer.aside(&piece),
                    }
                }
                Event::Finished(outcome) => {
                    prefill.clear();
                    printer.answer(&citations.finish())?;
                    end_line(part)?;
                    show_sources(&sources, citations.numbers(), printer);
                    if let Some(why) = ending_of_chat(&outcome) {
                        printer.say(why);
                    }
                    printer.detail(&printer.text(&last_answer(&outcome)));
                    self.outcome = Some(outcome);
                }
                Event::Failed(source) => {
                    prefill.clear();
                    if has_output {
                        printer.answer(&citations.finish())?;
                        end_line(part)?;
                    }
                    return Err(Unanswered::from(source).into());
                }
            }
        }
        Ok(())
    }

    /// Runs the plugin calls of the last turn and continues it, or asks for their results.
    pub(crate) fn after_commands(&mut self, chat: &mut Chat) -> anyhow::Result<()> {
        for _ in 0..MAX_ROUNDS {
            let Some(commands) = chat.pending_commands() else {
                return Ok(());
            };
            let results = self.calls.run(&commands, self.printer, &self.interrupts)?;
            let Some(results) = results else {
                self.printer.say(msg!("give-results"));
                return Ok(());
            };
            self.sources = results.sources;
            let run = chat.results(&results.text)?;
            self.stream(run)?;
        }
        Ok(())
    }
}
