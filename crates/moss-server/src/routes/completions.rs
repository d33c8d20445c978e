//! `POST /v1/completions`.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, future::try_join_all, stream};
use moss_engine::{Event, Outcome, StopRules, TokenLogprobs};
use moss_text::{AlignedToken, TokenAlignment, Tokenizer};

use crate::{
    ServedModel, ServerOptions,
    body::JsonBody,
    error::ApiError,
    generation::{Admission, Generation, one_admitted},
    plan::{Plan, at_most},
    sse,
    state::{Shared, now},
    wire::{
        answer::{
            Chat, Extra, Notes, Report, TextChoice, TextLogprobs, Usage, early_report, end_error,
            finish_reason, reply_error,
        },
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
        Generation::start(
            &state,
            &model,
            plan.request(prompt.clone(), stop_ids.clone(), index),
            &admission,
        )
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

/// What every answer to a text has in common.
pub(crate) fn plan(request: &CompletionRequest, options: &ServerOptions) -> Result<Plan, ApiError> {
    request.check()?;
    let mut plan = Plan::new(request.shared(), options)?;
    plan.logprobs = request.logprobs.map(|Count(top)| top);
    at_most(
        "logprobs",
        plan.logprobs.unwrap_or(0),
        0,
        options.limits.top_logprobs,
        "tokens",
    )?;
    let moss = request.moss.clone().unwrap_or_default();
    if moss.plugins.is_some_and(|plugins| !plugins.on().is_empty()) {
        let expected = ": plugins belong to chats".to_owned();
        return Err(ApiError::Unsupported {
            param: "moss.plugins".into(),
            expected,
        });
    }
    if moss.truncation == Some(Truncation::Auto) {
        let expected = " as `auto`: a text has no turns that could be dropped".to_owned();
        return Err(ApiError::Unsupported {
            param: "moss.truncation".into(),
            expected,
        });
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
) -> Result<(String, Outcome, TextLogprobs), ApiError> {
    let (mut text, mut likely) = (String::new(), Likelihoods::new(tokenizer));
    loop {
        match generation.next().await? {
            Event::Text {
                id,
                piece,
                logprobs,
            } => {
                text.push_str(&piece);
                likely.add(&piece, id.zip(logprobs));
            }
            Event::Finished(outcome) => return Ok((text, outcome, likely.finish().1)),
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
                    piece,
                    logprobs,
                } => {
                    let (text, logprobs) = match &mut likely[index] {
                        // Text comes with its tokens, which may be later than the text alone.
                        Some(likely) => {
                            likely.add(&piece, id.zip(logprobs));
                            let (text, logprobs) = likely.complete();
                            (text, Some(logprobs))
                        }
                        None => (piece, None),
                    };
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
                    if let Some((text, logprobs)) = likely[index].as_mut().map(Likelihoods::finish)
                        && !text.is_empty()
                    {
                        let logprobs = Some(logprobs);
                        out.send(&chunk(vec![TextChoice {
                            index,
                            text,
                            logprobs,
                            finish_reason: None,
                        }]))
                        .await?;
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
struct Likelihoods {
    tokenizer: Tokenizer,
    alignment: TokenAlignment<(u32, Box<TokenLogprobs>)>,
    /// Characters of the text that was told.
    characters: usize,
}

impl Likelihoods {
    fn new(tokenizer: &Tokenizer) -> Self {
        let (tokenizer, alignment) = (tokenizer.clone(), TokenAlignment::new(tokenizer.clone()));
        Self {
            tokenizer,
            alignment,
            characters: 0,
        }
    }

    fn add(&mut self, piece: &str, token: Option<(u32, Box<TokenLogprobs>)>) {
        if let Some(token) = token {
            self.alignment.push(token.0, token);
        }
        self.alignment.release(piece);
    }

    /// Text whose tokens are complete, and these.
    fn complete(&mut self) -> (String, TextLogprobs) {
        let (text, tokens) = self.alignment.complete();
        (text, self.tell(tokens))
    }

    /// The rest.
    fn finish(&mut self) -> (String, TextLogprobs) {
        let (text, tokens) = self.alignment.finish();
        (text, self.tell(tokens))
    }

    fn tell(&mut self, tokens: Vec<AlignedToken<(u32, Box<TokenLogprobs>)>>) -> TextLogprobs {
        let mut told = TextLogprobs::default();
        for AlignedToken {
            value: (id, likely),
            text: token,
            ..
        } in tokens
        {
            // JSON has no -inf; this is what OpenAI's API says of tokens that are out of the
            // question.
            let finite = |logprob: f32| logprob.max(-9999.0);
            let mut top = BTreeMap::new();
            for (other, logprob) in &likely.top {
                let text = match *other == id {
                    true => token.clone(),
                    false => {
                        String::from_utf8_lossy(self.tokenizer.token_bytes(*other)).into_owned()
                    }
                };
                // Parts of characters look alike; the likeliest comes first.
                top.entry(text).or_insert(finite(*logprob));
            }
            told.text_offset.push(self.characters);
            self.characters += token.chars().count();
            told.tokens.push(token);
            told.token_logprobs.push(finite(likely.logprob));
            told.top_logprobs.push(top);
        }
        told
    }
}
