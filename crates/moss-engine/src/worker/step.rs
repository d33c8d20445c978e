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
    sequence::Sequence,
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
        let prompts = scheduler::prompts(&pending);
        let limits = self.options.chunk_limits(&*self.model);
        let budget = self.health.speed.prompt_tokens(rows, prompts, limits);
        let mut chunks = scheduler::plan(&pending, budget);
        self.add_drafts(&mut chunks);
        if let Err((sequence, error)) = self.allocate(&mut chunks) {
            return self.fail(&[sequence], error);
        }
        if chunks.is_empty() {
            return;
        }
        self.health
            .step(chunks.iter().map(|chunk| chunk.tokens).sum());
        let began = Instant::now();
        let result = self.forward(&chunks);
        // Until they are accepted, drafts are not part of their sequence.
        let running = self.running.iter_mut();
        let drafts: Vec<_> = running.map(Sequence::take_drafts).collect();
        match result {
            Ok(Ok(logits)) => {
                let time = began.elapsed();
                self.record_time(&chunks, &drafts, time);
                let tokens = self.process_outputs(&chunks, &drafts, logits);
                if let Some(tokens) = tokens {
                    let rows = chunks.iter().map(|chunk| chunk.tokens).sum();
                    self.speculator.record(chunks.len(), rows, tokens, time);
                }
            }
            // Ended sequences are removed before the next batch; the others repeat this one.
            Ok(Err(ModelError::Interrupted)) => {}
            Ok(Err(error)) if error.is_fatal() => {
                self.fail_all(EngineError::DeviceLost {
                    source: Arc::new(error),
                });
            }
            Ok(Err(error)) => {
                let mut failing = failing_sequences(&chunks, &error);
                if matches!(error, ModelError::NonFinite { .. }) {
                    failing.retain(|index| drafts[*index].is_empty());
                    self.stop_drafting(&drafts);
                }
                self.fail(&failing, error);
            }
            Err(message) => self.fail_all(EngineError::Panicked { message }),
        }
    }

    /// Returns the pending tokens of each sequence. A sequence waits for the next batch if an earlier
    /// one computes the next block of its prompt. Prompts continue after the blocks that are in the
    /// cache by now.
    fn pending(&mut self) -> Vec<Pending> {
        for sequence in &mut self.running {
            let is_first = sequence.reused_tokens() == 0 && !sequence.is_follow_up;
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

    /// Records the time of a step. Drafts do not count: the next step is planned without them.
    /// Tokens that are computed again count as prompt, as in the plan.
    fn record_time(&self, chunks: &[ScheduledChunk], drafts: &[Vec<u32>], time: Duration) {
        let (mut rows, mut prompt) = (0, 0);
        for chunk in chunks {
            let is_reply = self.running[chunk.sequence].kind() == TokenKind::Generated
                && chunk.tokens == 1 + drafts[chunk.sequence].len();
            if is_reply {
                rows += 1;
            } else {
                prompt += chunk.tokens;
            }
        }
        self.health.speed.record(rows, prompt, time);
    }

    fn forward(
        &mut self,
        chunks: &[ScheduledChunk],
    ) -> Result<Result<Vec<Logits>, ModelError>, String> {
        let (model, running) = (&mut self.model, &self.running);
        let with_sequence = || {
            let chunks = chunks.iter();
            chunks.map(|chunk| (chunk.tokens, &running[chunk.sequence]))
        };
        let requests: Vec<_> = with_sequence()
            .map(|(_, sequence)| sequence.draft_requests())
            .collect();
        let batch: Vec<_> = with_sequence()
            .zip(&requests)
            .map(|((tokens, sequence), requests)| sequence.chunk(tokens, requests))
            .collect();
        let (stopping, health) = (&self.stopping, &self.health);
        let has_ended = |chunk: &ScheduledChunk| running[chunk.sequence].external_cause().is_some();
        let interrupted = || {
            health.beat();
            stopping.load(Relaxed) || chunks.iter().all(has_ended)
        };
        catch_panic(|| model.forward(&batch, &interrupted))
    }

    /// Counts the cached positions of each chunk, and samples the next tokens of sequences without
    /// pending tokens: one, and one more for each of the `drafts` (by sequence) that equals the
    /// sampled token. Returns the number of sampled tokens, or `None` if a chunk was of a prompt.
    fn process_outputs(
        &mut self,
        chunks: &[ScheduledChunk],
        drafts: &[Vec<u32>],
        logits: Vec<Logits>,
    ) -> Option<usize> {
        // Result count mismatch: outputs cannot be attributed to sequences, so all of them fail.
        let logits = if logits.len() == chunks.len() {
            logits
        } else {
            Vec::new()
        };
        let (mut logits, mut ended) = (logits.into_iter(), Vec::new());
        let (mut tokens, mut has_prompt) = (0, false);
        for chunk in chunks {
            let sequence = &mut self.running[chunk.sequence];
            let is_recomputed = chunk.tokens > 1 + drafts[chunk.sequence].len();
            has_prompt |= sequence.kind() == TokenKind::Prompt || is_recomputed;
            if sequence.kind() == TokenKind::Prompt {
                self.counters
                    .prefilled_tokens
                    .fetch_add(chunk.tokens as u64, Relaxed);
            }
            let before = sequence.generated();
            if self.process_rows(chunk, &drafts[chunk.sequence], logits.next()) {
                ended.push(chunk.sequence);
            }
            tokens += self.running[chunk.sequence].generated() - before;
        }
        for index in ended.into_iter().rev() {
            self.retire(index); // chunks are in the order of `running`
        }
        (!has_prompt).then_some(tokens)
    }

    /// Samples the rows of a chunk up to the first that differs from its draft. Returns true if the
    /// sequence has ended. Each row is a step as without drafts: the position before it is counted
    /// as cached, and all limits apply.
    fn process_rows(
        &mut self,
        chunk: &ScheduledChunk,
        drafts: &[u32],
        mut logits: Option<Logits>,
    ) -> bool {
        let vocab_size = self.model.config().vocab_size;
        let mut accepted = 0;
        for row in 0..=drafts.len() {
            let sequence = &mut self.running[chunk.sequence];
            let computed = if row == 0 {
                chunk.tokens - drafts.len()
            } else {
                1
            };
            sequence.advance(&mut self.cache, computed);
            if sequence.pending() > 0 {
                break; // its prompt is not complete
            }
            let (step, previous) = (sequence.generated(), sequence.last_token);
            let cause = if row == 0 {
                sequence.cause_before_sampling()
            } else {
                sequence.external_cause()
            };
            let sampled = match cause {
                Some(cause) => Ok(Some(cause)),
                None => catch_panic(|| sequence.sample_next(logits.as_mut(), row, vocab_size))
                    .unwrap_or_else(|message| Err(EngineError::StepPanicked { step, message })),
            };
            let is_sampled = sequence.generated() > step;
            if let Some(now) = sequence.last_token
                && is_sampled
            {
                let submitted = Some(sequence.submitted).filter(|_| !sequence.is_follow_up);
                self.counters.count_token(submitted, previous, now);
            }
            let is_accepted = is_sampled && drafts.get(row) == sequence.ids.last();
            accepted += usize::from(is_accepted);
            let ending = match sampled {
                Ok(None) if is_accepted => continue,
                Ok(None) => break,
                Ok(Some(cause)) => Ok(cause),
                Err(error) => Err(error),
            };
            self.count_drafts(chunk.sequence, drafts.len(), accepted);
            let sequence = &mut self.running[chunk.sequence];
            match ending {
                Ok(cause) => sequence.finish(cause),
                Err(error) => sequence.fail(error),
            }
            return true;
        }
        self.count_drafts(chunk.sequence, drafts.len(), accepted);
        false
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
