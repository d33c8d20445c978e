//! Counts of the tokens of one run.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use moss_engine::Event;
use prometheus_client::metrics::counter::Counter;

use super::{OwnerCounts, ServerMetrics};

/// Counts the tokens of a run when the engine sends its events. The tokens of clients that have
/// disconnected are therefore counted too, and the sums are those of the engine.
pub(crate) struct TokenCounts {
    prompt: Counter,
    cached: Counter,
    generated: Counter,
    owner: Arc<OwnerCounts>,
    /// The prompt was counted by an earlier run of the same reply.
    is_follow_up: bool,
    /// Cached tokens that are counted already.
    cached_so_far: AtomicU64,
}

impl TokenCounts {
    pub(crate) fn new(
        metrics: &ServerMetrics,
        owner: Arc<OwnerCounts>,
        is_follow_up: bool,
    ) -> Self {
        Self {
            prompt: metrics.prompt_tokens.clone(),
            cached: metrics.cached_tokens.clone(),
            generated: metrics.generated_tokens.clone(),
            owner,
            is_follow_up,
            cached_so_far: AtomicU64::new(0),
        }
    }

    pub(crate) fn count(&self, event: &Event) {
        match event {
            Event::Started {
                prompt_tokens,
                reused_tokens,
            } if !self.is_follow_up => {
                let prompt = *prompt_tokens as u64;
                self.prompt.inc_by(prompt);
                self.owner.prompt_tokens.fetch_add(prompt, Relaxed);
                self.count_cached(*reused_tokens);
            }
            Event::Text { id: Some(_), .. } => {
                self.generated.inc();
                self.owner.generated_tokens.fetch_add(1, Relaxed);
            }
            // Blocks that other requests computed meanwhile are included.
            Event::Finished(outcome) if !self.is_follow_up => {
                self.count_cached(outcome.usage.reused_tokens);
            }
            _ => {}
        }
    }

    /// Counts the cached tokens of the prompt, `all` of them so far.
    fn count_cached(&self, all: usize) {
        let all = all as u64;
        let new = all.saturating_sub(self.cached_so_far.swap(all, Relaxed));
        self.cached.inc_by(new);
        self.owner.cached_tokens.fetch_add(new, Relaxed);
    }
}
