//! Log probabilities of an answer's tokens, in the formats of OpenAI's API.

use std::collections::{BTreeMap, VecDeque};

use moss_engine::TokenLogprobs;
use moss_text::{TokenText, Tokenizer};

use crate::wire::answer::{ChatLogprob, TextLogprobs, TokenLogprob};

/// A token of the text, its id, and the log probabilities of it and of others.
struct LikelyToken {
    token: TokenText,
    id: u32,
    likely: Box<TokenLogprobs>,
}

/// Keeps the likelihoods of tokens until their text is known.
pub(super) struct Likelihoods {
    tokenizer: Tokenizer,
    /// Index within its run of the first token that is kept.
    first: usize,
    kept: VecDeque<(u32, Box<TokenLogprobs>)>,
    /// Characters of the text so far.
    characters: usize,
}

impl Likelihoods {
    pub(super) fn new(tokenizer: &Tokenizer) -> Self {
        Self {
            tokenizer: tokenizer.clone(),
            first: 0,
            kept: VecDeque::new(),
            characters: 0,
        }
    }

    /// Begins the next run of a reply.
    pub(super) fn begin_run(&mut self) {
        self.first = 0;
        self.kept.clear();
    }

    /// Adds the next token of the run.
    pub(super) fn add(&mut self, token: Option<(u32, Box<TokenLogprobs>)>) {
        self.kept.extend(token);
    }

    /// Returns tokens in the format of chats. A token's text is its part of the content: it may
    /// complete a character, lose leading white space, or be truncated by a stop string. The other
    /// likely tokens are unchanged.
    pub(super) fn of_chat(&mut self, tokens: Vec<TokenText>) -> Vec<ChatLogprob> {
        let found = self.join(tokens);
        found
            .into_iter()
            .map(|LikelyToken { token, id, likely }| {
                let chosen = TokenLogprob {
                    token: token.text,
                    logprob: finite(likely.logprob),
                    bytes: token.bytes,
                };
                let other = |&(other, logprob): &(u32, f32)| {
                    if other == id {
                        return chosen.clone();
                    }
                    TokenLogprob {
                        token: self.text(other),
                        logprob: finite(logprob),
                        bytes: self.tokenizer.token_bytes(other).to_vec(),
                    }
                };
                ChatLogprob {
                    top_logprobs: likely.top.iter().map(other).collect(),
                    token: chosen,
                }
            })
            .collect()
    }

    /// Returns tokens in the older format.
    pub(super) fn of_text(&mut self, tokens: Vec<TokenText>) -> TextLogprobs {
        let mut logprobs = TextLogprobs::default();
        for LikelyToken { token, id, likely } in self.join(tokens) {
            let mut top = BTreeMap::new();
            for (other, logprob) in &likely.top {
                let text = if *other == id {
                    token.text.clone()
                } else {
                    self.text(*other)
                };
                // Parts of characters have equal texts; the most likely one is kept.
                top.entry(text).or_insert(finite(*logprob));
            }
            logprobs.text_offset.push(self.characters);
            self.characters += token.text.chars().count();
            logprobs.tokens.push(token.text);
            logprobs.token_logprobs.push(finite(likely.logprob));
            logprobs.top_logprobs.push(top);
        }
        logprobs
    }

    /// Returns tokens with their log probabilities. Tokens before them have no visible text.
    fn join(&mut self, tokens: Vec<TokenText>) -> Vec<LikelyToken> {
        let likely = |token: TokenText| {
            let skipped = token.index.checked_sub(self.first)?;
            self.kept.drain(..skipped.min(self.kept.len()));
            self.first = token.index + 1;
            let (id, likely) = self.kept.pop_front()?;
            Some(LikelyToken { token, id, likely })
        };
        tokens.into_iter().filter_map(likely).collect()
    }

    fn text(&self, id: u32) -> String {
        String::from_utf8_lossy(self.tokenizer.token_bytes(id)).into_owned()
    }
}

/// Replaces -inf, which JSON does not have, by OpenAI's value for impossible tokens.
fn finite(logprob: f32) -> f32 {
    logprob.max(-9999.0)
}
