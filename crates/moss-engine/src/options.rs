//! Settings of an engine.

use std::time::Duration;

use moss_model::{LanguageModel, MAX_DECODE_ROWS};

use crate::{EngineError, step_cost::ChunkLimits};

/// Limits of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// The most waiting requests; at least one.
    pub queue_limit: usize,
    /// The most sequences that run concurrently, at most [`EngineOptions::MAX_SEQUENCES`]. A
    /// sequence is also admitted only if the cache has room for its prompt. If replies outgrow the
    /// cache, the newest sequences are preempted and continue later. The code that loads the model
    /// uses it for [`EngineOptions::decode_rows`].
    pub max_sequences: usize,
    /// `max_sequences` is an upper bound: there are fewer if the model was loaded for fewer, because
    /// the memory of a GPU or the speed of a CPU is not enough. The code that loads the model uses
    /// it for [`LoadOptions::fewer_rows`](moss_model::LoadOptions).
    pub fewer_sequences: bool,
    /// The most prompt tokens per forward batch, of all sequences together. While replies run, the
    /// number follows from the measured speed and may be smaller. `None` for
    /// [`LanguageModel::prefill_chunk`].
    pub prefill_chunk: Option<usize>,
    /// Threads of the CPU kernels; `None` for one per core.
    pub threads: Option<usize>,
    /// The time without progress after which the engine counts as stalled. It must exceed the time
    /// of one layer of a prompt, which can be many seconds on a CPU. The limit grows if the
    /// measured speed of the model requires it, see
    /// [`EngineError::Stalled`](crate::EngineError::Stalled). `None` for the default of the model's
    /// devices.
    pub stall_time: Option<Duration>,
    /// Context windows in the KV cache, unless [`EngineOptions::cache_tokens`] is set.
    pub cache_windows: usize,
    /// The KV cache uses the remaining memory of GPUs, and has at least one context window, unless
    /// [`EngineOptions::cache_tokens`] is set. The code that loads the model uses it for
    /// [`LoadOptions::fill_memory`](moss_model::LoadOptions).
    pub fill_memory: bool,
    /// Tokens in the KV cache, over all sequences. The code that loads the model uses it.
    pub cache_tokens: Option<usize>,
    /// Makes the tokens of a request depend on the request alone, also on GPUs: only cache blocks
    /// that were computed as prompt are reused. By default, a later turn of a conversation also
    /// reuses those of generated tokens. On the CPU there is no difference.
    pub deterministic: bool,
    /// Speculative decoding.
    pub speculation: Speculation,
    /// The most sequences of one [`Request::owner`](crate::Request::owner) that run concurrently;
    /// `None` for no limit.
    pub max_per_owner: Option<usize>,
}

/// Speculative decoding without a draft model: tokens that followed the same text earlier in the
/// sequence are verified together. The results are those of plain decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speculation {
    /// While it is measured to be faster.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always, with at most this many draft tokens per step, from 1 to
    /// [`Speculation::MAX_DRAFTS`].
    Drafts(usize),
}

impl Speculation {
    /// The most draft tokens per step.
    pub const MAX_DRAFTS: usize = 7;
}

impl EngineOptions {
    /// The largest `max_sequences`: a decode step computes one token of every sequence.
    pub const MAX_SEQUENCES: usize = MAX_DECODE_ROWS;
    /// The default `stall_time` of a model with layers on the CPU.
    pub const CPU_STALL_TIME: Duration = Duration::from_secs(300);
    /// The default `stall_time` of a model on GPUs only.
    pub const GPU_STALL_TIME: Duration = Duration::from_secs(60);

    /// Returns the limits for one conversation.
    pub fn chat() -> Self {
        Self {
            max_sequences: 1,
            cache_windows: 1,
            ..Self::default()
        }
    }

    /// Returns the limits for a server with concurrent requests: as many as the devices allow.
    pub fn server() -> Self {
        Self {
            max_sequences: Self::MAX_SEQUENCES,
            fewer_sequences: true,
            cache_windows: 4,
            fill_memory: true,
            ..Self::default()
        }
    }

    /// Returns the rows of the largest decode step, for
    /// [`LoadOptions::max_decode_rows`](moss_model::LoadOptions): those of all sequences, or of few
    /// sequences and their drafts.
    pub fn decode_rows(&self) -> usize {
        let with_drafts = match self.speculation {
            Speculation::Off => 1,
            Speculation::Auto => 1 + Speculation::MAX_DRAFTS,
            Speculation::Drafts(drafts) => 1 + drafts.min(Speculation::MAX_DRAFTS),
        };
        self.max_sequences.max(with_drafts)
    }

    /// Returns the number of tokens in the KV cache, at least the context length.
    pub fn cache_tokens(&self, context_length: usize) -> usize {
        let default = context_length.saturating_mul(self.cache_windows);
        self.cache_tokens.unwrap_or(default).max(context_length)
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// [`EngineError::TooManySequences`] for more than [`EngineOptions::MAX_SEQUENCES`].
    pub fn check(&self) -> Result<(), EngineError> {
        let (found, most) = (self.max_sequences, Self::MAX_SEQUENCES);
        if found > most {
            return Err(EngineError::TooManySequences { found, most });
        }
        Ok(())
    }

    pub(crate) fn chunk_limits(&self, model: &dyn LanguageModel) -> ChunkLimits {
        ChunkLimits {
            most: self.prefill_chunk.unwrap_or_else(|| model.prefill_chunk()),
            tile: model.prefill_tile(),
        }
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
    /// Returns the limits for the requests of one program.
    fn default() -> Self {
        Self {
            queue_limit: 256,
            max_sequences: 16,
            fewer_sequences: false,
            prefill_chunk: None,
            threads: None,
            stall_time: None,
            cache_windows: 2,
            fill_memory: false,
            cache_tokens: None,
            deterministic: false,
            speculation: Speculation::Auto,
            max_per_owner: None,
        }
    }
}
