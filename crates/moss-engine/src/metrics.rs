//! Counters of an engine's life.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A snapshot of the counters. What is counted now is brought up to date after each step, just
/// after its events are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Requests taken since the start.
    pub requests: u64,
    /// Prompt tokens run through the model.
    pub prefilled_tokens: u64,
    /// Prompt tokens found in the cache.
    pub reused_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Requests that wait now.
    pub waiting: usize,
    /// Sequences that run now.
    pub running: usize,
    /// Cache blocks in use now, by sequences and idle sessions.
    pub cache_blocks_used: usize,
    /// Cache blocks there are.
    pub cache_blocks: usize,
}

/// The counters themselves, shared between worker and handles.
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
