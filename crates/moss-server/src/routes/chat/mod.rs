//! `POST /v1/chat/completions`.

mod chat_stream;
mod prompt;
mod stream;
mod truncation;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::future::try_join_all;

use self::chat_stream::{ChatStream, Part};
use crate::{
    ServedModel, ServerOptions,
    body::JsonBody,
    error::ApiError,
    generation::{Admission, one_admitted},
    middleware::key::Owner,
    plan::{Plan, at_most},
    reason::Reason,
    state::{Shared, now},
    wire::{
        answer::{
            Chat, ChatChoice, ChatLogprobs, ChatMessage, Extra, Notes, PluginText, Report, Usage,
            finish_reason, reply_error,
        },
        chat::{ChatRequest, Message},
        number::{Count, Limit},
        shared::Truncation,
    },
};

pub(crate) async fn chat(
    State(state): State<Shared>,
    Extension(Owner(owner)): Extension<Owner>,
    JsonBody(request, mut ignored): JsonBody<ChatRequest>,
) -> Result<Response, ApiError> {
    let model = state.model()?.clone();
    ignored.extend(request.check()?.into_iter().map(String::from));
    let mut plan = plan(&request, &state.options)?;
    plan.owner = owner;
    let plugins = request.moss.as_ref().and_then(|moss| moss.plugins.as_ref());
    let plugins = plugins.map(|plugins| plugins.on()).unwrap_or_default();
    if !model.has_plugins && !plugins.is_empty() {
        let model = state.options.model.clone();
        return Err(ApiError::unsupported(
            "moss.plugins",
            Reason::NotAPluginModel { model },
        ));
    }
    let runs = request.moss.as_ref().and_then(|moss| moss.run_plugins);
    let calls = match (runs, &model.calls) {
        (Some(true), Some(calls)) => Some(calls.only(&plugins)),
        (Some(true), None) => {
            return Err(ApiError::unsupported(
                "moss.run_plugins",
                Reason::PluginsNotServed,
            ));
        }
        _ => None,
    };
    if model.has_plugins && !plan.stop_strings.is_empty() {
        return Err(ApiError::unsupported("stop", Reason::PluginModel));
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
        // Tokenization of a long text would block other streams on this thread.
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
    let start = |index| {
        let stream = ChatStream::start(&state, &model, &plan, &prompt, index, &admission)?;
        Ok::<_, ApiError>(stream.with_calls(calls.clone()))
    };
    // If the queue is full, the answers that were already queued are cancelled by dropping them.
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

/// Returns the prompt of an answer to `messages`.
pub(crate) fn prompt_ids(
    model: &ServedModel,
    messages: Vec<Message>,
) -> Result<Vec<u32>, ApiError> {
    Ok(prompt::build(model, messages, &[], None)?.prompt.ids)
}

/// Returns the parameters of all answers.
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
        // A limit overrides -1, which means no limit.
        (Some(limit @ Limit(Some(_))), Some(Limit(None)))
        | (Some(Limit(None)), Some(limit @ Limit(Some(_)))) => Some(limit),
        (Some(old), Some(new)) if old != new => {
            return Err(ApiError::unsupported(
                "max_completion_tokens",
                Reason::TwoLimits,
            ));
        }
        (old, new) => new.or(old),
    };
    let mut plan = Plan::new(fields, options)?;
    let Count(top) = request.top_logprobs.unwrap_or(Count(0));
    at_most("top_logprobs", top, 0, limits.top_logprobs, "tokens")?;
    plan.logprobs = (request.logprobs == Some(true)).then_some(top);
    if top > 0 && plan.logprobs.is_none() {
        let reason = Reason::Needs("logprobs");
        return Err(ApiError::unsupported("top_logprobs", reason));
    }
    Ok(plan)
}

/// Waits for a complete answer.
async fn whole(
    mut stream: ChatStream,
) -> Result<(ChatMessage, ChatLogprobs, moss_engine::Outcome), ApiError> {
    let (mut text, mut fields, mut likely) = (
        String::new(),
        PluginText::default(),
        ChatLogprobs::default(),
    );
    loop {
        match stream.next().await? {
            Part::Text {
                content,
                plugin_text,
                tokens,
            } => {
                text.push_str(&content);
                fields.append(plugin_text);
                likely.content.extend(tokens);
            }
            Part::Done(outcome) => {
                let moss = Some(fields).filter(|plugin_text| *plugin_text != PluginText::default());
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
