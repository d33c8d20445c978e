//! Bodies: of bounded size, in bounded time, JSON, and without a field that nobody would mind.

use axum::{
    extract::{FromRequest, Request},
    http::header,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::{error::ApiError, state::Shared};

/// A body of that form.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        let found = request.headers().get(header::CONTENT_TYPE);
        let found =
            found.map(|found| String::from_utf8_lossy(found.as_bytes()).into_owned()).unwrap_or_default();
        // It also keeps other pages' forms out, which browsers send without asking.
        let essence = found.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::ContentType { found });
        }
        let (limit, time) = (state.options.limits.body_bytes, state.options.limits.body_time);
        let whole = Limited::new(request.into_body(), limit).collect();
        let body = tokio::time::timeout(time, whole)
            .await
            .map_err(|_| ApiError::BodyTooSlow { seconds: time.as_secs() })?
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => ApiError::BodyTooLarge { limit },
                false => ApiError::BodyCutOff,
            })?;
        parse(&body.to_bytes()).map(Self)
    }
}

/// # Errors
/// [`ApiError::Unsupported`] for a field that `T` does not have, [`ApiError::Json`] naming the field for anything else.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Windows programs put a byte order mark in front of the files that are sent.
    let text = moss_unicode::decode_start(bytes)
        .map_err(|error| ApiError::Json { param: None, reason: error.to_string() })?;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = Some(error.path().to_string()).filter(|path| path != ".");
        let reason = error.inner().to_string();
        // Serde has one kind of error for all that is wrong with data; what it says of unknown fields has this form.
        match reason.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            Some((field, rest)) => {
                let known = rest.trim_start_matches(", expected ").split(" at line ").next();
                let expected = known.filter(|known| !known.is_empty());
                let expected = expected.map(|known| format!(", expected {known}")).unwrap_or_default();
                ApiError::Unsupported { param: with_field(path, field), expected }
            }
            None => ApiError::Json {
                reason: path.iter().map(|path| format!("`{path}`: ")).chain([reason]).collect(),
                param: path,
            },
        }
    })?;
    reader.end().map_err(|error| ApiError::Json { param: None, reason: error.to_string() })?;
    Ok(value)
}

/// The path of a field, which may end in it already.
fn with_field(path: Option<String>, field: &str) -> String {
    match path {
        None => field.to_owned(),
        Some(path) if path == field || path.ends_with(&format!(".{field}")) => path,
        Some(path) => format!("{path}.{field}"),
    }
}
