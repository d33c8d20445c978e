//! How a reply ended, and what it took.

use std::time::Duration;

use serde::Serialize;

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
    /// Text of the ids without special tokens, up to a stop string: labels of parts are in it.
    /// Empty without a tokenizer.
    pub text: String,
    /// Tokens counted.
    pub usage: Usage,
    /// Time taken.
    pub timings: Timings,
}

impl Outcome {
    /// Adds the outcome of the run that followed. The prompt stays the first run's.
    pub(crate) fn join(&mut self, next: Self) {
        self.cause = next.cause;
        self.ids.extend(next.ids);
        self.text.push_str(&next.text);
        self.usage.prefilled_tokens += next.usage.prefilled_tokens;
        self.usage.generated_tokens += next.usage.generated_tokens;
        self.timings.queued += next.timings.queued;
        self.timings.prefill += next.timings.prefill;
        self.timings.decode += next.timings.decode;
    }
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
    /// From submission until the first token; of a reply in several runs, the first run's.
    pub first_token: Duration,
}

impl Timings {
    /// Prompt tokens a second.
    pub fn prefill_rate(&self, usage: &Usage) -> f64 {
        usage.prefilled_tokens as f64 / self.prefill.as_secs_f64().max(1e-9)
    }

    /// Generated tokens a second, after the first.
    pub fn decode_rate(&self, usage: &Usage) -> f64 {
        usage.generated_tokens.saturating_sub(1) as f64 / self.decode.as_secs_f64().max(1e-9)
    }
}
