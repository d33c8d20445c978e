//! Errors, and the table of their HTTP statuses.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use moss_engine::EngineError;
use moss_messages::Message;
use moss_text::TextError;
use moss_unicode::{Context, escape};

use crate::{
    reason::{Expected, HostFault, Reason},
    wire::error::{ErrorBody, ErrorDetail, Unfinished},
};

/// The message to clients after an error that stopped the engine. The cause is logged.
const ENGINE_FAILED: &str = "the engine has failed, and the server is about to stop";

/// An error of a server.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum ServerError {
    /// The engine has no tokenizer.
    NoTokenizer,
    /// The tokenizer lacks special tokens of a conversation.
    Tokenizer(
        #[source]
        #[message(cause)]
        TextError,
    ),
    /// The server has a model already.
    AlreadyOpen,
    /// An empty list of API keys for a server that has keys: it would admit all clients.
    NoKeys,
    /// The socket failed.
    Listen(#[from] std::io::Error),
}

/// An error of a request. The message names the object, the value found and the value expected.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the body is not the JSON expected: {reason}")]
    Json {
        param: Option<String>,
        reason: String,
    },
    #[error("`{param}` is not supported{reason}")]
    Unsupported { param: String, reason: Reason },
    #[error("`{param}` is {found}, expected {expected}")]
    OutOfRange {
        param: String,
        found: String,
        expected: Expected,
    },
    #[error("the content type is `{found}`, expected `application/json`")]
    ContentType { found: String },
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("the body did not arrive within {seconds} seconds")]
    BodyTooSlow { seconds: u64 },
    #[error("the body was cut off")]
    BodyCutOff,
    #[error("the request is not valid HTTP/1.1")]
    NotHttp,
    #[error("the request's URI is too long")]
    UriTooLong,
    #[error("the head of the request is too large")]
    HeadTooLarge,
    #[error("the key is missing or wrong, expected `Authorization: Bearer KEY`")]
    Key,
    #[error(
        "this server does not answer for the host `{found}`; to allow it, start the server with `--allow-host {name}`"
    )]
    Host { found: String, name: String },
    #[error(
        "this server answers only for the hosts that it knows, and the request names none: send a `Host` header"
    )]
    NoHost,
    #[error("the request has {found}, expected one `Host` header with one name")]
    HostHeader { found: HostFault },
    #[error("there is no `{method} {path}` here")]
    NoRoute { method: String, path: String },
    #[error("`{path}` does not take {method}")]
    Method {
        method: String,
        path: String,
        allow: &'static str,
    },
    #[error("there is no model `{found}` here, only `{expected}`")]
    NoModel { found: String, expected: String },
    #[error("the model is still being loaded")]
    Loading,
    #[error("the server is shutting down")]
    Draining,
    #[error("the request did not leave the queue within {seconds} seconds")]
    QueueTime { seconds: u64 },
    #[error("the prompt of {tokens} tokens was not processed within {seconds} seconds")]
    PromptTime { tokens: usize, seconds: u64 },
    #[error("the server was shut down before the answer was complete")]
    Interrupted { partial: Vec<String> },
    #[error("an internal error ended this request")]
    Internal,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<TextError> for ApiError {
    fn from(error: TextError) -> Self {
        Self::Engine(error.into())
    }
}

impl ApiError {
    pub(crate) fn out_of_range(param: &str, found: impl ToString, expected: Expected) -> Self {
        Self::OutOfRange {
            param: param.to_owned(),
            found: found.to_string(),
            expected,
        }
    }

    pub(crate) fn unsupported(param: impl Into<String>, reason: Reason) -> Self {
        Self::Unsupported {
            param: param.into(),
            reason,
        }
    }

