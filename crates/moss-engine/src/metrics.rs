//! Counters of an engine.

use std::time::Instant;

use crate::{
    histogram::{AtomicHistogram, Histogram},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// A snapshot of the counters. The current values (waiting, running, blocks) are updated after each
/// forward batch, after its events are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Requests accepted since the start. Follow-ups ([`crate::Request::is_follow_up`]) are part of
    /// their request, also for the other counts of requests.
    pub requests: u64,
    /// Prompt tokens that the model has processed.
    pub prefilled_tokens: u64,
    /// Prompt tokens that were in the cache.
    pub reused_tokens: u64,
    /// Requests with at least one prompt token in the cache.
    pub reused_requests: u64,
    /// Generated tokens.
    pub generated_tokens: u64,
    /// Draft tokens that were verified.
    pub drafted_tokens: u64,
    /// Draft tokens that became part of a reply; they are also generated tokens.
    pub accepted_tokens: u64,
    /// Running sequences that gave their cache blocks to older ones and waited again.
    pub preemptions: u64,
    /// Requests that are waiting.
    pub waiting: usize,
    /// Sequences that are running.
    pub running: usize,
    /// Cache blocks in use by sequences. Those of cached prefixes are not in use: they can be
    /// evicted.
    pub cache_blocks_used: usize,
    /// All cache blocks.
    pub cache_blocks: usize,
    /// Times from submission to the first admission, of requests.
    pub queue_time: Histogram,
    /// Times from submission to the first token, of requests.
    pub first_token_time: Histogram,
    /// Times between consecutive tokens of a reply. The accepted draft tokens of a step arrive
    /// together, without time between them.
    pub inter_token_time: Histogram,
}

/// The counters, shared between worker and handles.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    /// Requests and their follow-ups.
    pub(crate) runs: AtomicU64,
    pub(crate) prefilled_tokens: AtomicU64,
    pub(crate) reused_tokens: AtomicU64,
    pub(crate) reused_requests: AtomicU64,
    pub(crate) generated_tokens: AtomicU64,
    pub(crate) drafted_tokens: AtomicU64,
    pub(crate) accepted_tokens: AtomicU64,
    pub(crate) preemptions: AtomicU64,
    pub(crate) waiting: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) cache_blocks_used: AtomicUsize,
    pub(crate) cache_blocks: AtomicUsize,
    pub(crate) queue_time: AtomicHistogram,
    pub(crate) first_token_time: AtomicHistogram,
    pub(crate) inter_token_time: AtomicHistogram,
}

impl Counters {
    /// Counts `reused` prompt tokens that were found in the cache, the first ones of a request or
    /// further ones.
    pub(crate) fn count_reuse(&self, reused: usize, is_first: bool) {
        self.reused_tokens.fetch_add(reused as u64, Relaxed);
        self.reused_requests
            .fetch_add(u64::from(is_first && reused > 0), Relaxed);
    }

    /// Counts a token that was generated `now`: one that follows the token of time `previous`, or
    /// the first of a request that was submitted at `submitted`, which is `None` for a follow-up.
    pub(crate) fn count_token(
        &self,
        submitted: Option<Instant>,
        previous: Option<Instant>,
        now: Instant,
    ) {
        self.generated_tokens.fetch_add(1, Relaxed);
        let measured = match (previous, submitted) {
            (Some(previous), _) => Some((&self.inter_token_time, previous)),
            (None, submitted) => submitted.map(|at| (&self.first_token_time, at)),
        };
        if let Some((histogram, since)) = measured {
            histogram.record(now.saturating_duration_since(since));
        }
    }

    pub(crate) fn snapshot(&self) -> Metrics {
        Metrics {
            requests: self.requests.load(Relaxed),
            prefilled_tokens: self.prefilled_tokens.load(Relaxed),
            reused_tokens: self.reused_tokens.load(Relaxed),
            reused_requests: self.reused_requests.load(Relaxed),
            generated_tokens: self.generated_tokens.load(Relaxed),
            drafted_tokens: self.drafted_tokens.load(Relaxed),
            accepted_tokens: self.accepted_tokens.load(Relaxed),
            preemptions: self.preemptions.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            running: self.running.load(Relaxed),
            cache_blocks_used: self.cache_blocks_used.load(Relaxed),
            cache_blocks: self.cache_blocks.load(Relaxed),
            queue_time: self.queue_time.snapshot(),
            first_token_time: self.first_token_time.snapshot(),
            inter_token_time: self.inter_token_time.snapshot(),
        }
    }
}
