//! Headers of every response.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};

/// Prevents browsers from guessing content types.
pub(crate) async fn add(mut response: Response) -> Response {
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
