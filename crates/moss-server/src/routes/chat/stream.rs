//! An answer, or several, as server-sent events.

use axum::response::Response;
use futures_util::{StreamExt, stream};

use super::{Part, Speaker, likelihood};
use crate::{
    ServedModel,
    error::ApiError,
    plan::Plan,
    sse,
    state::{Shared, now},
    wire::answer::{
        Aside, Chat, ChatDelta, ChatDeltaChoice, ChatLogprobs, Report, Usage, early_report, end_error,
        finish_reason,
    },
};

pub(super) fn respond(
    state: &Shared,
    model: &ServedModel,
    plan: &Plan,
    id: String,
    speakers: Vec<Speaker>,
) -> Response {
    let parts = speakers.into_iter().enumerate().map(|(index, speaker)| Box::pin(parts(index, speaker)));
    let mut merged = stream::select_all(parts);
    let (name, created) = (state.options.model.clone(), now());
    let (tokenizer, include_usage) = (model.tokenizer.clone(), plan.include_usage);
    let (keep_alive, count) = (state.options.keep_alive, plan.n);
    sse::respond(keep_alive, move |events| async move {
        let object = "chat.completion.chunk";
        let chunk = |choices| {
            let (id, model) = (id.clone(), name.clone());
            Chat { id, object, created, model, choices, usage: None, moss: None }
        };
        for index in 0..count {
            let delta = ChatDelta { role: Some("assistant"), content: Some(String::new()), moss: None };
            events.send(&chunk(vec![choice(index, delta, None, None)])).await?;
        }
        let (mut usage, mut counted, mut report) = (Usage::default(), false, None);
        while let Some((index, part)) = merged.next().await {
            match part? {
                Part::Said { content, aside, tokens } => {
                    let content = Some(content).filter(|content| !content.is_empty());
                    let moss = Some(aside).filter(|aside| *aside != Aside::default());
                    let tokens: Vec<_> =
                        tokens.into_iter().map(|token| likelihood(&tokenizer, token)).collect();
                    let logprobs = (!tokens.is_empty()).then_some(ChatLogprobs { content: tokens });
                    let delta = ChatDelta { role: None, content, moss };
                    events.send(&chunk(vec![choice(index, delta, logprobs, None)])).await?;
                }
                Part::Done(outcome) => {
                    if let Some(error) = end_error(&outcome) {
                        return Err(error);
                    }
                    usage.add(&outcome, !std::mem::replace(&mut counted, true));
                    report.get_or_insert_with(|| Report::of(&outcome));
                    let reason = Some(finish_reason(&outcome.cause));
                    let last = choice(index, ChatDelta::default(), None, reason);
                    events.send(&Chat { moss: early_report(&outcome), ..chunk(vec![last]) }).await?;
                }
            }
        }
        if include_usage {
            let last = Chat { usage: Some(usage), moss: report, ..chunk(Vec::new()) };
            events.send(&last).await?;
        }
        events.done().await
    })
}

/// A speaker's parts, each with its number, up to and with the last one or the first error.
fn parts(
    index: usize,
    speaker: Speaker,
) -> impl futures_util::Stream<Item = (usize, Result<Part, ApiError>)> + Send {
    stream::unfold(Some(speaker), move |speaker| async move {
        let mut speaker = speaker?;
        let part = speaker.next().await;
        let goes_on = matches!(part, Ok(Part::Said { .. }));
        Some(((index, part), goes_on.then_some(speaker)))
    })
}

fn choice(
    index: usize,
    delta: ChatDelta,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
) -> ChatDeltaChoice {
    ChatDeltaChoice { index, delta, logprobs, finish_reason }
}
