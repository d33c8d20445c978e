//! Headers that every answer has.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};

/// Nothing is to be taken for what it does not say it is.
pub(crate) async fn add(mut response: Response) -> Response {
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
