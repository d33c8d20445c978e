//! `POST /v1/chat/completions`.

mod chat_stream;
mod prompt;
mod stream;
mod truncation;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::future::try_join_all;

use self::chat_stream::{ChatStream, Part};
use crate::{
    ServerOptions,
    body::JsonBody,
    error::ApiError,
    generation::{Admission, one_admitted},
    plan::{Plan, at_most},
    state::{Shared, now},
    wire::{
        answer::{
            Aside, Chat, ChatChoice, ChatLogprobs, ChatMessage, Extra, Notes, Report, Usage,
            finish_reason, reply_error,
        },
        chat::ChatRequest,
        number::{Count, Limit},
        shared::Truncation,
    },
};

pub(crate) async fn chat(
    State(state): State<Shared>,
    JsonBody(request, mut ignored): JsonBody<ChatRequest>,
) -> Result<Response, ApiError> {
    let model = state.model()?.clone();
    ignored.extend(request.check()?.into_iter().map(String::from));
    let plan = plan(&request, &state.options)?;
    let plugins = request.moss.as_ref().and_then(|moss| moss.plugins.as_ref());
    let plugins = plugins.map(|plugins| plugins.on()).unwrap_or_default();
    if !model.has_plugins && !plugins.is_empty() {
        let expected = format!(": `{}` was not trained with plugins", state.options.model);
        return Err(ApiError::Unsupported {
            param: "moss.plugins".into(),
            expected,
        });
    }
    if model.has_plugins && !plan.stop_strings.is_empty() {
        let expected = " by plugin models".to_owned();
        return Err(ApiError::Unsupported {
            param: "stop".into(),
            expected,
        });
    }
    if state.options.log_prompts {
        tracing::info!(messages = ?request.messages, "chat");
    }
    let truncation = request
        .moss
        .as_ref()
        .and_then(|moss| moss.truncation)
        .unwrap_or_default();
    let truncate_for = (truncation == Truncation::Auto).then_some(plan.max_tokens);
    let prompt = {
        // A long text takes a while to tokenise, and other streams run on this thread.
        let model = model.clone();
        let build = move || prompt::build(&model, request.messages, &plugins, truncate_for);
        let built = tokio::task::spawn_blocking(build);
        built.await.map_err(|_| ApiError::Internal)??
    };
    let notes = Notes {
        ignored,
        dropped_messages: prompt.dropped_messages,
    };
    let admission = Admission::default();
    let start = |index| ChatStream::start(&state, &model, &plan, &prompt, index, &admission);
    // All or none: what was queued before one that finds the queue full is cancelled as it is
    // dropped.
    let mut streams = (0..plan.n).map(start).collect::<Result<Vec<_>, _>>()?;
    let id = format!("chatcmpl-{}", uuid::Uuid::new_v4().simple());
    if plan.stream {
        one_admitted(streams.iter_mut().map(ChatStream::generation)).await?;
        return Ok(stream::respond(&state, &plan, id, notes, streams));
    }
    let wholes = try_join_all(streams.into_iter().map(whole)).await?;
    if let Some(error) = reply_error(
        wholes
            .iter()
            .map(|(message, _, outcome)| (outcome, message.content.as_str())),
    ) {
        return Err(error);
    }
    let mut usage = Usage::default();
    let mut choices = Vec::new();
    let mut report = None;
    for (index, (message, logprobs, outcome)) in wholes.into_iter().enumerate() {
        usage.add(&outcome, index == 0);
        report.get_or_insert_with(|| Report::of(&outcome));
        let logprobs = plan.logprobs.map(|_| logprobs);
        choices.push(ChatChoice {
            index,
            message,
            logprobs,
            finish_reason: finish_reason(&outcome.cause),
        });
    }
    let (object, model) = ("chat.completion", state.options.model.clone());
    let (usage, moss) = (Some(Some(usage)), Some(Extra { report, notes }));
    Ok(Json(Chat {
        id,
        object,
        created: now(),
        model,
        choices,
        usage,
        moss,
    })
    .into_response())
}

/// What every answer to a conversation has in common.
pub(crate) fn plan(request: &ChatRequest, options: &ServerOptions) -> Result<Plan, ApiError> {
    let limits = &options.limits;
    at_most(
        "messages",
        request.messages.len(),
        1,
        limits.messages,
        "messages",
    )?;
    let mut fields = request.shared();
    fields.max_tokens = match (fields.max_tokens, request.max_completion_tokens) {
        // No limit, -1, says nothing beside a limit.
        (Some(limit @ Limit(Some(_))), Some(Limit(None)))
        | (Some(Limit(None)), Some(limit @ Limit(Some(_)))) => Some(limit),
        (Some(old), Some(new)) if old != new => {
            let expected = " beside another `max_tokens`, which it replaces".to_owned();
            return Err(ApiError::Unsupported {
                param: "max_completion_tokens".into(),
                expected,
            });
        }
        (old, new) => new.or(old),
    };
    let mut plan = Plan::new(fields, options)?;
    let Count(top) = request.top_logprobs.unwrap_or(Count(0));
    at_most("top_logprobs", top, 0, limits.top_logprobs, "tokens")?;
    plan.logprobs = (request.logprobs == Some(true)).then_some(top);
    if top > 0 && plan.logprobs.is_none() {
        let expected = ": it needs `logprobs`".to_owned();
        return Err(ApiError::Unsupported {
            param: "top_logprobs".into(),
            expected,
        });
    }
    Ok(plan)
}

/// Waits for an answer.
async fn whole(
    mut stream: ChatStream,
) -> Result<(ChatMessage, ChatLogprobs, moss_engine::Outcome), ApiError> {
    let (mut text, mut beside, mut likely) =
        (String::new(), Aside::default(), ChatLogprobs::default());
    loop {
        match stream.next().await? {
            Part::Said {
                content,
                aside,
                tokens,
            } => {
                text.push_str(&content);
                beside.thoughts.push_str(&aside.thoughts);
                beside.commands.push_str(&aside.commands);
                likely.content.extend(tokens);
            }
            Part::Done(outcome) => {
                let moss = Some(beside).filter(|aside| *aside != Aside::default());
                let message = ChatMessage {
                    role: "assistant",
                    content: text,
                    refusal: None,
                    moss,
                };
                return Ok((message, likely, outcome));
            }
        }
    }
}
