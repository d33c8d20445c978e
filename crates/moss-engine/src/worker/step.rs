//! Forward batches, and what becomes of their outputs.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use moss_model::{Logits, ModelError, TokenKind};

use super::Worker;
use crate::{
    EngineError,
    panics::catch_panic,
    scheduler::{self, Pending, ScheduledChunk},
    sync::{Arc, atomic::Ordering::Relaxed},
};

impl Worker {
    /// Runs one forward batch.
    pub(super) fn step(&mut self) {
        let stall_time = self.options.stall_time(&*self.model);
        for sequence in &mut self.running {
            sequence.set_deadline(&self.health.speed, stall_time);
        }
        let pending = self.pending();
        let rows = scheduler::reply_rows(&pending);
        let first = scheduler::first_prompt(&pending);
        let limits = self.options.chunk_limits(&*self.model);
        let budget = self.health.speed.prompt_tokens(rows, first, limits);
        let mut chunks = scheduler::plan(&pending, budget);
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
                self.record_time(&chunks, began.elapsed());
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

    /// Returns the pending tokens of each sequence. A sequence waits for the next batch if an earlier
    /// one computes the next block of its prompt. Prompts continue after the blocks that are in the
    /// cache by now.
    fn pending(&mut self) -> Vec<Pending> {
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
                _ if waits => Pending::Waiting,
                TokenKind::Prompt => Pending::Prompt(sequence.pending_of_kind()),
                TokenKind::Generated => match sequence.pending_of_kind() {
                    1 => Pending::Reply(1),
                    // Tokens of a reply that are computed again, at most one decode step of them.
                    tokens => Pending::Prompt(tokens.min(rows)),
                },
            });
        }
        pending
    }

    fn record_time(&self, chunks: &[ScheduledChunk], time: Duration) {
        let tokens_of = |kind| {
            let chunks = chunks
                .iter()
                .filter(|chunk| self.running[chunk.sequence].kind() == kind);
            chunks.map(|chunk| chunk.tokens).sum()
        };
        let (rows, prompt) = (
            tokens_of(TokenKind::Generated),
            tokens_of(TokenKind::Prompt),
        );
        self.health.speed.record(rows, prompt, time);
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
