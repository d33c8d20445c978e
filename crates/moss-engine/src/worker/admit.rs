//! Admission of waiting requests.

use std::sync::atomic::Ordering::Relaxed;

use moss_text::Tokenizer;

use super::Worker;
use crate::{Vocabulary, cache::SequenceBlocks, scheduler, sequence::Sequence};

impl Worker {
    /// Admits waiting requests, in order.
    pub(super) fn admit(&mut self) {
        let shape = self.cache.shape();
        let context_length = self.model.config().context_length.min(shape.positions());
        while let Some(job) = self.waiting.front() {
            let prompt = job.request.prompt.len();
            let longest = job
                .request
                .stop
                .max_new_tokens
                .map_or(context_length, |n| prompt.saturating_add(n));
            let needed = longest.min(context_length).div_ceil(shape.block_size);
            let reserved = self.running.iter().map(|sequence| sequence.reserved).sum();
            let running = self.running.len();
            if !scheduler::admits(
                reserved,
                needed,
                shape.num_blocks,
                running,
                self.options.max_sequences,
            ) {
                return;
            }
            let Some(job) = self.waiting.pop_front() else {
                return;
            };
            self.counters.waiting.fetch_sub(1, Relaxed);
            let mut blocks = SequenceBlocks::new(job.request.scope());
            let reused = self.cache.reuse(&mut blocks, &job.request.prompt);
            self.counters.count_admission(job.submitted, reused);
            let rows = self.model.config().vocab_size;
            let allowed = match job.request.vocabulary {
                Vocabulary::RealTokens => {
                    self.tokenizer.as_ref().map_or(rows, Tokenizer::vocab_size)
                }
                Vocabulary::EveryRow => rows,
            };
            let tokenizer = self.tokenizer.as_ref();
            let ahead = self.running.iter().map(Sequence::pending).sum();
            self.running.push(Sequence::start(
                *job,
                tokenizer,
                allowed,
                context_length,
                needed,
                blocks,
                ahead,
            ));
        }
    }
}
