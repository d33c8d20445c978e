//! `POST /v1/completions`: what comes.

use serde::Deserialize;
use serde_json::Value;

use super::{
    neutral,
    number::{Count, CountOrOff},
    text_request,
};
use crate::error::ApiError;

text_request! {
    /// Text to go on with, without any turns put around it.
    CompletionRequest {
        /// Without one, the model's own beginning of a document, as in OpenAI's API.
        prompt: Option<Prompt>,
        /// How many of the likeliest tokens are told with each token.
        logprobs: Option<CountOrOff>,
        best_of: Option<Count>,
        echo: Option<Value>,
        suffix: Option<Value>,
    }
    without effect {}
}

impl CompletionRequest {
    /// Refuses values of known fields that would change the answer and are not supported.
    ///
    /// # Errors
    /// [`ApiError::Unsupported`] naming the field.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        neutral::check("echo", self.echo.as_ref(), &[])?;
        neutral::check("suffix", self.suffix.as_ref(), &[])?;
        let n = self.n.unwrap_or(Count(1));
        if self.best_of.is_some_and(|best_of| best_of != n) {
            let expected =
                ": every answer that is made is returned; leave it out, or set it to `n`";
            return Err(ApiError::Unsupported {
                param: "best_of".into(),
                expected: expected.into(),
            });
        }
        Ok(())
    }
}

/// Text, where special tokens count as such; or token ids; or several of a kind.
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
