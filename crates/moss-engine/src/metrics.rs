//! Counters of an engine.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A snapshot of the counters. The current values (waiting, running, blocks) are updated after each
/// forward batch, after its events are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Requests accepted since the start.
    pub requests: u64,
    /// Prompt tokens that the model has processed.
    pub prefilled_tokens: u64,
    /// Prompt tokens that were in the cache.
    pub reused_tokens: u64,
    /// Generated tokens.
    pub generated_tokens: u64,
    /// Requests that are waiting.
    pub waiting: usize,
    /// Sequences that are running.
    pub running: usize,
    /// Cache blocks in use by sequences and idle sessions.
    pub cache_blocks_used: usize,
    /// All cache blocks.
    pub cache_blocks: usize,
}

/// The counters, shared between worker and handles.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) prefilled_tokens: AtomicU64,
    pub(crate) reused_tokens: AtomicU64,
    pub(crate) generated_tokens: AtomicU64,
    pub(crate) waiting: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) cache_blocks_used: AtomicUsize,
    pub(crate) cache_blocks: AtomicUsize,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Metrics {
        Metrics {
            requests: self.requests.load(Relaxed),
            prefilled_tokens: self.prefilled_tokens.load(Relaxed),
            reused_tokens: self.reused_tokens.load(Relaxed),
            generated_tokens: self.generated_tokens.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            running: self.running.load(Relaxed),
            cache_blocks_used: self.cache_blocks_used.load(Relaxed),
            cache_blocks: self.cache_blocks.load(Relaxed),
        }
    }
}
