//! The routes. Each has a file.

pub(crate) mod chat;
pub(crate) mod completions;
mod docs;
mod embeddings;
mod health;
mod info;
mod likelihoods;
mod models;
mod page;
pub(crate) mod published;
mod stats;
mod tokens;

use std::any::Any;

use axum::{
    Router,
    http::{Method, Uri},
    middleware::{from_fn, from_fn_with_state, map_response},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{error::ApiError, middleware, state::Shared};

/// Returns all routes behind the middleware.
pub(crate) fn router(state: &Shared) -> Router {
    let behind_key = Router::new()
        .route("/v1/chat/completions", only(post(chat::chat), "POST"))
        .route("/v1/completions", only(post(completions::complete), "POST"))
        .route("/v1/embeddings", only(post(embeddings::embed), "POST"))
        .route("/tokenize", only(post(tokens::tokenize), "POST"))
        .route("/detokenize", only(post(tokens::detokenize), "POST"))
        .route("/v1/models", only(get(models::list), "GET, HEAD"))
        .route("/v1/models/{*name}", only(get(models::one), "GET, HEAD"))
        .route("/api/info", only(get(info::info), "GET, HEAD"))
        .route("/stats", only(get(stats::stats), "GET, HEAD"))
        .route("/metrics", only(get(health::metrics), "GET, HEAD"))
        .route(
            "/",
            only(get(page::file).post(published::ask), "GET, HEAD, POST"),
        )
        .route_layer(from_fn_with_state(state.clone(), middleware::key::check));
    let open = Router::new()
        .route("/health", only(get(health::health), "GET, HEAD"))
        .route("/ready", only(get(health::ready), "GET, HEAD"))
        .route("/openapi.json", only(get(docs::description), "GET, HEAD"))
        .route("/docs", only(get(docs::page), "GET, HEAD"))
        .fallback(page::file);
    let router = behind_key
        .merge(open)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), middleware::host::check));
    middleware::cors::allow(router, &state.options.cors_origins)
        .layer(from_fn(middleware::host::require_one))
        .layer(map_response(middleware::headers::add))
        .layer(from_fn_with_state(state.clone(), middleware::log::write))
        .with_state(state.clone())
}

/// Returns a route that names its methods in the error for any other method.
fn only(route: MethodRouter<Shared>, allow: &'static str) -> MethodRouter<Shared> {
    route.fallback(move |method: Method, uri: Uri| async move {
        ApiError::Method {
            method: method.to_string(),
            path: uri.path().to_owned(),
            allow,
        }
    })
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::Internal.into_response()
}
