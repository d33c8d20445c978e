//! What a request's owner gets to see.
//!
//! Order, for each request on a channel of its own: [`Event::Started`], any number of
//! [`Event::Prefill`], any number of [`Event::Text`], then exactly one of [`Event::Finished`] and
//! [`Event::Failed`]. A request that is cancelled or fails while it waits has only the last.

use std::time::Duration;

use serde::Serialize;

use crate::EngineError;

/// One step of a request's life.
#[derive(Debug, Clone)]
pub enum Event {
    /// The request runs.
    Started {
        /// Tokens of its prompt.
        prompt_tokens: usize,
        /// Those whose keys and values were in the cache already.
        reused_tokens: usize,
    },
    /// A chunk of the prompt is done.
    Prefill {
        /// Tokens of the prompt that are done.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// A token was generated, or text that was held back is released.
    Text {
        /// The token; none for text that is released at the end.
        id: Option<u32>,
        /// Whole characters that the token completes; may be empty.
        piece: String,
        /// How likely the model held the token to be, where the request asks for it.
        logprobs: Option<Box<TokenLogprobs>>,
    },
    /// The answer is complete.
    Finished(Outcome),
    /// There is no answer.
    Failed(EngineError),
}

/// How likely the model held a token to be: natural logarithms of probabilities over the ids that
/// may be drawn, before any filter.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// Of the token that was drawn.
    pub logprob: f32,
    /// The likeliest tokens, as many as the request asks for, the likeliest first.
    pub top: Vec<(u32, f32)>,
}

/// Why generation stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// A stop token was generated; it is the last of the ids.
    EndOfTurn,
    /// The text reached this string, which is not part of it.
    StopString(String),
    /// As many tokens as asked for.
    MaxNewTokens,
    /// The answer's time limit has passed; it starts at the first token, so there is at least one.
    TimeLimit,
    /// The prompt was not processed within its time limit: there is no answer.
    PromptTimeLimit,
    /// The model's window is full.
    WindowFull,
    /// The owner does not want any more.
    Cancelled,
}

/// A finished answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why it stopped.
    pub cause: StopCause,
    /// Generated ids, a stop token included.
    pub ids: Vec<u32>,
    /// All [`Event::Text`] pieces put together; empty without a tokenizer.
    pub text: String,
    /// Tokens counted.
    pub usage: Usage,
    /// Time taken.
    pub timings: Timings,
}

/// Tokens counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those whose keys and values were in the cache already.
    pub reused_tokens: usize,
    /// Those that were run through the model.
    pub prefilled_tokens: usize,
    /// Tokens generated.
    pub generated_tokens: usize,
}

/// Time taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timings {
    /// From submission until it ran.
    pub queued: Duration,
    /// From then until the first token.
    pub prefill: Duration,
    /// From then until the last.
    pub decode: Duration,
}

impl Timings {
    /// From submission until the first token.
    pub fn time_to_first_token(&self) -> Duration {
        self.queued + self.prefill
    }

    /// Prompt tokens a second.
    pub fn prefill_rate(&self, usage: &Usage) -> f64 {
        usage.prefilled_tokens as f64 / self.prefill.as_secs_f64().max(1e-9)
    }

    /// Generated tokens a second, after the first.
    pub fn decode_rate(&self, usage: &Usage) -> f64 {
        usage.generated_tokens.saturating_sub(1) as f64 / self.decode.as_secs_f64().max(1e-9)
    }
}
