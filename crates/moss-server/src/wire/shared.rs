//! Fields that requests for chats and for completions have in common.

use std::collections::BTreeMap;

use moss_text::Plugin;
use serde::Deserialize;

/// They, as [`text_request`](super::text_request) collects them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    pub(crate) model: Option<String>,
    pub(crate) stream: bool,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) top_k: Option<usize>,
    pub(crate) min_p: Option<f32>,
    pub(crate) repetition_penalty: Option<f32>,
    pub(crate) presence_penalty: Option<f32>,
    pub(crate) frequency_penalty: Option<f32>,
    /// By token id, in decimal.
    pub(crate) logit_bias: BTreeMap<String, f32>,
    pub(crate) seed: Option<i64>,
    pub(crate) stop: Option<Stop>,
    pub(crate) n: Option<usize>,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) moss: MossFields,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamOptions {
    /// A last chunk tells the tokens counted.
    pub(crate) include_usage: Option<bool>,
}

/// One string or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub(crate) enum Stop {
    One(String),
    Several(Vec<String>),
}

impl Stop {
    pub(crate) fn into_strings(self) -> Vec<String> {
        match self {
            Self::One(string) => vec![string],
            Self::Several(strings) => strings,
        }
    }
}

/// What MOSS has and OpenAI's API has no field for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MossFields {
    /// Seconds of an answer at most, from its first token.
    pub(crate) max_time_s: Option<f64>,
    pub(crate) plugins: Option<PluginFields>,
}

/// Switches of a plugin model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PluginFields {
    web_search: Option<bool>,
    calculator: Option<bool>,
    equation_solver: Option<bool>,
    text_to_image: Option<bool>,
}

impl PluginFields {
    /// Those that are on.
    pub(crate) fn on(&self) -> Vec<Plugin> {
        let switches = [
            (self.web_search, Plugin::WebSearch),
            (self.calculator, Plugin::Calculator),
            (self.equation_solver, Plugin::EquationSolver),
            (self.text_to_image, Plugin::TextToImage),
        ];
        switches.into_iter().filter(|(on, _)| *on == Some(true)).map(|(_, plugin)| plugin).collect()
    }
}
