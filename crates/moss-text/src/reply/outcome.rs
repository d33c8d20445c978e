//! The end of a reply: cause, token counts and times.

use std::time::Duration;

use serde::Serialize;

/// The cause for the end of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// A stop token was generated; it is the last of the ids.
    EndOfTurn,
    /// This stop string was generated; it is not part of the text.
    StopString(String),
    /// The requested number of tokens was generated.
    MaxNewTokens,
    /// The reply's time limit has passed. It starts at the first token, so there is at least one.
    TimeLimit,
    /// The prompt was not processed within its time limit; there is no reply.
    PromptTimeLimit,
    /// The context length is reached.
    WindowFull,
    /// The request was cancelled.
    Cancelled,
}

/// The result of a generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The cause for its end.
    pub cause: StopCause,
    /// Generated ids, including a stop token.
    pub ids: Vec<u32>,
    /// Text of the ids without special tokens, up to a stop string, with the labels of segments.
    /// Empty without a tokenizer.
    pub text: String,
    /// Token counts.
    pub usage: Usage,
    /// Times.
    pub timings: Timings,
}

impl Outcome {
    /// Adds the outcome of the next run. Prompt and reused tokens remain those of the first one.
    pub fn join(&mut self, next: Self) {
        self.cause = next.cause;
        self.ids.extend(next.ids);
        self.text.push_str(&next.text);
        self.usage.prefilled_tokens += next.usage.prefilled_tokens;
        self.usage.generated_tokens += next.usage.generated_tokens;
        self.usage.drafted_tokens += next.usage.drafted_tokens;
        self.usage.accepted_tokens += next.usage.accepted_tokens;
        self.timings.queued += next.timings.queued;
        self.timings.prefill += next.timings.prefill;
        self.timings.decode += next.timings.decode;
    }
}

/// Token counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Prompt tokens whose keys and values were in the cache.
    pub reused_tokens: usize,
    /// Prompt tokens that the model processed.
    pub prefilled_tokens: usize,
    /// Generated tokens.
    pub generated_tokens: usize,
    /// Draft tokens that were verified (speculative decoding).
    pub drafted_tokens: usize,
    /// Draft tokens that became part of the reply; they are also generated tokens.
    pub accepted_tokens: usize,
}

/// Times of a generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timings {
    /// From submission to admission.
    pub queued: Duration,
    /// From admission to the first token.
    pub prefill: Duration,
    /// From the first to the last token.
    pub decode: Duration,
    /// Time to first token, from submission; for a reply with several runs, that of the first one.
    pub first_token: Duration,
}

impl Timings {
    /// Returns the prefill speed, in tokens per second.
    pub fn prefill_rate(&self, usage: &Usage) -> f64 {
        usage.prefilled_tokens as f64 / self.prefill.as_secs_f64().max(1e-9)
    }

    /// Returns the decode speed, in tokens per second after the first token.
    pub fn decode_rate(&self, usage: &Usage) -> f64 {
        usage.generated_tokens.saturating_sub(1) as f64 / self.decode.as_secs_f64().max(1e-9)
    }
}
