//! `POST /v1/completions`.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, future::try_join_all, stream};
use moss_engine::{Event, Outcome, StopRules};
use moss_text::{NextRun, TextMode, Tokenizer};

use crate::{
    ServedModel, ServerOptions,
    body::JsonBody,
    error::ApiError,
    generation::{Admission, Generation, one_admitted},
    middleware::key::Owner,
    plan::{Plan, at_most},
    reason::Reason,
    routes::likelihoods::Likelihoods,
    sse,
    state::{Shared, now},
    wire::{
        answer::{
            Chat, Extra, Notes, Report, TextChoice, TextLogprobs, Usage, early_report, end_error,
            finish_reason, reply_error,
        },
        completion::{CompletionRequest, Prompt},
        number::CountOrOff,
        shared::Truncation,
    },
};

/// The default prompt: the separator of documents in training.
const DEFAULT_PROMPT: &str = "<|endoftext|>";

pub(crate) async fn complete(
    State(state): State<Shared>,
    Extension(Owner(owner)): Extension<Owner>,
    JsonBody(request, ignored): JsonBody<CompletionRequest>,
) -> Result<Response, ApiError> {
    let model = state.model()?.clone();
    let mut plan = plan(&request, &state.options)?;
    plan.owner = owner;
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
    at_most(
        "n",
        count.saturating_mul(plan.n),
        1,
        most,
        "answers to all prompts together",
    )?;
    let stop_ids = StopRules::end_of_text(model.engine.model_config()).stop_ids;
    let answers = prompts
        .iter()
        .flat_map(|prompt| (0..plan.n).map(move |index| (prompt, index)));
    let admission = Admission::default();
    let start = |(prompt, index): (&Vec<u32>, usize)| {
        let run = NextRun {
            prompt: prompt.clone(),
            text: TextMode::Raw,
            stop_ids: stop_ids.clone(),
            max_new_tokens: Some(plan.max_tokens),
            is_follow_up: false,
        };
        Generation::start(&state, &model, plan.request(run, index), &admission)
    };
    let mut generations = answers.map(start).collect::<Result<Vec<_>, _>>()?;
    let notes = Notes {
        ignored,
        ..Notes::default()
    };
    let id = format!("cmpl-{}", uuid::Uuid::new_v4().simple());
    if plan.stream {
        one_admitted(generations.iter_mut()).await?;
        return Ok(respond(&state, &model, &plan, id, notes, generations));
    }
    let whole = try_join_all(
        generations
            .into_iter()
            .map(|generation| whole(generation, &model.tokenizer)),
    )
    .await?;
    if let Some(error) = reply_error(
        whole
            .iter()
            .map(|(text, outcome, _)| (outcome, text.as_str())),
    ) {
        return Err(error);
    }
    let (mut usage, mut report, mut choices) = (Usage::default(), None, Vec::new());
    for (index, (text, outcome, logprobs)) in whole.into_iter().enumerate() {
        usage.add(&outcome, index % plan.n == 0);
        report.get_or_insert_with(|| Report::of(&outcome));
        let finish_reason = Some(finish_reason(&outcome.cause));
        let logprobs = plan.logprobs.map(|_| logprobs);
        choices.push(TextChoice {
            index,
            text,
            logprobs,
            finish_reason,
        });
    }
    let (object, model) = ("text_completion", state.options.model.clone());
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

/// Returns the parameters of all answers.
pub(crate) fn plan(request: &CompletionRequest, options: &ServerOptions) -> Result<Plan, ApiError> {
    request.check()?;
    let mut plan = Plan::new(request.shared(), options)?;
    plan.logprobs = request.logprobs.and_then(|CountOrOff(top)| top);
    at_most(
        "logprobs",
        plan.logprobs.unwrap_or(0),
        0,
        options.limits.top_logprobs,
        "tokens",
    )?;
    let moss = request.moss.clone().unwrap_or_default();
    if moss.plugins.is_some_and(|plugins| !plugins.on().is_empty()) {
        return Err(ApiError::unsupported("moss.plugins", Reason::ChatOnly));
    }
    if moss.truncation == Some(Truncation::Auto) {
        return Err(ApiError::unsupported("moss.truncation", Reason::NoTurns));
    }
    Ok(plan)
}

/// Returns the prompts as token ids.
fn read(tokenizer: &Tokenizer, prompt: Option<Prompt>) -> Result<Vec<Vec<u32>>, ApiError> {
    let encode = |text: String| Ok(tokenizer.encode(&text)?);
    match prompt.unwrap_or_else(|| Prompt::Text(DEFAULT_PROMPT.to_owned())) {
        Prompt::Text(text) => Ok(vec![encode(text)?]),
        Prompt::Texts(texts) => texts.into_iter().map(encode).collect(),
        Prompt::Ids(ids) => Ok(vec![ids]),
        Prompt::ManyIds(many) => Ok(many),
    }
}

async fn whole(
    mut generation: Generation,
    tokenizer: &Tokenizer,
) -> Result<(String, Outcome, TextLogprobs), ApiError> {
    let (mut text, mut tokens) = (String::new(), Vec::new());
    let mut likely = Likelihoods::new(tokenizer);
    loop {
        match generation.next().await? {
            Event::Text {
                id,
                piece,
                tokens: more,
                logprobs,
                ..
            } => {
                text.push_str(&piece);
                tokens.extend(more);
                likely.add(id.zip(logprobs));
            }
            Event::Finished(outcome) => return Ok((text, outcome, likely.of_text(tokens))),
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
    let events = generations
        .into_iter()
        .enumerate()
        .map(|(index, generation)| Box::pin(events(index, generation)));
    let mut merged = stream::select_all(events);
    let (name, created, tokenizer) = (state.options.model.clone(), now(), model.tokenizer.clone());
    let (include_usage, n) = (plan.include_usage, plan.n);
    let likely = || plan.logprobs.map(|_| Likelihoods::new(&tokenizer));
    let mut likely: Vec<_> = (0..merged.len()).map(|_| likely()).collect();
    sse::respond(state.options.keep_alive, move |out| async move {
        let mut first = notes.clone().unless_empty();
        let mut chunk = |choices| {
            let (id, model) = (id.clone(), name.clone());
            // With `include_usage`, every chunk but the last one has it as null.
            let usage = include_usage.then_some(None);
            Chat {
                id,
                object: "text_completion",
                created,
                model,
                choices,
                usage,
                moss: first.take(),
            }
        };
        let (mut usage, mut report) = (Usage::default(), None);
        while let Some((index, event)) = merged.next().await {
            match event? {
                Event::Text {
                    id,
                    piece: text,
                    tokens,
                    logprobs,
                    ..
                } => {
                    let logprobs = likely[index].as_mut().map(|likely| {
                        likely.add(id.zip(logprobs));
                        likely.of_text(tokens)
                    });
                    if !text.is_empty() {
                        out.send(&chunk(vec![TextChoice {
                            index,
                            text,
                            logprobs,
                            finish_reason: None,
                        }]))
                        .await?;
                    }
                }
                Event::Finished(outcome) => {
                    if let Some(error) = end_error(&outcome) {
                        return Err(error);
                    }
                    usage.add(&outcome, index % n == 0);
                    report.get_or_insert_with(|| Report::of(&outcome));
                    let finish_reason = Some(finish_reason(&outcome.cause));
                    let last = TextChoice {
                        index,
                        text: String::new(),
                        logprobs: None,
                        finish_reason,
                    };
                    out.send(&chunk(vec![last]).with_report(early_report(&outcome)))
                        .await?;
                }
                _ => {}
            }
        }
        if include_usage {
            let (usage, moss) = (Some(Some(usage)), Some(Extra { report, notes }));
            out.send(&Chat {
                usage,
                moss,
                ..chunk(Vec::new())
            })
            .await?;
        }
        out.done().await
    })
}

/// Returns a generation's events with its index, up to the last one or the first error.
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
