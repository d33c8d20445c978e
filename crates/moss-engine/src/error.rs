//! Errors of the engine and of requests.

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
    /// A prompt as long as the context. Client libraries recognize this error by the words
    /// "prompt is too long" (LangChain) and "this model's maximum context length is" (litellm).
    PromptTooLong {
        /// The number of its tokens.
        found: usize,
        /// Tokens of prompt and answer together.
        context_length: usize,
    },
    /// More concurrent sequences than a decode step computes.
    TooManySequences {
        /// [`EngineOptions::max_sequences`](crate::EngineOptions::max_sequences).
        found: usize,
        /// [`EngineOptions::MAX_SEQUENCES`](crate::EngineOptions::MAX_SEQUENCES).
        most: usize,
    },
    /// The queue of waiting requests is full.
    QueueFull {
        /// The most waiting requests.
        limit: usize,
    },
    /// A token of the prompt without a row in the embedding.
    UnknownToken {
        /// Index in the prompt.
        position: usize,
        /// The id.
        id: u32,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A stop token that cannot be generated.
    UnknownStop {
        /// The id.
        id: u32,
        /// The number of tokens that may be sampled.
        tokens: usize,
    },
    /// A request that needs text, and an engine without a tokenizer.
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
        /// The model's error.
        #[message(cause)]
        source: Arc<ModelError>,
    },
    /// The model returned another number of logits than requested.
    LogitsMissing {
        /// Tokens generated before.
        step: usize,
        /// Logits found.
        found: usize,
        /// Rows of the embedding.
        expected: usize,
    },
    /// Sampling panicked; only this request is affected.
    StepPanicked {
        /// Tokens generated before.
        step: usize,
        /// The panic's message.
        message: String,
    },
    /// A token cannot be sampled, or a parameter is out of its range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A prompt could not be built.
    #[error(transparent)]
    Text(Arc<TextError>),
    /// The model panicked: its state is undefined.
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The model's device, or its driver context, is unusable for this process.
    DeviceLost {
        /// The error of the device.
        source: Arc<ModelError>,
    },
    /// The model made no progress within the watchdog's limit.
    Stalled {
        /// Seconds without progress.
        seconds: u64,
        /// Tokens of the forward batch that does not end.
        tokens: usize,
    },
    /// The worker thread could not be started.
    Threads {
        /// The number of threads.
        threads: usize,
        /// The message of the system or of the thread pool.
        reason: String,
    },
    /// The engine has been dropped.
    ShutDown,
    /// The conversation has no turn to regenerate.
    NothingToRegenerate,
    /// The last turn does not end in plugin calls.
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
