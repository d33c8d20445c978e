//! What can go wrong between a request and its last event.

mod zh;

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
    /// A prompt that leaves no room for an answer. Client libraries recognize it by the words
    /// "prompt is too long" (LangChain) and "this model's maximum context length is" (litellm).
    #[error(
        "the prompt is too long: it has {found} tokens, and this model's maximum context length is {} tokens, \
         including the answer",
        allowed + 1
    )]
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
    /// A token of the prompt has no embedding row.
    #[error(
        "token id {id} at position {position} of the prompt is outside the model's {rows} embedding rows"
    )]
    UnknownToken {
        /// Index in the prompt.
        position: usize,
        /// The id.
        id: u32,
        /// Embedding rows.
        rows: usize,
    },
    /// A stop token that can never be generated.
    #[error("stop token id {id} is unknown, there are {tokens} tokens, counted from 0")]
    UnknownStop {
        /// The id.
        id: u32,
        /// Number of tokens that may be drawn.
        tokens: usize,
    },
    /// Stop strings without text to look for them in.
    #[error("stop strings need text, and the engine was started without a tokenizer")]
    NoTokenizer,
    /// The tokenizer has more tokens than the model has rows.
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
    /// The model broke its contract.
    #[error("the model gave {found} logits for token {step}, expected {expected}")]
    LogitsMissing {
        /// Tokens generated before.
        step: usize,
        /// Logits given.
        found: usize,
        /// Embedding rows.
        expected: usize,
    },
    /// Choosing a token panicked; only this request is affected.
    #[error("choosing token {step} panicked: {message}")]
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
    #[error("the engine stopped after an internal error: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The model's device, or the driver's context on it, cannot be used any more by this process.
    #[error("the device failed and cannot be used again by this process")]
    DeviceLost {
        /// The error that told.
        source: Arc<ModelError>,
    },
    /// The model made no progress within the watchdog's limit.
    #[error("the model made no progress for {seconds} seconds in a step of {tokens} tokens")]
    Stalled {
        /// Seconds without progress.
        seconds: u64,
        /// Tokens of the step that does not end.
        tokens: usize,
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
    /// Returns true if the engine has stopped for good: every later request fails with the same
    /// error.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Panicked { .. } | Self::DeviceLost { .. } | Self::Stalled { .. }
        )
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::PromptTooLong { .. } => Some("shorten the prompt, or start a new conversation".into()),
            Self::QueueFull { .. } => Some("try again when some of them are done".into()),
            Self::Model { source, .. } => source.hint(),
            Self::Sampling(error) => error.hint(),
            Self::Text(error) => error.hint(),
            Self::Panicked { .. } => Some("please report it, with the command that led to it".into()),
            Self::DeviceLost { .. } => Some(
                "start the program again; if it happens again, `nvidia-smi -q` and the system log tell about faults of the GPU".into(),
            ),
            Self::Stalled { .. } => {
                Some("start the program again; a machine out of memory or a hanging GPU is the likely cause".into())
            }
            Self::TokenizerMismatch { .. } | Self::UnknownToken { .. } | Self::UnknownStop { .. } => {
                Some("the tokenizer or the ids may be of another model".into())
            }
            Self::NoTokenizer => Some("give stop tokens by their ids".into()),
            Self::StepPanicked { .. } => Some("a logits step of the request is the likely cause".into()),
            _ => None,
        }
    }
}
