//! `POST /v1/chat/completions`: what comes.

use std::fmt::{self, Formatter};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor, value::SeqAccessDeserializer},
};

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
    /// What a plugin model's answer carries.
    pub(crate) moss: Option<Beside>,
}

/// What a plugin model wrote beside its answer, as [`super::answer::Aside`] tells it, and what its commands gave.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beside {
    pub(crate) thoughts: Option<String>,
    pub(crate) commands: Option<String>,
    pub(crate) results: Option<String>,
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
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// By its form: serde's `untagged` would forget which part it is that is wrong.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Content;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts of the type `text`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(parts)).map(Content::Parts)
            }
        }
        deserializer.deserialize_any(Forms)
    }
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
