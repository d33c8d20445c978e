//! Responses, complete and in chunks, and their usage.

use moss_engine::{Outcome, StopCause};
use moss_plugins::{Results, Source};
use serde::Serialize;

use crate::error::ApiError;

/// Token counts.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptDetails,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct PromptDetails {
    cached_tokens: usize,
}

impl Usage {
    /// Adds an answer. A prompt that several answers share is counted once.
    pub(crate) fn add(&mut self, outcome: &Outcome, count_prompt: bool) {
        if count_prompt {
            self.prompt_tokens += outcome.usage.prompt_tokens;
            self.prompt_tokens_details.cached_tokens += outcome.usage.reused_tokens;
        }
        self.completion_tokens += outcome.usage.generated_tokens;
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
    }
}

/// Data of an answer beyond OpenAI's fields.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    time_to_first_token_s: f64,
    /// Rate after the first token.
    tokens_per_s: f64,
    stop_reason: &'static str,
}

impl Report {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        Self {
            time_to_first_token_s: outcome.timings.first_token.as_secs_f64(),
            tokens_per_s: match outcome.usage.generated_tokens {
                0 | 1 => 0.0,
                _ => outcome.timings.decode_rate(&outcome.usage),
            },
            stop_reason: stop_reason(&outcome.cause),
        }
    }
}

/// Returns why an answer ended, in more detail than OpenAI's `finish_reason`.
pub(crate) fn stop_reason(cause: &StopCause) -> &'static str {
    match cause {
        StopCause::EndOfTurn => "end_of_turn",
        StopCause::StopString(_) => "stop_string",
        StopCause::MaxNewTokens => "max_tokens",
        StopCause::TimeLimit => "time_limit",
        StopCause::PromptTimeLimit => "prompt_time_limit",
        StopCause::WindowFull => "window_full",
        StopCause::Cancelled => "cancelled",
    }
}

/// Returns the error of an answer that ended without being complete: no token was generated in
/// time, or the server is shutting down.
pub(crate) fn end_error(outcome: &Outcome) -> Option<ApiError> {
    let seconds = outcome.timings.prefill.as_secs();
    match outcome.cause {
        StopCause::Cancelled => Some(ApiError::Interrupted {
            partial: Vec::new(),
        }),
        StopCause::TimeLimit | StopCause::PromptTimeLimit
            if outcome.usage.generated_tokens == 0 =>
        {
            Some(ApiError::PromptTime {
                tokens: outcome.usage.prompt_tokens,
                seconds,
            })
        }
        _ => None,
    }
}

/// Returns the first error among the answers of a reply, with their partial texts.
pub(crate) fn reply_error<'a>(
    answers: impl Iterator<Item = (&'a Outcome, &'a str)> + Clone,
) -> Option<ApiError> {
    let mut error = answers
        .clone()
        .find_map(|(outcome, _)| end_error(outcome))?;
    if let ApiError::Interrupted { partial } = &mut error {
        *partial = answers.map(|(_, text)| text.to_owned()).collect();
    }
    Some(error)
}

/// Returns the report for the last chunk of a streamed answer that was truncated or has no text,
/// because `finish_reason` does not distinguish the causes. Other streams have it next to their
/// usage, if requested.
pub(crate) fn early_report(outcome: &Outcome) -> Option<Report> {
    let was_truncated = finish_reason(&outcome.cause) == "length";
    (was_truncated || outcome.text.trim().is_empty()).then(|| Report::of(outcome))
}

/// Returns OpenAI's `finish_reason`.
pub(crate) fn finish_reason(cause: &StopCause) -> &'static str {
    match cause {
        StopCause::EndOfTurn | StopCause::StopString(_) => "stop",
        _ => "length",
    }
}

/// Changes of the server to a request. An answer, or the first chunk of a stream, has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Notes {
    /// Paths of fields that were ignored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ignored: Vec<String>,
    /// Number of messages that were dropped because the conversation exceeds the context length.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) dropped_messages: usize,
}

impl Notes {
    /// Returns `None` if there are no changes.
    pub(crate) fn unless_empty(self) -> Option<Extra> {
        (self != Self::default()).then_some(Extra {
            report: None,
            notes: self,
        })
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The field `moss` of an answer.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Extra {
    #[serde(flatten)]
    pub(crate) report: Option<Report>,
    #[serde(flatten)]
    pub(crate) notes: Notes,
}

#[derive(Debug, Serialize)]
pub(crate) struct Chat<C> {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) choices: Vec<C>,
    /// `Some(None)` is serialized as null, as in OpenAI's chunks before the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Option<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moss: Option<Extra>,
}

impl<C> Chat<C> {
    /// Adds a report to the field `moss`.
    pub(crate) fn with_report(mut self, report: Option<Report>) -> Self {
        if report.is_some() {
            self.moss.get_or_insert_default().report = report;
        }
        self
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ChatChoice {
    pub(crate) index: usize,
    pub(crate) message: ChatMessage,
    pub(crate) logprobs: Option<ChatLogprobs>,
    pub(crate) finish_reason: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct ChatMessage {
    pub(crate) role: &'static str,
    pub(crate) content: String,
    pub(crate) refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moss: Option<PluginText>,
}

/// The thoughts and commands of a plugin model, and the results of calls that the server ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct PluginText {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) thoughts: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) commands: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) results: String,
    /// The passages that the answer may cite.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sources: Vec<SourceText>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) images: Vec<ImageText>,
}

/// A passage of a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SourceText {
    number: usize,
    title: String,
    url: String,
    text: String,
}

/// A generated picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ImageText {
    description: String,
    /// A `data:` URL.
    url: String,
}

impl PluginText {
    /// Adds the next part.
    pub(crate) fn append(&mut self, next: Self) {
        self.thoughts.push_str(&next.thoughts);
        self.commands.push_str(&next.commands);
        self.results.push_str(&next.results);
        self.sources.extend(next.sources);
        self.images.extend(next.images);
    }
}

impl From<Results> for PluginText {
    fn from(results: Results) -> Self {
        let images = results.images().map(|image| ImageText {
            description: image.description.clone(),
            url: image.data_url(),
        });
        Self {
            images: images.collect(),
            results: results.text,
            sources: results.sources.into_iter().map(SourceText::from).collect(),
            ..Self::default()
        }
    }
}

impl From<Source> for SourceText {
    fn from(Source { number, passage }: Source) -> Self {
        Self {
            number,
            title: passage.title,
            url: passage.url,
            text: passage.text,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ChatDeltaChoice {
    pub(crate) index: usize,
    pub(crate) delta: ChatDelta,
    pub(crate) logprobs: Option<ChatLogprobs>,
    pub(crate) finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct ChatDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moss: Option<PluginText>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ChatLogprobs {
    pub(crate) content: Vec<ChatLogprob>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChatLogprob {
    #[serde(flatten)]
    pub(crate) token: TokenLogprob,
    pub(crate) top_logprobs: Vec<TokenLogprob>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct TokenLogprob {
    pub(crate) token: String,
    pub(crate) logprob: f32,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TextChoice {
    pub(crate) index: usize,
    pub(crate) text: String,
    pub(crate) logprobs: Option<TextLogprobs>,
    pub(crate) finish_reason: Option<&'static str>,
}

/// The older format: parallel lists.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct TextLogprobs {
    pub(crate) tokens: Vec<String>,
    pub(crate) token_logprobs: Vec<f32>,
    pub(crate) top_logprobs: Vec<std::collections::BTreeMap<String, f32>>,
    /// Number of characters of the answer's text before each token.
    pub(crate) text_offset: Vec<usize>,
}
