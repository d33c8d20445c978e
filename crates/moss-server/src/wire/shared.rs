//! Fields that requests for chats and for completions have in common.

use std::{
    collections::BTreeMap,
    fmt::{self, Formatter},
};

use moss_text::Plugin;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use super::number::{Count, Limit, Seed};

/// The common fields, collected by [`text_request`](super::text_request).
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    pub(crate) model: Option<String>,
    pub(crate) stream: bool,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    /// No limit or 0 for all tokens.
    pub(crate) top_k: Option<Limit>,
    pub(crate) min_p: Option<f32>,
    pub(crate) repetition_penalty: Option<f32>,
    pub(crate) presence_penalty: Option<f32>,
    pub(crate) frequency_penalty: Option<f32>,
    /// By token id, in decimal.
    pub(crate) logit_bias: BTreeMap<String, f32>,
    pub(crate) seed: Option<Seed>,
    pub(crate) stop: Option<Stop>,
    pub(crate) n: Option<Count>,
    /// No limit for as many as fit the context length.
    pub(crate) max_tokens: Option<Limit>,
    pub(crate) prompt_cache_key: Option<String>,
    pub(crate) cache_salt: Option<String>,
    pub(crate) moss: MossFields,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)] // also for `[]`, as some languages write an empty object
pub(crate) struct StreamOptions {
    /// Adds a last chunk with the token counts.
    pub(crate) include_usage: Option<bool>,
    /// Padding of chunks, which hides their sizes. This server never pads chunks.
    include_obfuscation: Option<bool>,
}

/// Biases by token id, in decimal. An empty list is an empty map, as some languages write it. A
/// null bias is ignored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Biases(pub(crate) BTreeMap<String, f32>);

impl<'de> Deserialize<'de> for Biases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Biases;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("a map from token ids to numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Biases, A::Error> {
                let mut biases = BTreeMap::new();
                while let Some((id, bias)) = map.next_entry::<String, Option<f32>>()? {
                    biases.extend(bias.map(|bias| (id, bias)));
                }
                Ok(Biases(biases))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Biases, A::Error> {
                match list.next_element::<serde_json::Value>()? {
                    None => Ok(Biases::default()),
                    Some(_) => Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self)),
                }
            }
        }
        deserializer.deserialize_any(Map)
    }
}

/// One or several strings. Null and empty strings are ignored.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub(crate) enum Stop {
    One(String),
    Several(Vec<Option<String>>),
}

impl Stop {
    pub(crate) fn into_strings(self) -> Vec<String> {
        let mut strings = match self {
            Self::One(string) => vec![string],
            Self::Several(strings) => strings.into_iter().flatten().collect(),
        };
        strings.retain(|string| !string.is_empty());
        strings
    }
}

/// Fields that OpenAI's API does not have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MossFields {
    /// Maximum time of an answer in seconds, from its first token.
    pub(crate) max_time_s: Option<f64>,
    pub(crate) plugins: Option<PluginFields>,
    /// Runs the calls of the enabled plugins, if the server is configured for that.
    pub(crate) run_plugins: Option<bool>,
    pub(crate) truncation: Option<Truncation>,
}

/// The treatment of a conversation that exceeds the context length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Truncation {
    /// The request is rejected.
    #[default]
    Disabled,
    /// The oldest turns are dropped until the rest fits.
    Auto,
}

/// Switches of a plugin model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PluginFields {
    web_search: Option<bool>,
    calculator: Option<bool>,
    equation_solver: Option<bool>,
    text_to_image: Option<bool>,
}

impl PluginFields {
    /// Returns the enabled plugins.
    pub(crate) fn on(&self) -> Vec<Plugin> {
        let switches = [
            (self.web_search, Plugin::WebSearch),
            (self.calculator, Plugin::Calculator),
            (self.equation_solver, Plugin::EquationSolver),
            (self.text_to_image, Plugin::TextToImage),
        ];
        switches
            .into_iter()
            .filter(|(on, _)| *on == Some(true))
            .map(|(_, plugin)| plugin)
            .collect()
    }
}
