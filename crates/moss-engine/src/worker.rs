//! The thread that owns the model: admits requests, runs forward batches, and samples tokens.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use crossbeam_channel::Receiver;
use moss_model::{LanguageModel, LogitRows, Logits, ModelError, SequenceChunk};
use moss_text::Tokenizer;

use crate::{
    EngineError, EngineOptions, StopCause, Vocabulary,
    cache::SharedCache,
    command::{Command, Job},
    health::Health,
    metrics::Counters,
    panics::catch_panic,
    scheduler::{self, ScheduledChunk},
    sequence::Sequence,
};

pub(crate) struct Worker {
    model: Box<dyn LanguageModel>,
    tokenizer: Option<Tokenizer>,
    options: EngineOptions,
    inbox: Receiver<Command>,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
    cache: SharedCache,
    waiting: VecDeque<Box<Job>>,
    /// In order of admission.
    running: Vec<Sequence>,
    health: Arc<Health>,
    /// The error after which the model cannot be used.
    broken: Option<EngineError>,
}

impl Worker {
    pub(crate) fn new(
        model: Box<dyn LanguageModel>,
        tokenizer: Option<Tokenizer>,
        options: EngineOptions,
        inbox: Receiver<Command>,
        counters: Arc<Counters>,
        stopping: Arc<AtomicBool>,
        health: Arc<Health>,
    ) -> Self {
        let cache = SharedCache::new(model.cache_shape());
        counters
            .cache_blocks
            .store(cache.shape().num_blocks, Relaxed);
        let (waiting, running) = (VecDeque::new(), Vec::new());
        Self {
            model,
            tokenizer,
            options,
            inbox,
            counters,
            stopping,
            cache,
            waiting,
            running,
            health,
            broken: None,
        }
    }

    pub(crate) fn run(&mut self) {
        while self.take_commands() {
            self.end_finished();
            self.admit();
            if !self.running.is_empty() {
                self.step();
                self.health.step(0);
            }
            // The watchdog may have reported a stall while this thread was blocked.
            if let Some(fault) = self.health.fault().filter(|_| self.broken.is_none()) {
                self.fail_all(fault);
            }
            self.count();
        }
        for mut sequence in std::mem::take(&mut self.running) {
            sequence.finish(StopCause::Cancelled);
        }
        for job in std::mem::take(&mut self.waiting) {
            job.end_before_start(None);
        }
    }

