//! One or several answers as server-sent events.

use axum::response::Response;
use futures_util::{StreamExt, stream};

use super::chat_stream::{ChatStream, Part};
use crate::{
    error::ApiError,
    plan::Plan,
    sse,
    state::{Shared, now},
    wire::answer::{
        Chat, ChatDelta, ChatDeltaChoice, ChatLogprobs, Extra, Notes, PluginText, Report, Usage,
        early_report, end_error, finish_reason,
    },
};

pub(super) fn respond(
    state: &Shared,
    plan: &Plan,
    id: String,
    notes: Notes,
    streams: Vec<ChatStream>,
) -> Response {
    let parts = streams
        .into_iter()
        .enumerate()
        .map(|(index, stream)| Box::pin(parts(index, stream)));
    let mut merged = stream::select_all(parts);
    let (name, created) = (state.options.model.clone(), now());
    let include_usage = plan.include_usage;
    let (keep_alive, count) = (state.options.keep_alive, plan.n);
    sse::respond(keep_alive, move |events| async move {
        let object = "chat.completion.chunk";
        let chunk = |choices| {
            let (id, model) = (id.clone(), name.clone());
            // With `include_usage`, every chunk but the last one has it as null.
            let usage = include_usage.then_some(None);
            Chat {
                id,
                object,
                created,
                model,
                choices,
                usage,
                moss: None,
            }
        };
        for index in 0..count {
            let delta = ChatDelta {
                role: Some("assistant"),
                content: Some(String::new()),
                moss: None,
            };
            let moss = if index == 0 {
                notes.clone().unless_empty()
            } else {
                None
            };
            events
                .send(&Chat {
                    moss,
                    ..chunk(vec![choice(index, delta, None, None)])
                })
                .await?;
        }
        let (mut usage, mut report) = (Usage::default(), None);
        while let Some((index, part)) = merged.next().await {
            match part? {
                Part::Text {
                    content,
                    plugin_text,
                    tokens,
                } => {
                    let content = Some(content).filter(|content| !content.is_empty());
                    let moss = Some(plugin_text)
                        .filter(|plugin_text| *plugin_text != PluginText::default());
                    let logprobs = (!tokens.is_empty()).then_some(ChatLogprobs { content: tokens });
                    let delta = ChatDelta {
                        role: None,
                        content,
                        moss,
                    };
                    events
                        .send(&chunk(vec![choice(index, delta, logprobs, None)]))
                        .await?;
                }
                Part::Done(outcome) => {
                    if let Some(error) = end_error(&outcome) {
                        return Err(error);
                    }
                    usage.add(&outcome, index == 0);
                    report.get_or_insert_with(|| Report::of(&outcome));
                    let reason = Some(finish_reason(&outcome.cause));
                    let last = choice(index, ChatDelta::default(), None, reason);
                    events
                        .send(&chunk(vec![last]).with_report(early_report(&outcome)))
                        .await?;
                }
            }
        }
        if include_usage {
            let (usage, moss) = (Some(Some(usage)), Some(Extra { report, notes }));
            events
                .send(&Chat {
                    usage,
                    moss,
                    ..chunk(Vec::new())
                })
                .await?;
        }
        events.done().await
    })
}

/// Returns an answer's parts with its index, up to the last one or the first error.
fn parts(
    index: usize,
    chat: ChatStream,
) -> impl futures_util::Stream<Item = (usize, Result<Part, ApiError>)> + Send {
    stream::unfold(Some(chat), move |chat| async move {
        let mut chat = chat?;
        let part = chat.next().await;
        let continues = matches!(part, Ok(Part::Text { .. }));
        Some(((index, part), continues.then_some(chat)))
    })
}

fn choice(
    index: usize,
    delta: ChatDelta,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
) -> ChatDeltaChoice {
    ChatDeltaChoice {
        index,
        delta,
        logprobs,
        finish_reason,
    }
}
