//! The request of `POST /v1/chat/completions`.

use std::fmt::{self, Formatter};

use moss_text::PluginFields;
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use serde_json::Value;

use super::{
    neutral,
    number::{Count, Limit},
    text_request,
};
use crate::error::ApiError;

text_request! {
    /// A conversation to continue.
    ChatRequest {
        messages: Vec<Message>,
        /// The newer name of `max_tokens`.
        max_completion_tokens: Option<Limit>,
        logprobs: Option<bool>,
        top_logprobs: Option<Count>,
        response_format: Option<Value>,
        tools: Option<Value>,
        tool_choice: Option<Value>,
        functions: Option<Value>,
        function_call: Option<Value>,
        audio: Option<Value>,
        modalities: Option<Value>,
        reasoning_effort: Option<Value>,
        verbosity: Option<Value>,
        web_search_options: Option<Value>,
    }
    // There are no tools to call in parallel, and a prediction affects only speed.
    without effect { parallel_tool_calls, prediction, }
}

impl ChatRequest {
    /// Rejects values of known fields that would change the answer and are not supported. Returns
    /// the names of fields that the request itself disables.
    ///
    /// # Errors
    /// [`ApiError::Unsupported`] naming the field.
    pub(crate) fn check(&self) -> Result<Vec<&'static str>, ApiError> {
        let mut switched_off = Vec::new();
        let tools = ("tools", self.tools.as_ref());
        if neutral::check_tools(tools, ("tool_choice", self.tool_choice.as_ref()))? {
            switched_off.push("tools");
        }
        let functions = ("functions", self.functions.as_ref());
        if neutral::check_tools(functions, ("function_call", self.function_call.as_ref()))? {
            switched_off.push("functions");
        }
        neutral::check("audio", self.audio.as_ref(), &[])?;
        // The default of OpenAI's API, and the behaviour of a model without reasoning.
        neutral::check(
            "reasoning_effort",
            self.reasoning_effort.as_ref(),
            &["none", "medium"],
        )?;
        neutral::check("verbosity", self.verbosity.as_ref(), &["medium"])?;
        if let Some(modalities) = self
            .modalities
            .as_ref()
            .filter(|found| !neutral::is_empty(found))
        {
            let are_text = modalities
                .as_array()
                .is_some_and(|found| found.iter().all(|kind| kind == "text" || kind.is_null()));
            if !are_text {
                return Err(neutral::unsupported_value(
                    "modalities",
                    modalities,
                    "`[\"text\"]`",
                ));
            }
        }
        // An empty object enables the search.
        if let Some(found) = self
            .web_search_options
            .as_ref()
            .filter(|found| found.is_object() || !neutral::is_empty(found))
        {
            return Err(neutral::unsupported_value(
                "web_search_options",
                found,
                "null",
            ));
        }
        if let Some(format) = self
            .response_format
            .as_ref()
            .filter(|format| !neutral::is_empty(format))
        {
            match format.get("type") {
                Some(kind) if kind == "text" => {}
                Some(kind) => {
                    return Err(neutral::unsupported_value(
                        "response_format.type",
                        kind,
                        "`text`",
                    ));
                }
                None => {
                    return Err(neutral::unsupported_value(
                        "response_format",
                        format,
                        "`{\"type\": \"text\"}`",
                    ));
                }
            }
        }
        for (index, message) in self.messages.iter().enumerate() {
            message.check(index)?;
        }
        Ok(switched_off)
    }
}

/// A message, with every field of an answer that clients send back.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Message {
    pub(crate) role: Role,
    #[serde(default)]
    pub(crate) content: Content,
    /// The thoughts and commands of a plugin model ([`super::answer::PluginText`]), and the results
    /// of its commands.
    pub(crate) moss: Option<PluginFields>,
    refusal: Option<Value>,
    audio: Option<Value>,
    function_call: Option<Value>,
    tool_calls: Option<Value>,
    tool_call_id: Option<Value>,
    /// MOSS knows one user and one assistant.
    #[expect(dead_code, reason = "accepted, and without effect on the answer")]
    name: Option<Value>,
    #[expect(dead_code, reason = "accepted, and without effect on the answer")]
    annotations: Option<Value>,
    /// The content as parsed by the client's library.
    #[expect(dead_code, reason = "accepted, and without effect on the answer")]
    parsed: Option<Value>,
}

impl Message {
    fn check(&self, index: usize) -> Result<(), ApiError> {
        let of = |field: &str| format!("messages[{index}].{field}");
        for (field, value) in [
            ("refusal", &self.refusal),
            ("audio", &self.audio),
            ("function_call", &self.function_call),
            ("tool_calls", &self.tool_calls),
            ("tool_call_id", &self.tool_call_id),
        ] {
            neutral::check(&of(field), value.as_ref(), &[])?;
        }
        if matches!(self.content, Content::Missing) && self.role != Role::Assistant {
            let reason = format!("`{}`: missing field `content`", of("content"));
            return Err(ApiError::Json {
                param: Some(of("content")),
                reason,
            });
        }
        Ok(())
    }
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

/// Text as a string or in parts; null is an empty text.
#[derive(Debug, Clone, Default)]
pub(crate) enum Content {
    #[default]
    Missing,
    Text(String),
    Parts(Vec<Part>),
}

/// Chooses by JSON type: serde's `untagged` would not report which part is invalid.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Content;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts of the type `text`")
            }

            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::Text(String::new()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                let parts = Vec::<Option<Part>>::deserialize(SeqAccessDeserializer::new(parts))?;
                Ok(Content::Parts(parts.into_iter().flatten().collect()))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Part {
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "there is one type, and serde rejects the others")]
    kind: TextType,
    #[serde(deserialize_with = "null_as_empty")]
    text: String,
}

/// Reads text; null is an empty text.
fn null_as_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TextType {
    Text,
}

impl Content {
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Missing => String::new(),
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().map(|part| part.text).collect(),
        }
    }
}