    /// Returns the status, and OpenAI's `type` and `code`.
    #[rustfmt::skip]
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        const INVALID: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        match self {
            Self::Json { .. } => (StatusCode::BAD_REQUEST, INVALID, "invalid_json"),
            Self::Unsupported { .. } => (StatusCode::BAD_REQUEST, INVALID, "unsupported_parameter"),
            Self::OutOfRange { .. } => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "invalid_value"),
            Self::ContentType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, "invalid_content_type"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, INVALID, "body_too_large"),
            Self::BodyTooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, INVALID, "body_too_slow"),
            Self::BodyCutOff => (StatusCode::BAD_REQUEST, INVALID, "body_cut_off"),
            Self::NotHttp => (StatusCode::BAD_REQUEST, INVALID, "invalid_http"),
            Self::UriTooLong => (StatusCode::URI_TOO_LONG, INVALID, "uri_too_long"),
            Self::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, INVALID, "head_too_large"),
            Self::Key => (StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key"),
            Self::HostHeader { .. } => (StatusCode::BAD_REQUEST, INVALID, "invalid_host"),
            Self::Host { .. } | Self::NoHost => (StatusCode::MISDIRECTED_REQUEST, INVALID, "unknown_host"),
            Self::NoRoute { .. } => (StatusCode::NOT_FOUND, INVALID, "unknown_url"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, INVALID, "method_not_allowed"),
            Self::NoModel { .. } => (StatusCode::NOT_FOUND, INVALID, "model_not_found"),
            Self::Loading => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "loading"),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "shutting_down"),
            Self::QueueTime { .. } => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "queue_timeout"),
            Self::PromptTime { .. } => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "prompt_timeout"),
            Self::Interrupted { .. } => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "shutting_down"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "internal_error"),
            Self::Engine(error) => engine_kind(error),
        }
    }

    /// Returns the field of the request that is invalid.
    fn param(&self) -> Option<String> {
        match self {
            Self::Json { param, .. } => param.clone(),
            Self::Unsupported { param, .. } | Self::OutOfRange { param, .. } => Some(param.clone()),
            Self::NoModel { .. } => Some("model".into()),
            Self::Engine(EngineError::Sampling(moss_sampling::SamplingError::Parameter {
                name,
                ..
            })) => Some((*name).to_owned()),
            Self::Engine(EngineError::Sampling(moss_sampling::SamplingError::UnknownBias {
                id,
                ..
            })) => Some(format!("logit_bias.{id}")),
            _ => None,
        }
    }

    /// Returns the seconds after which a client may retry.
    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Engine(EngineError::QueueFull { .. }) => Some(1),
            Self::Loading | Self::Draining | Self::QueueTime { .. } => Some(5),
            Self::PromptTime { .. } | Self::Interrupted { .. } => Some(5),
            Self::Engine(EngineError::ShutDown) => Some(5),
            Self::Engine(error) if error.is_fatal() => Some(5),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// Returns the body for the client. Internal errors have a general message; their causes are
    /// logged.
    pub(crate) fn body(&self) -> ErrorBody {
        let (status, kind, code) = self.kind();
        let is_public = !status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE;
        let message = match self {
            Self::Engine(error) if error.is_fatal() => ENGINE_FAILED.to_owned(),
            _ if is_public => self.to_string(),
            _ => Self::Internal.to_string(),
        };
        let message = escape(&message, Context::Line).into_owned();
        ErrorBody {
            error: ErrorDetail {
                message,
                kind,
                param: self.param(),
                code,
                moss: self.unfinished(),
            },
        }
    }

    /// Returns why the answer is incomplete, if the request was valid.
    fn unfinished(&self) -> Option<Unfinished> {
        let unfinished = |stop_reason| Unfinished {
            stop_reason,
            partial: Vec::new(),
        };
        match self {
            Self::QueueTime { .. } => Some(unfinished("queue_time_limit")),
            Self::PromptTime { .. } => Some(unfinished("prompt_time_limit")),
            Self::Interrupted { partial } => Some(Unfinished {
                partial: partial.clone(),
                ..unfinished("shutdown")
            }),
            Self::Engine(error) if error.is_fatal() => Some(unfinished("engine_failed")),
            _ => None,
        }
    }
}

/// Returns status, type and code of errors of the engine.
#[rustfmt::skip]
fn engine_kind(error: &EngineError) -> (StatusCode, &'static str, &'static str) {
    const INVALID: &str = "invalid_request_error";
    const SERVER: &str = "server_error";
    match error {
        EngineError::PromptTooLong { .. } => (StatusCode::BAD_REQUEST, INVALID, "context_length_exceeded"),
        EngineError::Text(error) => match **error {
            TextError::TurnTooLong { .. } => (StatusCode::BAD_REQUEST, INVALID, "context_length_exceeded"),
            TextError::UnknownId { .. } => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "invalid_prompt"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "tokenizer_error"),
        },
        EngineError::EmptyPrompt | EngineError::UnknownToken { .. } => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "invalid_prompt"),
        EngineError::Sampling(moss_sampling::SamplingError::Parameter { .. }) => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "invalid_value"),
        EngineError::Sampling(moss_sampling::SamplingError::UnknownBias { .. }) => (StatusCode::BAD_REQUEST, INVALID, "invalid_value"),
        // The request's biases can exclude every token.
        EngineError::Sampling(moss_sampling::SamplingError::NothingLeft { .. }) => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "nothing_left"),
        EngineError::QueueFull { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "queue_full"),
        error if error.is_fatal() => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "engine_failed"),
        EngineError::ShutDown => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "shutting_down"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "engine_error"),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let text = self.to_string();
        // The message may contain control sequences from the request.
        let shown = escape(&text, Context::Line);
        match status {
            StatusCode::INTERNAL_SERVER_ERROR => tracing::error!(error = %shown, "request failed"),
            _ => tracing::debug!(error = %shown, %status, "request rejected"),
        }
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Self::Key => {
                drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            Self::Method { allow, .. } => {
                drop(headers.insert(header::ALLOW, HeaderValue::from_static(allow)))
            }
            _ => {}
        }
        response
    }
}
