//! `GET /health`, `GET /ready` and `GET /metrics`, for monitoring. They do not wait for the engine.

use axum::{extract::State, http::header, response::IntoResponse};

use crate::{error::ApiError, state::Shared};

/// Succeeds unless the engine has failed permanently. A supervisor should restart a server whose
/// health check fails.
pub(crate) async fn health(State(state): State<Shared>) -> Result<&'static str, ApiError> {
    match state.fault() {
        Some(fault) => Err(fault.into()),
        None => Ok("alive\n"),
    }
}

/// Succeeds if a model is loaded and accepts requests.
pub(crate) async fn ready(State(state): State<Shared>) -> Result<&'static str, ApiError> {
    state.model()?;
    Ok("ready\n")
}

pub(crate) async fn metrics(State(state): State<Shared>) -> Result<impl IntoResponse, ApiError> {
    let text = state.metrics.text().map_err(|_| ApiError::Internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text))
}
