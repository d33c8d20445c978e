//! A prompt in parts, each encoded once: which turns fit the context window, and the ids of those.

use std::ops::Range;

use crate::{PromptBuilder, SegmentKind, TextError, Turn, turns_to_drop};

/// A prompt, and how its reply begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The part of the reply that the model writes next.
    pub next: SegmentKind,
    /// The model continues text of an answer: white space at the beginning is part of it. False
    /// from [`PromptLayout::into_prompt`], to be set where it is so.
    pub continues: bool,
    /// Number of oldest turns that were left out.
    pub dropped: usize,
}

/// The parts of a prompt: the instruction, the turns of a conversation, the user's last message,
/// and the beginning of a reply to it.
#[derive(Debug)]
pub struct PromptLayout<'a> {
    builder: &'a PromptBuilder,
    turns: &'a [Turn],
    user: &'a str,
    begun: &'a [u32],
    eom: u32,
    /// Ids of each turn's opening, the last message's at the end; empty for turns without an
    /// answer.
    openings: Vec<Vec<u32>>,
    /// Index of the opening that was encoded together with the instruction.
    first: usize,
    /// Tokens of the instruction in it.
    instruction: usize,
}

impl PromptBuilder {
    /// Encodes the parts of a prompt: `turns`, the message `user`, and the ids `begun` of a reply
    /// to it that the model goes on from.
    ///
    /// Turns without an answer are left out: an empty one would be an example of how to answer, and
    /// what made an answer fail would do so again.
    ///
    /// # Errors
    /// [`TextError::Encode`] when the tokenizers crate fails.
    pub fn layout<'a>(
        &'a self,
        turns: &'a [Turn],
        user: &'a str,
        begun: &'a [u32],
    ) -> Result<PromptLayout<'a>, TextError> {
        let first = first_shown(turns, 0);
        let mut openings = Vec::with_capacity(turns.len() + 1);
        for (index, turn) in turns.iter().enumerate() {
            openings.push(if turn.reply.is_empty() {
                Vec::new()
            } else {
                self.opening(index == first, &turn.user)?
            });
        }
        openings.push(self.opening(turns.len() == first, user)?);
        Ok(PromptLayout {
            builder: self,
            turns,
            user,
            begun,
            eom: self.tokenizer().special()?.eom,
            instruction: self.instruction_tokens(&openings[first]),
            openings,
            first,
        })
    }

    /// Tokens of the instruction at the beginning of `ids`. The tokenizer never joins the line
    /// break at its end with what follows.
    fn instruction_tokens(&self, ids: &[u32]) -> usize {
        let bytes = self.instruction().len();
        let ends = ids.iter().scan(0, |end, id| {
            *end += self.tokenizer().token_bytes(*id).len();
            Some(*end)
        });
        ends.take_while(|end| *end <= bytes).count()
    }
}

impl PromptLayout<'_> {
    /// Counts the tokens of the prompt for message `range.end` after the turns in `range`; the last
    /// message's number is the number of turns. `begun` counts the beginning of a reply too.
    pub fn tokens(&self, range: Range<usize>, begun: bool) -> usize {
        let shown = range
            .clone()
            .filter(|turn| !self.openings[*turn].is_empty());
        // A line break stands between two turns.
        let turns = shown.map(|turn| self.opening(turn) + self.reply(turn) + 1);
        let begun = if begun { self.begun.len() } else { 0 };
        self.instruction + turns.sum::<usize>() + self.opening(range.end) + begun
    }

    /// Returns how many of the oldest turns must be left out; see [`turns_to_drop`].
    ///
    /// # Errors
    /// [`TextError::TurnTooLong`] when the last message alone does not fit.
    pub fn fit(
        &self,
        max_new_tokens: Option<usize>,
        context_length: usize,
    ) -> Result<usize, TextError> {
        let turns = self.turns.len();
        turns_to_drop(
            |dropped| Ok(self.tokens(dropped..turns, true)),
            turns,
            max_new_tokens,
            context_length,
        )
    }

    /// Returns the prompt without the `dropped` oldest turns.
    ///
    /// # Errors
    /// [`TextError::Encode`] when the tokenizers crate fails.
    pub fn into_prompt(self, dropped: usize) -> Result<Prompt, TextError> {
        let dropped = dropped.min(self.turns.len());
        let first = first_shown(self.turns, dropped);
        let mut ids = if first == self.first {
            self.openings[first].clone()
        } else {
            let user = self.turns.get(first).map_or(self.user, |turn| &turn.user);
            self.builder.opening(true, user)?
        };
        for index in first..self.turns.len() {
            let reply = &self.turns[index].reply;
            ids.extend_from_slice(reply);
            if !reply.is_empty() && reply.last() != Some(&self.eom) {
                ids.push(self.eom); // a reply that was cut off
            }
            ids.extend_from_slice(&self.openings[index + 1]);
        }
        ids.extend_from_slice(self.begun);
        let thinks = self.builder.plugins().is_some() && self.begun.is_empty();
        Ok(Prompt {
            ids,
            next: if thinks {
                SegmentKind::Thoughts
            } else {
                SegmentKind::Answer
            },
            continues: false,
            dropped,
        })
    }

    /// Tokens of an opening, without the instruction or the line break before it.
    fn opening(&self, index: usize) -> usize {
        let before = if index == self.first {
            self.instruction
        } else {
            1
        };
        self.openings[index].len().saturating_sub(before)
    }

    /// Tokens of a turn's reply, closed.
    fn reply(&self, index: usize) -> usize {
        let reply = &self.turns[index].reply;
        reply.len() + usize::from(reply.last() != Some(&self.eom))
    }
}

/// Index of the first turn from `start` on that has an answer, or the number of turns.
fn first_shown(turns: &[Turn], start: usize) -> usize {
    let answered = |turn: &Turn| !turn.reply.is_empty();
    let found = turns[start..].iter().position(answered);
    found.map_or(turns.len(), |offset| start + offset)
}
