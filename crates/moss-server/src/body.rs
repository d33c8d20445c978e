//! Bodies: of bounded size, in bounded time, JSON. Unknown fields are ignored and reported.

use axum::{
    extract::{FromRequest, Request},
    http::header,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_ignored::Path;
use serde_json::Value;

use crate::{error::ApiError, reason::Reason, state::Shared};

/// Maximum number of ignored fields in an answer, and of characters of each.
const MOST_IGNORED: usize = 32;
const LONGEST_PATH: usize = 96;

/// A body of that form, and the paths of fields that it has beyond.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T, pub(crate) Vec<String>);

impl<T: DeserializeOwned> FromRequest<Shared> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        let found = request.headers().get(header::CONTENT_TYPE);
        let found = found
            .map(|found| String::from_utf8_lossy(found.as_bytes()).into_owned())
            .unwrap_or_default();
        // This also rejects forms of other web pages, which browsers send without a preflight.
        let essence = found.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::ContentType { found });
        }
        let (limit, time) = (
            state.options.limits.body_bytes,
            state.options.limits.body_time,
        );
        let whole = Limited::new(request.into_body(), limit).collect();
        let body = tokio::time::timeout(time, whole)
            .await
            .map_err(|_| ApiError::BodyTooSlow {
                seconds: time.as_secs(),
            })?
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => ApiError::BodyTooLarge { limit },
                false => ApiError::BodyCutOff,
            })?;
        let parsed: Self = parse(&body.to_bytes())?;
        match parsed.1.first() {
            Some(field) if state.options.strict => {
                Err(ApiError::unsupported(field, Reason::UnknownField))
            }
            _ => {
                state.ignored.log(&parsed.1);
                Ok(parsed)
            }
        }
    }
}

/// # Errors
/// [`ApiError::Json`] naming the field.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<JsonBody<T>, ApiError> {
    // Files from Windows programs may begin with a byte order mark.
    let text = moss_unicode::decode_start(bytes).map_err(|error| ApiError::Json {
        param: None,
        reason: error.to_string(),
    })?;
    if let Ok(value) = serde_json::from_slice(text)
        && let Some(param) = list_for_object(&value)
    {
        let reason = format!("`{param}`: invalid type: sequence, expected an object");
        return Err(ApiError::Json {
            param: Some(param),
            reason,
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let mut track = serde_path_to_error::Track::new();
    let mut ignored = Vec::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let value = serde_ignored::deserialize(tracked, |path| note(&mut ignored, &path));
    let value = value.map_err(|error: serde_json::Error| {
        let path = Some(track.path().to_string()).filter(|path| path != ".");
        let reason = path
            .iter()
            .map(|path| format!("`{path}`: "))
            .chain([error.to_string()])
            .collect();
        ApiError::Json {
            param: path,
            reason,
        }
    })?;
    reader.end().map_err(|error| ApiError::Json {
        param: None,
        reason: error.to_string(),
    })?;
    Ok(JsonBody(value, ignored))
}

/// Returns the path of an array in place of an object. Serde would interpret its elements as the
/// object's fields. An empty array counts as an empty object. This parses the body a second time,
/// which costs little compared with tokenization.
fn list_for_object(body: &Value) -> Option<String> {
    let field = |value: &Value, at: &str, name: &str| {
        let is_full = !value.get(name)?.as_array()?.is_empty();
        is_full.then(|| format!("{at}{name}"))
    };
    if body.is_array() {
        return Some("body".into());
    }
    let outer = ["stream_options", "moss"]
        .iter()
        .find_map(|name| field(body, "", name));
    let plugins = || field(body.get("moss")?, "moss.", "plugins");
    let in_message = |(index, message): (usize, &Value)| {
        let at = format!("messages[{index}]");
        let parts = || {
            message
                .get("content")?
                .as_array()?
                .iter()
                .position(Value::is_array)
        };
        match message.is_array() {
            true => Some(at),
            false => field(message, &format!("{at}."), "moss")
                .or_else(|| parts().map(|part| format!("{at}.content[{part}]"))),
        }
    };
    let messages = || {
        body.get("messages")?
            .as_array()?
            .iter()
            .enumerate()
            .find_map(in_message)
    };
    outer.or_else(plugins).or_else(messages)
}

/// Records an ignored field once, up to a maximum number of fields.
fn note(ignored: &mut Vec<String>, path: &Path<'_>) {
    if ignored.len() < MOST_IGNORED {
        let path: String = dotted(path).chars().take(LONGEST_PATH).collect();
        if !ignored.contains(&path) {
            ignored.push(path);
        }
    }
}

/// Formats a path as in errors: `messages[0].content`.
fn dotted(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", dotted(parent)),
        Path::Map { parent, key } => match dotted(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => dotted(parent),
    }
}
