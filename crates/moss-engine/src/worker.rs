//! The thread that owns the model: admits requests, runs steps, hands out tokens.

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
    panics::caught,
    scheduler::{self, Turn},
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
    /// Set once the model cannot be used any more.
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
            self.end_what_is_over();
            self.admit();
            if !self.running.is_empty() {
                self.step();
                self.health.step(0);
            }
            // The watchdog may have given this thread up while it was stuck.
            if let Some(fault) = self.health.fault().filter(|_| self.broken.is_none()) {
                self.break_down(fault);
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

    /// Takes what has come; waits when there is nothing else to do. False once the engine stops.
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

    fn end_what_is_over(&mut self) {
        for index in (0..self.running.len()).rev() {
            if let Some(cause) = self.running[index].outer_cause() {
                self.running[index].finish(cause);
                self.retire(index);
            }
        }
        let (over, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|job| job.is_cancelled() || self.broken.is_some());
        self.waiting = waiting.into();
        for job in over {
            self.counters.waiting.fetch_sub(1, Relaxed);
            let error = self.broken.clone().filter(|_| !job.is_cancelled());
            job.end_before_start(error);
        }
    }

    /// Lets waiting requests in, in order.
    fn admit(&mut self) {
        let shape = self.cache.shape();
        let window = self.model.config().context_length.min(shape.positions());
        while let Some(job) = self.waiting.front() {
            let prompt = job.request.prompt.len();
            let longest = job
                .request
                .stop
                .max_new_tokens
                .map_or(window, |n| prompt.saturating_add(n));
            let needed = longest.min(window).div_ceil(shape.block_size);
            let promised = self.running.iter().map(|sequence| sequence.promised).sum();
            let running = self.running.len();
            if !scheduler::admits(
                promised,
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
            self.counters
                .reused_tokens
                .fetch_add(cached as u64, Relaxed);
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
                *job, tokenizer, allowed, window, needed, resumed, ahead,
            ));
        }
    }

    /// Takes a sequence out: its cache goes to its session, or back. Only what was written and
    /// counted is kept, so a session is sound however its sequence ended.
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
            Some(session) => self.cache.leave(session, ids, table),
            None => self.cache.release(table),
        }
    }

    /// One pass over the model.
    fn step(&mut self) {
        let stall_time = self.options.stall_time(&*self.model);
        for sequence in &mut self.running {
            sequence.set_deadline(&self.health.speed, stall_time);
        }
        let pending: Vec<_> = self.running.iter().map(Sequence::pending).collect();
        let chunk = self.options.prefill_chunk(&*self.model);
        let turns = scheduler::next_step(&pending, chunk);
        for turn in &turns {
            let sequence = &mut self.running[turn.sequence];
            if let Err(error) = self
                .cache
                .grow(&mut sequence.table, sequence.cached + turn.tokens)
            {
                return self.fail(&[turn.sequence], error);
            }
        }
        self.health.step(turns.iter().map(|turn| turn.tokens).sum());
        let began = Instant::now();
        match self.forward(&turns) {
            Ok(Ok(logits)) => {
                let prompts = turns
                    .iter()
                    .filter(|turn| self.running[turn.sequence].generated() == 0);
                self.health
                    .speed
                    .record(prompts.map(|turn| turn.tokens).sum(), began.elapsed());
                self.hand_out(&turns, logits);
            }
            // What is over is ended before the next step; the others run this one again.
            Ok(Err(ModelError::Interrupted)) => {}
            Ok(Err(error)) if error.is_fatal() => {
                self.break_down(EngineError::DeviceLost {
                    source: Arc::new(error),
                });
            }
            Ok(Err(error)) => self.fail(&guilty(&turns, &error), error),
            Err(message) => self.break_down(EngineError::Panicked { message }),
        }
    }

    fn forward(&mut self, turns: &[Turn]) -> Result<Result<Vec<Logits>, ModelError>, String> {
        let (model, running) = (&mut self.model, &self.running);
        let chunk = |turn: &Turn| {
            let sequence = &running[turn.sequence];
            let is_last = turn.tokens == sequence.pending();
            SequenceChunk {
                token_ids: &sequence.ids[sequence.cached..][..turn.tokens],
                start_pos: sequence.cached,
                blocks: &sequence.table,
                logits: if is_last {
                    sequence.wanted()
                } else {
                    LogitRows::None
                },
            }
        };
        let batch: Vec<_> = turns.iter().map(chunk).collect();
        let (stopping, health) = (&self.stopping, &self.health);
        let is_over = |turn: &Turn| running[turn.sequence].outer_cause().is_some();
        let interrupted = || {
            health.beat();
            stopping.load(Relaxed) || turns.iter().all(is_over)
        };
        caught(|| model.forward(&batch, &interrupted))
    }

    fn hand_out(&mut self, turns: &[Turn], logits: Vec<Logits>) {
        let rows = self.model.config().vocab_size;
        // Fewer answers than questions: whose they are nobody knows.
        let logits = if logits.len() == turns.len() {
            logits
        } else {
            Vec::new()
        };
        let mut logits = logits.into_iter();
        let mut over = Vec::new();
        for turn in turns {
            let mut logits = logits.next();
            let sequence = &mut self.running[turn.sequence];
            if sequence.generated() == 0 {
                self.counters
                    .prefilled_tokens
                    .fetch_add(turn.tokens as u64, Relaxed);
            }
            sequence.ran(turn.tokens);
            if sequence.pending() > 0 {
                continue; // in the middle of its prompt
            }
            let step = sequence.generated();
            let drawn = match sequence.cause_before_draw() {
                Some(cause) => Ok(Some(cause)),
                None => caught(|| sequence.draw(logits.as_mut(), rows))
                    .unwrap_or_else(|message| Err(EngineError::StepPanicked { step, message })),
            };
            self.counters
                .generated_tokens
                .fetch_add((sequence.generated() - step) as u64, Relaxed);
            match drawn {
                Ok(None) => continue,
                Ok(Some(cause)) => sequence.finish(cause),
                Err(error) => sequence.fail(error),
            }
            over.push(turn.sequence);
        }
        for index in over.into_iter().rev() {
            self.retire(index); // turns are in the order of `running`
        }
    }

    /// Fails the sequences at `indices`, in ascending order; the others run their step again.
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

    /// Fails everything, now and from now on: a model that panicked may hold anything, and a lost
    /// device answers nothing.
    fn break_down(&mut self, error: EngineError) {
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

/// The sequence that an error names, or all that ran; in ascending order.
fn guilty(turns: &[Turn], error: &ModelError) -> Vec<usize> {
    let named = match error {
        ModelError::NonFinite { sequence, .. }
        | ModelError::BlocksMissing { sequence, .. }
        | ModelError::EmptyChunk { sequence } => turns.get(*sequence),
        _ => None,
    };
    named.map_or_else(
        || turns.iter().map(|turn| turn.sequence).collect(),
        |turn| vec![turn.sequence],
    )
}
