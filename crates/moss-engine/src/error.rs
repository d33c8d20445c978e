//! What can go wrong between a request and its last event.

use std::sync::Arc;

use moss_messages::Message;
use moss_model::ModelError;
use moss_sampling::SamplingError;
use moss_text::TextError;

/// Errors of this crate.
#[derive(Debug, Clone, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum EngineError {
    /// A prompt without tokens.
    EmptyPrompt,
    /// A prompt that leaves no room for an answer. Client libraries recognize it by the words
    /// "prompt is too long" (LangChain) and "this model's maximum context length is" (litellm).
    PromptTooLong {
        /// Its tokens.
        found: usize,
        /// Tokens of prompt and answer together.
        context_length: usize,
    },
    /// More requests wait than the engine takes.
    QueueFull {
        /// Requests that may wait.
        limit: usize,
    },
    /// A token of the prompt has no embedding row.
    UnknownToken {
        /// Index in the prompt.
        position: usize,
        /// The id.
        id: u32,
        /// Embedding rows.
        rows: usize,
    },
    /// A stop token that can never be generated.
    UnknownStop {
        /// The id.
        id: u32,
        /// Number of tokens that may be drawn.
        tokens: usize,
    },
    /// Stop strings without text to look for them in.
    NoTokenizer,
    /// The tokenizer has more tokens than the model has rows.
    TokenizerMismatch {
        /// Tokens.
        tokens: usize,
        /// Rows.
        rows: usize,
    },
    /// The model failed.
    Model {
        /// Tokens generated before.
        step: usize,
        /// What it said.
        #[message(cause)]
        source: Arc<ModelError>,
    },
    /// The model broke its contract.
    LogitsMissing {
        /// Tokens generated before.
        step: usize,
        /// Logits given.
        found: usize,
        /// Embedding rows.
        expected: usize,
    },
    /// Choosing a token panicked; only this request is affected.
    StepPanicked {
        /// Tokens generated before.
        step: usize,
        /// The panic's message.
        message: String,
    },
    /// Nothing could be drawn from the logits, or a parameter is out of its range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A prompt could not be built.
    #[error(transparent)]
    Text(Arc<TextError>),
    /// The model's code panicked: its state is not to be trusted.
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The model's device, or the driver's context on it, cannot be used any more by this process.
    DeviceLost {
        /// The error that told.
        source: Arc<ModelError>,
    },
    /// The model made no progress within the watchdog's limit.
    Stalled {
        /// Seconds without progress.
        seconds: u64,
        /// Tokens of the step that does not end.
        tokens: usize,
    },
    /// The worker thread could not be started.
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// The engine is gone.
    ShutDown,
    /// The conversation has no answer yet.
    NothingToRegenerate,
    /// The last turn did not end in a command.
    NoPendingCommand,
}

impl From<TextError> for EngineError {
    fn from(error: TextError) -> Self {
        Self::Text(Arc::new(error))
    }
}

impl EngineError {
    /// Returns true if the engine has stopped for good: every later request fails with the same
    /// error.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Panicked { .. } | Self::DeviceLost { .. } | Self::Stalled { .. }
        )
    }
}
