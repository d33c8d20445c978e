//! Settings of an engine.

use std::time::Duration;

use moss_model::LanguageModel;

/// Limits of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Requests that may wait; at least one may.
    pub queue_limit: usize,
    /// Sequences that may run at once, cache permitting: each is let in only once its longest
    /// course fits beside the others.
    pub max_sequences: usize,
    /// Prompt tokens of one step: more read the weights less often, fewer keep the others' answers
    /// flowing. `None` for [`LanguageModel::prefill_chunk`].
    pub prefill_chunk: Option<usize>,
    /// Threads of the CPU kernels; `None` for one a core.
    pub threads: Option<usize>,
    /// Least time without progress after which the engine counts as stalled: long for devices on
    /// which a layer of a prompt may take many seconds. It grows with the measured speed of the
    /// model, see [`EngineError::Stalled`](crate::EngineError::Stalled). `None` for the default of
    /// the model's devices.
    pub stall_time: Option<Duration>,
    /// Context windows that the KV cache holds, unless [`EngineOptions::cache_tokens`] is set.
    pub cache_windows: usize,
    /// Tokens that the KV cache holds, over all sequences. Used by those who load a model for the
    /// engine.
    pub cache_tokens: Option<usize>,
}

impl EngineOptions {
    /// The default `stall_time` of a model that runs on a CPU, in part or in whole.
    pub const CPU_STALL_TIME: Duration = Duration::from_secs(300);
    /// The default `stall_time` of a model that runs on GPUs alone.
    pub const GPU_STALL_TIME: Duration = Duration::from_secs(60);

    /// Returns the limits for one conversation.
    pub fn chat() -> Self {
        Self {
            max_sequences: 1,
            cache_windows: 1,
            ..Self::default()
        }
    }

    /// Returns the limits for many clients.
    pub fn server() -> Self {
        Self {
            max_sequences: 32,
            cache_windows: 4,
            ..Self::default()
        }
    }

    /// Returns the tokens that the KV cache holds, at least one context window.
    pub fn cache_tokens(&self, context_length: usize) -> usize {
        let default = context_length.saturating_mul(self.cache_windows);
        self.cache_tokens.unwrap_or(default).max(context_length)
    }

    pub(crate) fn prefill_chunk(&self, model: &dyn LanguageModel) -> usize {
        self.prefill_chunk.unwrap_or_else(|| model.prefill_chunk())
    }

    pub(crate) fn stall_time(&self, model: &dyn LanguageModel) -> Duration {
        let default = if model.runs_on_cpu() {
            Self::CPU_STALL_TIME
        } else {
            Self::GPU_STALL_TIME
        };
        self.stall_time.unwrap_or(default)
    }
}

impl Default for EngineOptions {
    /// Returns the limits for a program's own requests.
    fn default() -> Self {
        Self {
            queue_limit: 256,
            max_sequences: 16,
            prefill_chunk: None,
            threads: None,
            stall_time: None,
            cache_windows: 2,
            cache_tokens: None,
        }
    }
}
