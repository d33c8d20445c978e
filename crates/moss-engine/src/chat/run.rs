//! An answer in the making, and how it becomes part of the conversation.

use std::collections::VecDeque;

use moss_text::{Outcome, Reply, SegmentKind, Step, Turn};

use super::{Begun, Chat};
use crate::{CancelHandle, EngineError, Event, Run};

/// An answer in the making. Dropping it cancels it and keeps what there is of it.
///
/// Its events are those of a request, with these differences: [`Event::TurnsDropped`] may come
/// first, pieces are not empty and have no white space at the beginning of a part, and
/// [`Event::Prefill`] comes again where a model goes on by itself after calling no plugin. Usage
/// and timings of [`Event::Finished`] are those of both runs together, and the turn is part of the
/// conversation then. At [`Event::Failed`] the generated part of the answer is part of the
/// conversation, or the question alone, which the model is not shown again; [`Chat::regenerate`]
/// asks once more. An answer that this one was to replace stays, as do commands that wait for
/// results.
#[derive(Debug)]
pub struct ChatRun<'a> {
    chat: &'a mut Chat,
    run: Run,
    reply: Reply,
    /// The turn as it grows; gone once it is part of the conversation.
    turn: Option<Turn>,
    /// The turn that this one replaces.
    old: Option<Turn>,
    /// Whether a token has come.
    has_spoken: bool,
    ready: VecDeque<Event>,
    /// The part whose text was shown last.
    shown: Option<SegmentKind>,
    /// The model has gone on by itself.
    has_gone_on: bool,
}

impl<'a> ChatRun<'a> {
    /// `turn` may hold a reply to go on from; `old` comes back if nothing is made of it.
    pub(super) fn new(chat: &'a mut Chat, begun: Begun, turn: Turn, old: Option<Turn>) -> Self {
        let Begun {
            run,
            reply,
            dropped,
        } = begun;
        let dropped = (dropped > 0).then_some(Event::TurnsDropped { count: dropped });
        Self {
            chat,
            run,
            reply,
            turn: Some(turn),
            old,
            has_spoken: false,
            ready: dropped.into_iter().collect(),
            shown: None,
            has_gone_on: false,
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
            Event::Started { .. } if self.has_gone_on => {}
            Event::Text {
                id, kind, piece, ..
            } => self.say(id, kind, &piece),
            Event::Finished(outcome) => self.end(outcome),
            Event::Failed(error) => {
                self.keep_the_longer();
                self.commit();
                self.ready.push_back(Event::Failed(error));
            }
            event => self.ready.push_back(event),
        }
    }

    fn say(&mut self, id: Option<u32>, kind: SegmentKind, piece: &str) {
        self.reply.push(id, kind, piece);
        if let Some(turn) = &mut self.turn {
            turn.reply.extend(id);
            self.has_spoken |= id.is_some();
        }
        // The space behind a label belongs to the label.
        let piece = if self.shown == Some(kind) {
            piece
        } else {
            piece.trim_start()
        };
        if !piece.is_empty() {
            self.shown = Some(kind);
            self.ready.push_back(Event::Text {
                id,
                kind,
                piece: piece.to_owned(),
                tokens: Vec::new(),
                logprobs: None,
            });
        }
    }

    /// Ends a run. Another one that the engine refuses, since somebody else has filled its queue,
    /// leaves a turn that waits for results.
    fn end(&mut self, outcome: Outcome) {
        let generated = self.reply.ids().len();
        if let Step::Run(next) = self.reply.end(outcome) {
            let (cancel, seed) = (self.run.cancel_handle(), self.run.seed());
            if let Ok(run) = self.chat.submit(next, cancel, Some(seed)) {
                let results = &self.reply.ids()[generated..];
                if let Some(turn) = &mut self.turn {
                    turn.reply.extend_from_slice(results);
                }
                (self.run, self.has_gone_on) = (run, true);
                return;
            }
        }
        self.commit();
        let outcome = self.reply.take_outcome();
        self.ready
            .push_back(outcome.map_or(Event::Failed(EngineError::ShutDown), Event::Finished));
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
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
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
