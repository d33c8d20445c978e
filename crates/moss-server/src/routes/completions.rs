//! `POST /v1/completions`.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, future::try_join_all, stream};
use moss_engine::{Event, Outcome, TokenLogprobs};
use moss_text::Tokenizer;

use crate::{
    ServedModel, ServerOptions,
    body::JsonBody,
    error::ApiError,
    generation::Generation,
    plan::{Plan, at_most},
    sse,
    state::{Shared, now},
    wire::{
        answer::{Chat, Extra, Notes, Report, TextChoice, TextLogprobs, Usage, finish_reason},
        completion::{CompletionRequest, Prompt},
        number::Count,
        shared::Truncation,
    },
};

pub(crate) async fn complete(
    State(state): State<Shared>,
    JsonBody(request, ignored): JsonBody<CompletionRequest>,
) -> Result<Response, ApiError> {
    let model = state.model()?.clone();
    let plan = plan(&request, &state.options)?;
    if state.options.log_prompts {
        tracing::info!(prompt = ?request.prompt, "completion");
    }
    let prompts = {
        let tokenizer = model.tokenizer.clone();
        let read = tokio::task::spawn_blocking(move || read(&tokenizer, request.prompt));
        read.await.map_err(|_| ApiError::Internal)??
    };
    let (count, most) = (prompts.len(), state.options.limits.choices);
    at_most("prompt", count, 1, most, "prompts")?;
    at_most("n", count.saturating_mul(plan.n), 1, most, "answers to all prompts together")?;
    let eos = Vec::from_iter(model.engine.model_config().eos_token_id);
    let answers = prompts.iter().flat_map(|prompt| (0..plan.n).map(move |index| (prompt, index)));
    let start = |(prompt, index): (&Vec<u32>, usize)| {
        Generation::start(&state, &model, plan.request(prompt.clone(), eos.clone(), index))
    };
    let generations = answers.map(start).collect::<Result<Vec<_>, _>>()?;
    let notes = Notes { ignored, ..Notes::default() };
    let id = format!("cmpl-{}", uuid::Uuid::new_v4().simple());
    if plan.stream {
        return Ok(respond(&state, &model, &plan, id, notes, generations));
    }
    let whole =
        try_join_all(generations.into_iter().map(|generation| whole(generation, &model.tokenizer))).await?;
    let (mut usage, mut report, mut choices) = (Usage::default(), None, Vec::new());
    for (index, (outcome, logprobs)) in whole.into_iter().enumerate() {
        usage.add(&outcome, index % plan.n == 0);
        report.get_or_insert_with(|| Report::of(&outcome));
        let finish_reason = Some(finish_reason(&outcome.cause));
        let logprobs = plan.logprobs.map(|_| logprobs);
        choices.push(TextChoice { index, text: outcome.text, logprobs, finish_reason });
    }
    let (object, model) = ("text_completion", state.options.model.clone());
    let (usage, moss) = (Some(Some(usage)), Some(Extra { report, notes }));
    Ok(Json(Chat { id, object, created: now(), model, choices, usage, moss }).into_response())
}

/// What every answer to a text has in common.
pub(crate) fn plan(request: &CompletionRequest, options: &ServerOptions) -> Result<Plan, ApiError> {
    request.check()?;
    let mut plan = Plan::new(request.shared(), options)?;
    plan.logprobs = request.logprobs.map(|Count(top)| top);
    at_most("logprobs", plan.logprobs.unwrap_or(0), 0, options.limits.top_logprobs, "tokens")?;
    let moss = request.moss.clone().unwrap_or_default();
    if moss.plugins.is_some_and(|plugins| !plugins.on().is_empty()) {
        let expected = ": plugins belong to chats".to_owned();
        return Err(ApiError::Unsupported { param: "moss.plugins".into(), expected });
    }
    if moss.truncation == Some(Truncation::Auto) {
        let expected = " as `auto`: a text has no turns that could be dropped".to_owned();
        return Err(ApiError::Unsupported { param: "moss.truncation".into(), expected });
    }
    Ok(plan)
}

/// Prompts as ids.
fn read(tokenizer: &Tokenizer, prompt: Prompt) -> Result<Vec<Vec<u32>>, ApiError> {
    let encode = |text: String| Ok(tokenizer.encode(&text)?);
    match prompt {
        Prompt::Text(text) => Ok(vec![encode(text)?]),
        Prompt::Texts(texts) => texts.into_iter().map(encode).collect(),
        Prompt::Ids(ids) => Ok(vec![ids]),
        Prompt::ManyIds(many) => Ok(many),
    }
}

