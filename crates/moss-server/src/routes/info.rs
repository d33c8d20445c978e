//! `GET /api/info`: model, defaults and limits for the web page.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{error::ApiError, state::Shared};

#[derive(Serialize)]
pub(crate) struct Info {
    model: String,
    /// Tokens of prompt and answer together.
    context_length: usize,
    /// The model was trained with plugins.
    plugins: bool,
    defaults: Defaults,
    limits: Limits,
    version: &'static str,
}

#[derive(Serialize)]
struct Defaults {
    temperature: f32,
    top_p: f32,
    top_k: usize,
    repetition_penalty: f32,
    max_tokens: usize,
}

#[derive(Serialize)]
struct Limits {
    body_bytes: usize,
    messages: usize,
    n: usize,
    stop: usize,
    top_logprobs: usize,
    max_time_s: f64,
}

pub(crate) async fn info(State(state): State<Shared>) -> Result<Json<Info>, ApiError> {
    let model = state.loaded().ok_or(ApiError::Loading)?;
    let (defaults, limits) = (&state.options.defaults, &state.options.limits);
    let sampling = &defaults.sampling;
    Ok(Json(Info {
        model: state.options.model.clone(),
        context_length: model.engine.context_length(),
        plugins: model.has_plugins,
        defaults: Defaults {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k.unwrap_or(0),
            repetition_penalty: sampling.repetition_penalty,
            max_tokens: defaults.max_tokens,
        },
        limits: Limits {
            body_bytes: limits.body_bytes,
            messages: limits.messages,
            n: limits.choices,
            stop: limits.stop_strings,
            top_logprobs: limits.top_logprobs,
            max_time_s: limits.answer_time.as_secs_f64(),
        },
        version: env!("CARGO_PKG_VERSION"),
    }))
}