    /// Handles all pending commands; waits for one if the engine is idle. Returns `false` when the
    /// engine stops.
    fn take_commands(&mut self) -> bool {
        if self.running.is_empty() && self.waiting.is_empty() {
            match self.inbox.recv() {
                Ok(command) => self.take(command),
                Err(_) => return false,
            }
        }
        while let Ok(command) = self.inbox.try_recv() {
            self.take(command);
        }
        !self.stopping.load(Relaxed)
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Submit(job) => self.waiting.push_back(job),
            Command::EndSession(id) => {
                self.cache.forget(id);
                let running = self
                    .running
                    .iter_mut()
                    .map(|sequence| &mut sequence.session);
                let waiting = self.waiting.iter_mut().map(|job| &mut job.request.session);
                for session in running
                    .chain(waiting)
                    .filter(|session| **session == Some(id))
                {
                    *session = None;
                }
            }
            Command::Stop => {}
        }
    }

    /// Ends requests that are cancelled or out of time, and waiting ones after a fault.
    fn end_finished(&mut self) {
        for index in (0..self.running.len()).rev() {
            if let Some(cause) = self.running[index].external_cause() {
                self.running[index].finish(cause);
                self.retire(index);
            }
        }
        let (ended, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|job| job.is_cancelled() || self.broken.is_some());
        self.waiting = waiting.into();
        for job in ended {
            self.counters.waiting.fetch_sub(1, Relaxed);
            let error = self.broken.clone().filter(|_| !job.is_cancelled());
            job.end_before_start(error);
        }
    }

    /// Admits waiting requests, in order.
    fn admit(&mut self) {
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
            let (table, cached) = self.cache.resume(job.request.session, &job.request.prompt);
            self.counters.count_admission(job.submitted, cached);
            let rows = self.model.config().vocab_size;
            let allowed = match job.request.vocabulary {
                Vocabulary::RealTokens => {
                    self.tokenizer.as_ref().map_or(rows, Tokenizer::vocab_size)
                }
                Vocabulary::EveryRow => rows,
            };
            let tokenizer = self.tokenizer.as_ref();
            let ahead = self.running.iter().map(Sequence::pending).sum();
            let resumed = (table, cached);
            self.running.push(Sequence::start(
                *job,
                tokenizer,
                allowed,
                context_length,
                needed,
                resumed,
                ahead,
            ));
        }
    }

    /// Removes a sequence. Its cache blocks go to its session, if it has one, or to the pool. The
    /// session keeps only positions that were written, so it is valid even after an error.
    fn retire(&mut self, index: usize) {
        let Sequence {
            mut ids,
            table,
            cached,
            session,
            ..
        } = self.running.remove(index);
        ids.truncate(cached);
        match session {
            Some(session) => self.cache.keep(session, ids, table),
            None => self.cache.release(table),
        }
    }

    /// Runs one forward batch.
    fn step(&mut self) {
        let stall_time = self.options.stall_time(&*self.model);
        for sequence in &mut self.running {
            sequence.set_deadline(&self.health.speed, stall_time);
        }
        let pending: Vec<_> = self.running.iter().map(Sequence::pending).collect();
        let prefill_chunk = self.options.prefill_chunk(&*self.model);
        let shared = self.model.shared_prefill();
        let chunks = scheduler::next_batch(&pending, prefill_chunk, shared);
        for chunk in &chunks {
            let sequence = &mut self.running[chunk.sequence];
            if let Err(error) = self
                .cache
                .grow(&mut sequence.table, sequence.cached + chunk.tokens)
            {
                return self.fail(&[chunk.sequence], error);
            }
        }
        self.health
            .step(chunks.iter().map(|chunk| chunk.tokens).sum());
        let began = Instant::now();
        match self.forward(&chunks) {
            Ok(Ok(logits)) => {
                let prompts = chunks
                    .iter()
                    .filter(|chunk| self.running[chunk.sequence].generated() == 0);
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

    fn forward(
        &mut self,
        chunks: &[ScheduledChunk],
    ) -> Result<Result<Vec<Logits>, ModelError>, String> {
        let (model, running) = (&mut self.model, &self.running);
        let to_model = |chunk: &ScheduledChunk| {
            let sequence = &running[chunk.sequence];
            let is_last = chunk.tokens == sequence.pending();
            SequenceChunk {
                token_ids: &sequence.ids[sequence.cached..][..chunk.tokens],
                kind: sequence.kind(),
                start_pos: sequence.cached,
                blocks: &sequence.table,
                logits: if is_last {
                    sequence.logits_request()
                } else {
                    LogitRows::None
                },
            }
        };
        let batch: Vec<_> = chunks.iter().map(to_model).collect();
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
            if sequence.generated() == 0 {
                self.counters
                    .prefilled_tokens
                    .fetch_add(chunk.tokens as u64, Relaxed);
            }
            sequence.add_cached(chunk.tokens);
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

    /// Fails the sequences at `indices`, which ascend; the others repeat their chunks.
    fn fail(&mut self, indices: &[usize], error: ModelError) {
        let source = Arc::new(error);
        for index in indices.iter().rev() {
            let step = self.running[*index].generated();
            self.running[*index].fail(EngineError::Model {
                step,
                source: source.clone(),
            });
            self.retire(*index);
        }
    }

    /// Fails all requests, present and future: after a panic the state of the model is undefined,
    /// and a lost device returns no results.
    fn fail_all(&mut self, error: EngineError) {
        self.health.fail(&error);
        for sequence in std::mem::take(&mut self.running) {
            self.cache.release(sequence.table);
        }
        self.broken = Some(error);
    }

    fn count(&self) {
        self.counters.running.store(self.running.len(), Relaxed);
        self.counters
            .cache_blocks_used
            .store(self.cache.used_blocks(), Relaxed);
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
