//! Forward batches, and what becomes of their outputs.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use moss_model::{Logits, ModelError, TokenKind};

use super::Worker;
use crate::{
    EngineError,
    panics::catch_panic,
    scheduler::{self, ScheduledChunk},
};

impl Worker {
    /// Runs one forward batch.
    pub(super) fn step(&mut self) {
        let stall_time = self.options.stall_time(&*self.model);
        for sequence in &mut self.running {
            sequence.set_deadline(&self.health.speed, stall_time);
        }
        let pending = self.pending();
        let prefill_chunk = self.options.prefill_chunk(&*self.model);
        let shared = self.model.shared_prefill();
        let mut chunks = scheduler::next_batch(&pending, prefill_chunk, shared);
        if let Err((sequence, error)) = self.allocate(&mut chunks) {
            return self.fail(&[sequence], error);
        }
        if chunks.is_empty() {
            return;
        }
        self.health
            .step(chunks.iter().map(|chunk| chunk.tokens).sum());
        let began = Instant::now();
        match self.forward(&chunks) {
            Ok(Ok(logits)) => {
                let prompts = chunks
                    .iter()
                    .filter(|chunk| self.running[chunk.sequence].kind() == TokenKind::Prompt);
                self.health
                    .speed
                    .record(prompts.map(|chunk| chunk.tokens).sum(), began.elapsed());
                self.process_outputs(&chunks, logits);
            }
            // Ended sequences are removed before the next batch; the others repeat this one.
            Ok(Err(ModelError::Interrupted)) => {}
            Ok(Err(error)) if error.is_fatal() => {
                self.fail_all(EngineError::DeviceLost {
                    source: Arc::new(error),
                });
            }
            Ok(Err(error)) => self.fail(&failing_sequences(&chunks, &error), error),
            Err(message) => self.fail_all(EngineError::Panicked { message }),
        }
    }

    /// Returns the number of pending tokens of each sequence, or 0 if it waits for the next batch:
    /// an earlier sequence computes the next block of its prompt. Prompts continue after the blocks
    /// that are in the cache by now.
    fn pending(&mut self) -> Vec<usize> {
        for sequence in &mut self.running {
            let is_first = sequence.reused_tokens() == 0;
            let reused = sequence.reuse(&mut self.cache);
            self.counters.count_reuse(reused, is_first);
        }
        let mut computed = HashSet::new();
        let rows = self.options.max_sequences.max(1);
        let mut pending = Vec::with_capacity(self.running.len());
        for sequence in &self.running {
            let next = sequence.next_block(&self.cache);
            let waits = next.is_some_and(|block| !computed.insert(block));
            pending.push(match sequence.kind() {
                _ if waits => 0,
                TokenKind::Prompt => sequence.pending_of_kind(),
                // Tokens of a reply that are computed again fill one decode step.
                TokenKind::Generated => sequence.pending_of_kind().min(rows),
            });
        }
        pending
    }

    fn forward(
        &mut self,
        chunks: &[ScheduledChunk],
    ) -> Result<Result<Vec<Logits>, ModelError>, String> {
        let (model, running) = (&mut self.model, &self.running);
        let batch: Vec<_> = chunks
            .iter()
            .map(|chunk| running[chunk.sequence].chunk(chunk.tokens))
            .collect();
        let (stopping, health) = (&self.stopping, &self.health);
        let has_ended = |chunk: &ScheduledChunk| running[chunk.sequence].external_cause().is_some();
        let interrupted = || {
            health.beat();
            stopping.load(Relaxed) || chunks.iter().all(has_ended)
        };
        catch_panic(|| model.forward(&batch, &interrupted))
    }

    /// Counts the cached positions of each chunk, and samples the next token of sequences without
    /// pending tokens.
    fn process_outputs(&mut self, chunks: &[ScheduledChunk], logits: Vec<Logits>) {
        let rows = self.model.config().vocab_size;
        // Result count mismatch: outputs cannot be attributed to sequences, so all of them fail.
        let logits = if logits.len() == chunks.len() {
            logits
        } else {
            Vec::new()
        };
        let mut logits = logits.into_iter();
        let mut ended = Vec::new();
        for chunk in chunks {
            let mut logits = logits.next();
            let sequence = &mut self.running[chunk.sequence];
            if sequence.kind() == TokenKind::Prompt {
                self.counters
                    .prefilled_tokens
                    .fetch_add(chunk.tokens as u64, Relaxed);
            }
            sequence.advance(&mut self.cache, chunk.tokens);
            if sequence.pending() > 0 {
                continue; // its prompt is not complete
            }
            let (step, previous) = (sequence.generated(), sequence.last_token);
            let sampled = match sequence.cause_before_sampling() {
                Some(cause) => Ok(Some(cause)),
                None => catch_panic(|| sequence.sample_next(logits.as_mut(), rows))
                    .unwrap_or_else(|message| Err(EngineError::StepPanicked { step, message })),
            };
            if let Some(now) = sequence.last_token
                && sequence.generated() > step
            {
                self.counters.count_token(sequence.submitted, previous, now);
            }
            match sampled {
                Ok(None) => continue,
                Ok(Some(cause)) => sequence.finish(cause),
                Err(error) => sequence.fail(error),
            }
            ended.push(chunk.sequence);
        }
        for index in ended.into_iter().rev() {
            self.retire(index); // chunks are in the order of `running`
        }
    }
}

/// Returns the sequence that an error names, or all of the batch, in ascending order.
fn failing_sequences(chunks: &[ScheduledChunk], error: &ModelError) -> Vec<usize> {
    let named = match error {
        ModelError::NonFinite { sequence, .. }
        | ModelError::BlocksMissing { sequence, .. }
        | ModelError::EmptyChunk { sequence } => chunks.get(*sequence),
        _ => None,
    };
    named.map_or_else(
        || chunks.iter().map(|chunk| chunk.sequence).collect(),
        |chunk| vec![chunk.sequence],
    )
}
