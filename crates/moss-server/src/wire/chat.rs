//! `POST /v1/chat/completions`: what comes.

use serde::Deserialize;

use super::text_request;

text_request! {
    /// A conversation to go on with.
    ChatRequest {
        messages: Vec<Message>,
        /// The newer name of `max_tokens`.
        max_completion_tokens: Option<usize>,
        logprobs: Option<bool>,
        top_logprobs: Option<usize>,
        response_format: Option<ResponseFormat>,
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) content: Content,
    /// Nothing but null, which answers carry: clients hand them back as they came.
    #[serde(default)]
    #[expect(dead_code, reason = "serde refuses everything else")]
    refusal: Option<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// `developer` is its newer name.
    #[serde(alias = "developer")]
    System,
    User,
    Assistant,
}

/// Text, whole or in parts.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of parts of the type `text`")]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "there is one type, and serde refuses the others")]
    kind: TextType,
    text: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TextType {
    Text,
}

impl Content {
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().map(|part| part.text).collect(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResponseFormat {
    #[serde(rename = "type")]
    pub(crate) kind: String,
}
