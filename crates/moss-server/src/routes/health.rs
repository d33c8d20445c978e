//! `GET /health`, `GET /ready`, `GET /metrics`: for those who watch. None of them waits for the
//! engine.

use axum::{extract::State, http::header, response::IntoResponse};

use crate::{error::ApiError, state::Shared};

/// The process answers, and its engine has not failed for good: a supervisor should restart a
/// server that says otherwise.
pub(crate) async fn health(State(state): State<Shared>) -> Result<&'static str, ApiError> {
    match state.fault() {
        Some(fault) => Err(fault.into()),
        None => Ok("alive\n"),
    }
}

/// A model is loaded, and its queue is open.
pub(crate) async fn ready(State(state): State<Shared>) -> Result<&'static str, ApiError> {
    state.model()?;
    Ok("ready\n")
}

pub(crate) async fn metrics(State(state): State<Shared>) -> Result<impl IntoResponse, ApiError> {
    let engine = state.loaded().map(|model| model.engine.metrics());
    let text = state.meters.text(engine).map_err(|_| ApiError::Internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text))
}
