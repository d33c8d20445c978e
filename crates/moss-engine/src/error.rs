//! What can go wrong between a request and its last event.

use std::sync::Arc;

use moss_model::ModelError;
use moss_sampling::SamplingError;
use moss_text::TextError;

/// Errors of this crate.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A prompt without tokens.
    #[error("the prompt is empty, expected at least one token")]
    EmptyPrompt,
    /// A prompt that leaves no room for an answer.
    #[error("the prompt has {found} tokens, at most {allowed} fit the window")]
    PromptTooLong {
        /// Its tokens.
        found: usize,
        /// Tokens that leave room for one more.
        allowed: usize,
    },
    /// More requests wait than the engine takes.
    #[error("{limit} requests are waiting already")]
    QueueFull {
        /// Requests that may wait.
        limit: usize,
    },
    /// The tokenizer has more tokens than the model has rows, or a request asks for text without a tokenizer.
    #[error("the tokenizer has {tokens} tokens, the model has {rows} embedding rows")]
    TokenizerMismatch {
        /// Tokens.
        tokens: usize,
        /// Rows.
        rows: usize,
    },
    /// The model failed.
    #[error("step {step} failed")]
    Model {
        /// Tokens generated before.
        step: usize,
        /// What it said.
        source: Arc<ModelError>,
    },
    /// Nothing could be drawn from the logits, or a parameter is out of its range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A prompt could not be built.
    #[error(transparent)]
    Text(Arc<TextError>),
    /// The model's code panicked: its state is not to be trusted.
    #[error("the engine stopped after an internal error: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The worker thread could not be started.
    #[error("cannot start {threads} worker threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// The engine is gone.
    #[error("the engine has been shut down")]
    ShutDown,
    /// There is no turn to repeat, or none that waits for results.
    #[error("there is {0}")]
    NoTurn(&'static str),
}

impl From<TextError> for EngineError {
    fn from(error: TextError) -> Self {
        Self::Text(Arc::new(error))
    }
}

impl EngineError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::PromptTooLong { .. } => Some("shorten the prompt, or start a new conversation".into()),
            Self::QueueFull { .. } => Some("try again when some of them are done".into()),
            Self::Model { source, .. } => source.hint(),
            Self::Sampling(error) => error.hint(),
            Self::Text(error) => error.hint(),
            Self::Panicked { .. } => Some("please report it, with the command that led to it".into()),
            Self::TokenizerMismatch { .. } => Some("the tokenizer files may be of another model".into()),
            _ => None,
        }
    }
}
