//! The reply that is being generated, and its place in the conversation.

use std::collections::VecDeque;

use moss_text::{Outcome, Reply, SegmentKind, Step, Turn};

use super::{
    ChatOptions,
    state::{ChatState, SubmittedTurn},
};
use crate::{CancelHandle, EngineError, Event, Run};

/// A reply that is being generated. Dropping it cancels the generation and keeps the partial reply.
///
/// Its events are those of a request, with these differences:
///
/// - [`Event::TurnsDropped`] may come first.
/// - The text of [`Event::Text`] is not empty and has no white space at the start of a segment.
/// - [`Event::Prefill`] comes again if a model calls no plugin and its reply continues. Usage and
///   timings of [`Event::Finished`] are then those of both runs together.
///
/// At [`Event::Finished`], the turn is part of the conversation. At [`Event::Failed`], the turn has
/// the generated part of the reply; a turn without a reply is left out of later prompts, and
/// [`Chat::regenerate`](super::Chat::regenerate) repeats it. A reply that this one was to replace is
/// kept, and so are plugin calls that wait for results.
#[derive(Debug)]
pub struct ChatRun<'a> {
    state: &'a mut ChatState,
    options: &'a ChatOptions,
    run: Run,
    reply: Reply,
    /// The turn with the reply so far; `None` once it is part of the conversation.
    turn: Option<Turn>,
    /// The turn that this one replaces.
    old: Option<Turn>,
    /// Is true after the first token.
    has_tokens: bool,
    /// Events that are not returned yet.
    ready: VecDeque<Event>,
    /// The segment of the last text.
    shown: Option<SegmentKind>,
    /// Is true if the reply continues after plugin turns without calls.
    is_continued: bool,
}

impl<'a> ChatRun<'a> {
    /// `turn` may have a reply to continue; `old` is restored if the new reply has no tokens.
    pub(super) fn new(
        state: &'a mut ChatState,
        options: &'a ChatOptions,
        submitted: SubmittedTurn,
        turn: Turn,
        old: Option<Turn>,
    ) -> Self {
        let SubmittedTurn {
            run,
            reply,
            dropped,
        } = submitted;
        let dropped = (dropped > 0).then_some(Event::TurnsDropped { count: dropped });
        Self {
            state,
            options,
            run,
            reply,
            turn: Some(turn),
            old,
            has_tokens: false,
            ready: dropped.into_iter().collect(),
            shown: None,
            is_continued: false,
        }
    }

    /// Cancels the generation. The last event follows.
    pub fn cancel(&self) {
        self.run.cancel();
    }

    /// Returns a handle that cancels this reply from another thread or from a signal handler.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.run.cancel_handle()
    }

    /// Returns the seed that reproduces this reply.
    pub fn seed(&self) -> u64 {
        self.run.seed()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Started { .. } if self.is_continued => {}
            Event::Text {
                id, kind, piece, ..
            } => self.add_text(id, kind, &piece),
            Event::Finished(outcome) => self.finish(outcome),
            Event::Failed(error) => {
                self.discard_if_shorter();
                self.commit();
                self.ready.push_back(Event::Failed(error));
            }
            event => self.ready.push_back(event),
        }
    }

    fn add_text(&mut self, id: Option<u32>, kind: SegmentKind, piece: &str) {
        self.reply.push(id, kind, piece);
        if let Some(turn) = &mut self.turn {
            turn.reply.extend(id);
            self.has_tokens |= id.is_some();
        }
        // The white space after a label is part of the label.
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

    /// Ends a run, and starts the next one of the reply if there is one. If the engine rejects it,
    /// because it has stopped, the turn waits for results.
    fn finish(&mut self, outcome: Outcome) {
        let generated = self.reply.ids().len();
        if let Step::Run(next) = self.reply.end(outcome) {
            let (cancel, seed) = (self.run.cancel_handle(), self.run.seed());
            if let Ok(run) = self.state.submit(next, self.options, cancel, Some(seed)) {
                let results = &self.reply.ids()[generated..];
                if let Some(turn) = &mut self.turn {
                    turn.reply.extend_from_slice(results);
                }
                (self.run, self.is_continued) = (run, true);
                return;
            }
        }
        self.commit();
        let outcome = self.reply.take_outcome();
        self.ready
            .push_back(outcome.map_or(Event::Failed(EngineError::ShutDown), Event::Finished));
    }

    /// Discards a partial reply, unless it continues the old one.
    fn discard_if_shorter(&mut self) {
        if let (Some(turn), Some(old)) = (&self.turn, &self.old)
            && !turn.reply.starts_with(&old.reply)
        {
            self.turn = None;
        }
    }

    /// Adds the turn to the conversation, or the one that it was to replace if there are no new
    /// tokens.
    fn commit(&mut self) {
        let (turn, old) = (self.turn.take(), self.old.take());
        self.state.turns.extend(if self.has_tokens {
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
            self.handle(event);
        }
        self.ready.pop_front()
    }
}

impl Drop for ChatRun<'_> {
    fn drop(&mut self) {
        self.commit(); // keeps the partial reply
    }
}
