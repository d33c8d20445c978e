//! The request of `POST /v1/completions`.

use serde::Deserialize;
use serde_json::Value;

use super::{
    neutral,
    number::{Count, CountOrOff},
    text_request,
};
use crate::{error::ApiError, reason::Reason};

text_request! {
    /// A request to continue text, without a chat prompt.
    CompletionRequest {
        /// The default is the token that begins a document, as in OpenAI's API.
        prompt: Option<Prompt>,
        /// Number of most likely tokens that are reported with each token.
        logprobs: Option<CountOrOff>,
        best_of: Option<Count>,
        echo: Option<Value>,
        suffix: Option<Value>,
    }
    without effect {}
}

impl CompletionRequest {
    /// Rejects values of known fields that would change the answer and are not supported.
    ///
    /// # Errors
    /// [`ApiError::Unsupported`] naming the field.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        neutral::check("echo", self.echo.as_ref(), &[])?;
        neutral::check("suffix", self.suffix.as_ref(), &[])?;
        let n = self.n.unwrap_or(Count(1));
        if self.best_of.is_some_and(|best_of| best_of != n) {
            return Err(ApiError::unsupported("best_of", Reason::BestOf));
        }
        Ok(())
    }
}

/// Text in which special tokens are recognized, token ids, or several of one kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, a list of strings, a list of token ids, or a list of such lists"
)]
pub(crate) enum Prompt {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    ManyIds(Vec<Vec<u32>>),
}
