//! Errors in OpenAI's format.

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: ErrorDetail,
}

#[derive(Debug, Serialize)]
pub(crate) struct ErrorDetail {
    pub(crate) message: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The invalid field.
    pub(crate) param: Option<String>,
    pub(crate) code: &'static str,
    /// The state of the answer, if the request was valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moss: Option<Unfinished>,
}

/// Why an answer is incomplete.
#[derive(Debug, Serialize)]
pub(crate) struct Unfinished {
    pub(crate) stop_reason: &'static str,
    /// The partial text of each answer that was not sent yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) partial: Vec<String>,
}
