//! The requests and answers of `POST /tokenize` and `POST /detokenize`, as in vLLM.

use serde::{Deserialize, Serialize};

use super::chat::Message;

/// Text or a conversation to encode.
#[derive(Debug, Deserialize)]
pub(crate) struct TokenizeRequest {
    /// The name of the only model.
    pub(crate) model: Option<String>,
    /// Text in which special tokens are recognized.
    pub(crate) prompt: Option<String>,
    pub(crate) messages: Option<Vec<Message>>,
    /// Without effect: MOSS adds no special tokens to a text.
    #[serde(rename = "add_special_tokens")]
    pub(crate) _add_special_tokens: Option<bool>,
    /// The prompt of a conversation always ends with the start of the answer.
    pub(crate) add_generation_prompt: Option<bool>,
    pub(crate) return_token_strs: Option<bool>,
}

impl TokenizeRequest {
    pub(crate) const FIELDS: &'static [&'static str] = &[
        "model",
        "prompt",
        "messages",
        "add_special_tokens",
        "add_generation_prompt",
        "return_token_strs",
    ];
}

#[derive(Debug, Serialize)]
pub(crate) struct Tokenized {
    pub(crate) count: usize,
    /// The context length.
    pub(crate) max_model_len: usize,
    pub(crate) tokens: Vec<u32>,
    /// The text of each token. Parts of a character are replaced by U+FFFD.
    pub(crate) token_strs: Option<Vec<String>>,
}

/// Tokens to decode.
#[derive(Debug, Deserialize)]
pub(crate) struct DetokenizeRequest {
    /// The name of the only model.
    pub(crate) model: Option<String>,
    pub(crate) tokens: Vec<u32>,
}

impl DetokenizeRequest {
    pub(crate) const FIELDS: &'static [&'static str] = &["model", "tokens"];
}

#[derive(Debug, Serialize)]
pub(crate) struct Detokenized {
    pub(crate) prompt: String,
}
