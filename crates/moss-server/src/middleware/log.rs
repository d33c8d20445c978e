//! Logs one line per request, with an id that the response also has, the owner of its API key, and
//! the trace that a client or proxy assigns it to (`traceparent`). Prompts and answers are not logged.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, field};

use super::trace_parent::TraceParent;
use crate::state::Shared;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Maximum length of an id that a client chooses.
const LONGEST_ID: usize = 64;

pub(crate) async fn write(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = chosen(&request).unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!(
        "request",
        %id,
        %method,
        route,
        key = field::Empty,
        trace_id = field::Empty,
        parent_id = field::Empty,
    );
    if let Some(parent) = TraceParent::of(request.headers()) {
        span.record("trace_id", field::display(parent.trace_id));
        span.record("parent_id", field::display(parent.parent_id));
    }
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    state.metrics.served(&route, status);
    span.in_scope(|| tracing::info!(status, seconds = began.elapsed().as_secs_f64(), "answered"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Returns the client's id, if it contains only plain characters.
fn chosen(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (plain && (1..=LONGEST_ID).contains(&id.len())).then(|| id.to_owned())
}
