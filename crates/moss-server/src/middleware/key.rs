//! API keys: `Authorization: Bearer KEY`, compared in constant time.

use axum::{
    extract::{Request, State},
    http::{Method, header},
    middleware::Next,
    response::Response,
};
use subtle::{Choice, ConstantTimeEq};

use crate::{error::ApiError, state::Shared};

pub(crate) async fn check(
    State(state): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // The page is public: a browser could not send a key for it.
    let is_page =
        request.uri().path() == "/" && matches!(*request.method(), Method::GET | Method::HEAD);
    let keys = &state.options.api_keys;
    if keys.is_empty() || is_page {
        return Ok(next.run(request).await);
    }
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(|given| given.as_bytes());
    let given = given.and_then(|given| given.split_at_checked("Bearer ".len()));
    let key = given
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, key)| key.trim_ascii()); // one space or more (RFC 9110, section 11.4)
    if !key.is_some_and(|key| is_known(keys, key)) {
        return Err(ApiError::Key);
    }
    Ok(next.run(request).await)
}

/// Compares with every key completely.
fn is_known(keys: &[String], given: &[u8]) -> bool {
    let found = keys.iter().fold(Choice::from(0), |found, key| {
        found | key.as_bytes().ct_eq(given)
    });
    found.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_known_and_parts_of_keys_are_not() {
        let keys = ["first".to_owned(), "second".to_owned()];
        assert!(is_known(&keys, b"first") && is_known(&keys, b"second"));
        assert!(!is_known(&keys, b"firs") && !is_known(&keys, b"second2") && !is_known(&keys, b""));
    }
}
