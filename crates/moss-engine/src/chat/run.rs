//! An answer in the making, and how it becomes part of the conversation.

use std::collections::VecDeque;

use moss_text::{EMPTY_PART, SegmentKind, SegmentStream, SegmentText, Turn};

use super::{Chat, ChatEvent};
use crate::{CancelHandle, Event, Outcome, Run};

/// An answer in the making. Dropping it cancels it and keeps what there is of it.
#[derive(Debug)]
pub struct ChatRun<'a> {
    chat: &'a mut Chat,
    run: Run,
    segments: SegmentStream,
    /// The turn as it grows; gone once it is part of the conversation.
    turn: Option<Turn>,
    /// The turn that this one replaces.
    old: Option<Turn>,
    /// Whether a token has come.
    has_spoken: bool,
    ready: VecDeque<ChatEvent>,
    /// The part whose text was shown last.
    shown: Option<SegmentKind>,
    /// Text of the commands so far.
    commands: String,
    /// The part that ended in no command, where the model has gone on since.
    before: Option<Outcome>,
}

impl<'a> ChatRun<'a> {
    /// `turn` may hold a reply to go on from; `old` comes back if nothing is made of it.
    pub(super) fn new(
        chat: &'a mut Chat,
        (run, segments, dropped): (Run, SegmentStream, usize),
        turn: Turn,
        old: Option<Turn>,
    ) -> Self {
        let ready = turns_dropped(dropped).into_iter().collect();
        let (turn, commands) = (Some(turn), String::new());
        Self {
            chat,
            run,
            segments,
            turn,
            old,
            has_spoken: false,
            ready,
            shown: None,
            commands,
            before: None,
        }
    }

    /// Asks the answer to end; its last event is still to come.
    pub fn cancel(&self) {
        self.run.cancel();
    }

    /// Cancels this answer from another thread, or from a signal handler.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.run.cancel_handle()
    }

    /// The seed that makes this answer again.
    pub fn seed(&self) -> u64 {
        self.run.seed()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Started { .. } if self.before.is_some() => {}
            Event::Started {
                prompt_tokens,
                reused_tokens,
            } => {
                self.ready.push_back(ChatEvent::Started {
                    prompt_tokens,
                    reused_tokens,
                });
            }
            Event::Prefill { done, total } => {
                self.ready.push_back(ChatEvent::Prefill { done, total })
            }
            Event::Text { id: Some(id), .. } => {
                if let Some(turn) = &mut self.turn {
                    turn.reply.push(id);
                    self.has_spoken = true;
                }
                let texts = self.segments.push(id);
                self.show(texts);
            }
            Event::Text { id: None, .. } => {}
            Event::Finished(outcome) => {
                let texts = self.segments.finish();
                self.show(texts);
                if let Some(outcome) = self.go_on(outcome) {
                    self.commit();
                    self.ready.push_back(ChatEvent::Finished(outcome));
                }
            }
            Event::Failed(error) => {
                let texts = self.segments.finish();
                self.show(texts);
                self.keep_the_longer();
                self.commit();
                self.ready.push_back(ChatEvent::Failed(error));
            }
        }
    }

    fn show(&mut self, texts: Vec<SegmentText>) {
        for SegmentText { kind, piece } in texts {
            if kind == SegmentKind::Commands {
                self.commands.push_str(&piece);
            }
            // The space behind a label belongs to the label.
            let begins = self.shown != Some(kind);
            let piece = if begins {
                piece.trim_start().to_owned()
            } else {
                piece
            };
            if !piece.is_empty() {
                self.shown = Some(kind);
                self.ready.push_back(ChatEvent::Text { kind, piece });
            }
        }
    }

    /// A model that commands nothing is told so and goes on, once a turn. Gives the whole turn's
    /// outcome back if it is over instead.
    fn go_on(&mut self, outcome: Outcome) -> Option<Outcome> {
        let Some(before) = self.before.take() else {
            return self.tell_no_results(outcome);
        };
        Some(together(before, outcome))
    }

    fn tell_no_results(&mut self, outcome: Outcome) -> Option<Outcome> {
        let turn = self
            .turn
            .as_ref()
            .filter(|turn| self.chat.ends_in_commands(turn));
        let (Some(turn), EMPTY_PART) = (turn, self.commands.trim()) else {
            return Some(outcome);
        };
        let Ok(results) = self.chat.builder.results(EMPTY_PART) else {
            return Some(outcome);
        };
        let mut next = turn.clone();
        next.reply.extend(results);
        // Somebody else may have filled the queue; the turn then waits for its results as one with
        // commands does.
        let again = self
            .chat
            .submit(&next, self.run.cancel_handle(), Some(self.run.seed()));
        let Ok((run, segments, dropped)) = again else {
            return Some(outcome);
        };
        self.ready.extend(turns_dropped(dropped));
        (self.run, self.segments, self.turn, self.before) =
            (run, segments, Some(next), Some(outcome));
        None
    }

    /// Half an answer replaces a whole one only if it goes on from it.
    fn keep_the_longer(&mut self) {
        if let (Some(turn), Some(old)) = (&self.turn, &self.old)
            && !turn.reply.starts_with(&old.reply)
        {
            self.turn = None;
        }
    }

    /// Makes the turn part of the conversation, or the one that it was to replace if there is
    /// nothing of it.
    fn commit(&mut self) {
        let (turn, old) = (self.turn.take(), self.old.take());
        self.chat.turns.extend(if self.has_spoken {
            turn.or(old)
        } else {
            old.or(turn)
        });
    }
}

impl Iterator for ChatRun<'_> {
    type Item = ChatEvent;

    fn next(&mut self) -> Option<ChatEvent> {
        while self.ready.is_empty() {
            let event = self.run.next()?;
            self.take(event);
        }
        self.ready.pop_front()
    }
}

impl Drop for ChatRun<'_> {
    fn drop(&mut self) {
        // Cancelled half-way: what was said stays said.
        self.commit();
    }
}

fn turns_dropped(count: usize) -> Option<ChatEvent> {
    (count > 0).then_some(ChatEvent::TurnsDropped { count })
}

/// Two parts of one turn: everything added up, but the prompt, which is the first one's.
fn together(mut first: Outcome, second: Outcome) -> Outcome {
    first.cause = second.cause;
    first.ids.extend(second.ids);
    first.text.push_str(&second.text);
    first.usage.prefilled_tokens += second.usage.prefilled_tokens;
    first.usage.generated_tokens += second.usage.generated_tokens;
    first.timings.queued += second.timings.queued;
    first.timings.prefill += second.timings.prefill;
    first.timings.decode += second.timings.decode;
    first
}
