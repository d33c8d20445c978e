//! Settings of an engine.

use std::time::Duration;

/// Limits of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Requests that may wait; at least one may.
    pub queue_limit: usize,
    /// Sequences that may run at once, cache permitting: each is let in only once its longest
    /// course fits beside the others.
    pub max_sequences: usize,
    /// Prompt tokens of one step: more read the weights less often, fewer keep the others' answers
    /// flowing.
    pub prefill_chunk: usize,
    /// Threads of the CPU kernels; `None` for one a core.
    pub threads: Option<usize>,
    /// Least time without progress after which the engine counts as stalled: long for devices on
    /// which a layer of a prompt may take many seconds. It grows with the measured speed of the
    /// model, see [`EngineError::Stalled`].
    pub stall_time: Duration,
}

impl EngineOptions {
    /// [`EngineOptions::stall_time`] of a model that runs on a CPU, in part or in whole.
    pub const CPU_STALL_TIME: Duration = Duration::from_secs(300);
    /// [`EngineOptions::stall_time`] of a model that runs on GPUs alone.
    pub const GPU_STALL_TIME: Duration = Duration::from_secs(60);
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            queue_limit: 256,
            max_sequences: 16,
            prefill_chunk: 256,
            threads: None,
            stall_time: Self::CPU_STALL_TIME,
        }
    }
}
