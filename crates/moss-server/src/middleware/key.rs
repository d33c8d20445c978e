//! API keys: `Authorization: Bearer KEY`, compared in constant time.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use axum::{
    extract::{Request, State},
    http::{Method, header},
    middleware::Next,
    response::Response,
};

use crate::{error::ApiError, state::Shared};

/// The owner of the key of a request; empty without keys. An extension of every request behind the
/// check.
#[derive(Debug, Clone, Default)]
pub(crate) struct Owner(pub(crate) Arc<str>);

pub(crate) async fn check(
    State(state): State<Shared>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // The page is public: a browser could not send a key for it.
    let is_page =
        request.uri().path() == "/" && matches!(*request.method(), Method::GET | Method::HEAD);
    let owner = if state.keys.is_empty() || is_page {
        Owner::default()
    } else {
        let owner = given(&request).and_then(|key| state.keys.owner(key));
        let owner = owner.ok_or(ApiError::Key)?;
        tracing::Span::current().record("key", &*owner);
        state
            .metrics
            .owners
            .of(&owner)
            .requests
            .fetch_add(1, Relaxed);
        Owner(owner)
    };
    request.extensions_mut().insert(owner);
    Ok(next.run(request).await)
}

/// Returns the key that a request has.
fn given(request: &Request) -> Option<&[u8]> {
    let given = request.headers().get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = given.split_at_checked("Bearer ".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    is_bearer.then(|| key.trim_ascii()) // one space or more (RFC 9110, section 11.4)
}