async fn whole(
    mut generation: Generation,
    tokenizer: &Tokenizer,
) -> Result<(Outcome, TextLogprobs), ApiError> {
    let mut likely = Likelihoods::default();
    loop {
        match generation.next().await? {
            Event::Text { id: Some(id), logprobs: Some(logprobs), .. } => {
                likely.add(tokenizer, id, &logprobs)
            }
            Event::Finished(outcome) => return Ok((outcome, likely.so_far)),
            _ => {}
        }
    }
}

fn respond(
    state: &Shared,
    model: &ServedModel,
    plan: &Plan,
    id: String,
    notes: Notes,
    generations: Vec<Generation>,
) -> Response {
    let events =
        generations.into_iter().enumerate().map(|(index, generation)| Box::pin(events(index, generation)));
    let mut merged = stream::select_all(events);
    let (name, created, tokenizer) = (state.options.model.clone(), now(), model.tokenizer.clone());
    let (include_usage, n) = (plan.include_usage, plan.n);
    let mut likely = vec![Likelihoods::default(); merged.len()];
    sse::respond(state.options.keep_alive, move |out| async move {
        let mut first = notes.clone().unless_empty();
        let mut chunk = |choices| {
            let (id, model) = (id.clone(), name.clone());
            // With `include_usage`, every chunk but the last one has it as null.
            let usage = include_usage.then_some(None);
            Chat { id, object: "text_completion", created, model, choices, usage, moss: first.take() }
        };
        let (mut usage, mut report) = (Usage::default(), None);
        while let Some((index, event)) = merged.next().await {
            match event? {
                Event::Text { id, piece: text, logprobs } => {
                    let logprobs = id.zip(logprobs).map(|(id, found)| {
                        likely[index].add(&tokenizer, id, &found);
                        std::mem::take(&mut likely[index].so_far)
                    });
                    if !text.is_empty() || logprobs.is_some() {
                        out.send(&chunk(vec![TextChoice { index, text, logprobs, finish_reason: None }]))
                            .await?;
                    }
                }
                Event::Finished(outcome) => {
                    usage.add(&outcome, index % n == 0);
                    report.get_or_insert_with(|| Report::of(&outcome));
                    let finish_reason = Some(finish_reason(&outcome.cause));
                    let last = TextChoice { index, text: String::new(), logprobs: None, finish_reason };
                    out.send(&chunk(vec![last])).await?;
                }
                _ => {}
            }
        }
        if include_usage {
            let (usage, moss) = (Some(Some(usage)), Some(Extra { report, notes }));
            out.send(&Chat { usage, moss, ..chunk(Vec::new()) }).await?;
        }
        out.done().await
    })
}

/// A generation's events, each with its number, up to and with the last one or the first error.
fn events(
    index: usize,
    generation: Generation,
) -> impl futures_util::Stream<Item = (usize, Result<Event, ApiError>)> + Send {
    stream::unfold(Some(generation), move |generation| async move {
        let mut generation = generation?;
        let event = generation.next().await;
        let is_last = matches!(event, Err(_) | Ok(Event::Finished(_)));
        Some(((index, event), (!is_last).then_some(generation)))
    })
}

/// The older form of likelihoods, as it grows.
#[derive(Clone, Default)]
struct Likelihoods {
    so_far: TextLogprobs,
    characters: usize,
}

impl Likelihoods {
    fn add(&mut self, tokenizer: &Tokenizer, id: u32, likely: &TokenLogprobs) {
        let text = |id: u32| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned();
        // JSON has no -inf; this is what OpenAI's API says of tokens that are out of the question.
        let finite = |logprob: f32| logprob.max(-9999.0);
        let top: BTreeMap<_, _> =
            likely.top.iter().map(|(id, logprob)| (text(*id), finite(*logprob))).collect();
        let token = text(id);
        self.so_far.text_offset.push(self.characters);
        self.characters += token.chars().count();
        self.so_far.tokens.push(token);
        self.so_far.token_logprobs.push(finite(likely.logprob));
        self.so_far.top_logprobs.push(top);
    }
}
