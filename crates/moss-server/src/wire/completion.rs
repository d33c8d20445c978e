//! `POST /v1/completions`: what comes.

use serde::Deserialize;

use super::text_request;

text_request! {
    /// Text to go on with, without any turns put around it.
    CompletionRequest {
        prompt: Prompt,
        /// How many of the likeliest tokens are told with each token.
        logprobs: Option<usize>,
    }
}

/// Text, where special tokens count as such; or token ids; or several of a kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, a list of strings, a list of token ids, or a list of such lists"
)]
pub(crate) enum Prompt {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    ManyIds(Vec<Vec<u32>>),
}
