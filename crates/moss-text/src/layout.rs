//! The parts of a prompt, each encoded once, and the turns that fit the context length.

use std::ops::Range;

use crate::{PromptBuilder, SegmentKind, TextError, Turn, turns_to_drop};

/// A prompt, and the first segment of its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The segment of the reply that the model writes next.
    pub next: SegmentKind,
    /// Is true if the model continues text of an answer, so that leading white space is part of
    /// it. [`PromptLayout::into_prompt`] sets it to false.
    pub continues: bool,
    /// The number of oldest turns that were left out.
    pub dropped: usize,
}

/// The parts of a prompt: the system prompt, the turns of a conversation, the user's last message,
/// and the start of the reply to it.
#[derive(Debug)]
pub struct PromptLayout<'a> {
    builder: &'a PromptBuilder,
    turns: &'a [Turn],
    user: &'a str,
    begun: &'a [u32],
    eom: u32,
    /// Ids of each turn's opening (the message with its labels), the last message's at the end;
    /// empty for turns without a reply.
    openings: Vec<Vec<u32>>,
    /// Index of the opening that was encoded together with the system prompt.
    first: usize,
    /// Tokens of the system prompt in it.
    instruction: usize,
}

impl PromptBuilder {
    /// Encodes the parts of a prompt: `turns`, the message `user`, and the ids `begun` of a reply
    /// that the model continues.
    ///
    /// Turns without a reply are left out: an empty reply would be an example to the model, and a
    /// message that made a reply fail would do so again.
    ///
    /// # Errors
    /// [`TextError::Encode`] if the tokenizers crate fails.
    pub fn layout<'a>(
        &'a self,
        turns: &'a [Turn],
        user: &'a str,
        begun: &'a [u32],
    ) -> Result<PromptLayout<'a>, TextError> {
        let first = first_shown(turns, 0);
        let opening = |(index, turn): (usize, &Turn)| {
            if turn.reply.is_empty() {
                Ok(Vec::new())
            } else {
                self.opening(index == first, &turn.user)
            }
        };
        let openings = turns.iter().enumerate().map(opening);
        let mut openings = openings.collect::<Result<Vec<_>, _>>()?;
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

    /// Returns the tokens of the system prompt at the start of `ids`. The tokenizer never merges
    /// the line feed at its end with the following text.
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
    /// Returns the ids of the system prompt.
    pub fn instruction(&self) -> &[u32] {
        &self.openings[self.first][..self.instruction]
    }

    /// Returns the tokens of the prompt for message `range.end` after the turns in `range`; the
    /// index of the last message is the number of turns. With `begun`, the start of the reply
    /// counts too.
    pub fn tokens(&self, range: Range<usize>, begun: bool) -> usize {
        let shown = range
            .clone()
            .filter(|turn| !self.openings[*turn].is_empty());
        // One line feed separates two turns.
        let turns = shown.map(|turn| self.opening(turn) + self.reply(turn) + 1);
        let begun = if begun { self.begun.len() } else { 0 };
        self.instruction + turns.sum::<usize>() + self.opening(range.end) + begun
    }

    /// Returns how many of the oldest turns must be left out; see [`turns_to_drop`].
    ///
    /// # Errors
    /// [`TextError::TurnTooLong`] if the last message alone does not fit.
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
    /// [`TextError::Encode`] if the tokenizers crate fails.
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
                ids.push(self.eom); // closes a partial reply
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

    /// Returns the tokens of an opening, without the preceding system prompt or line feed.
    fn opening(&self, index: usize) -> usize {
        let before = if index == self.first {
            self.instruction
        } else {
            1
        };
        self.openings[index].len().saturating_sub(before)
    }

    /// Returns the tokens of a turn's reply, including its `<eom>`.
    fn reply(&self, index: usize) -> usize {
        let reply = &self.turns[index].reply;
        reply.len() + usize::from(reply.last() != Some(&self.eom))
    }
}

/// Returns the index of the first turn from `start` on that has a reply, or the number of turns.
fn first_shown(turns: &[Turn], start: usize) -> usize {
    let has_reply = |turn: &Turn| !turn.reply.is_empty();
    let found = turns[start..].iter().position(has_reply);
    found.map_or(turns.len(), |offset| start + offset)
}
