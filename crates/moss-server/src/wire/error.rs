//! Errors as OpenAI's clients read them.

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
    /// The field at fault.
    pub(crate) param: Option<String>,
    pub(crate) code: &'static str,
    /// What became of the answer, where there was to be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moss: Option<Unfinished>,
}

/// Why there is no whole answer.
#[derive(Debug, Serialize)]
pub(crate) struct Unfinished {
    pub(crate) stop_reason: &'static str,
    /// The text so far of each answer, where it was not sent already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) partial: Vec<String>,
}
