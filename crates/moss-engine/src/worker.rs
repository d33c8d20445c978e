//! The thread that owns the model: admits requests, runs steps, hands out tokens.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crossbeam_channel::Receiver;
use moss_model::{BlockPool, BlockTable, LanguageModel, LogitRows, Logits, ModelError, SequenceChunk};
use moss_text::Tokenizer;

use crate::{
    EngineError, EngineOptions, StopCause, Vocabulary,
    metrics::Counters,
    scheduler::{self, Turn},
    sequence::{Job, Sequence},
};

/// What handles tell the worker.
pub(crate) enum Command {
    /// A request.
    Submit(Box<Job>),
    /// A conversation is over.
    EndSession(u64),
    /// So is the engine.
    Stop,
}

/// What a conversation left in the cache.
struct Idle {
    ids: Vec<u32>,
    table: BlockTable,
    last_used: u64,
}

pub(crate) struct Worker {
    model: Box<dyn LanguageModel>,
    tokenizer: Option<Tokenizer>,
    options: EngineOptions,
    inbox: Receiver<Command>,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
    pool: BlockPool,
    waiting: VecDeque<Box<Job>>,
    running: Vec<Sequence>,
    idle: HashMap<u64, Idle>,
    clock: u64,
    /// Set once the model's code has panicked.
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
    ) -> Self {
        let pool = BlockPool::new(model.cache_shape());
        counters.cache_blocks.store(pool.shape().num_blocks, Relaxed);
        Self {
            model,
            tokenizer,
            options,
            inbox,
            counters,
            stopping,
            pool,
            waiting: VecDeque::new(),
            running: Vec::new(),
            idle: HashMap::new(),
            clock: 0,
            broken: None,
        }
    }

    pub(crate) fn run(mut self) {
        while self.take_commands() {
            self.end_what_is_over();
            self.admit();
            if !self.running.is_empty() {
                self.step();
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
                if let Some(idle) = self.idle.remove(&id) {
                    self.pool.release(idle.table);
                }
                for sequence in self.running.iter_mut().filter(|sequence| sequence.session == Some(id)) {
                    sequence.session = None;
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
        let shape = self.pool.shape();
        let window = self.model.config().context_length.min(shape.positions());
        while let Some(job) = self.waiting.front() {
            let longest = job
                .request
                .stop
                .max_new_tokens
                .map_or(window, |n| job.request.prompt.len().saturating_add(n));
            let needed = longest.min(window).div_ceil(shape.block_size);
            let promised = self.running.iter().map(|sequence| sequence.promised).sum();
            let running = self.running.len();
            if !scheduler::admits(promised, needed, shape.num_blocks, running, self.options.max_sequences) {
                return;
            }
            let Some(job) = self.waiting.pop_front() else { return };
            self.counters.waiting.fetch_sub(1, Relaxed);
            let (table, cached) = self.resume(job.request.session, &job.request.prompt);
            self.counters.reused_tokens.fetch_add(cached as u64, Relaxed);
            let rows = self.model.config().vocab_size;
            let allowed = match job.request.vocabulary {
                Vocabulary::RealTokens => self.tokenizer.as_ref().map_or(rows, Tokenizer::vocab_size),
                Vocabulary::EveryRow => rows,
            };
            let tokenizer = self.tokenizer.as_ref();
            self.running.push(Sequence::start(*job, tokenizer, allowed, window, needed, (table, cached)));
        }
    }

    /// What a session's cache shares with a prompt: all but the last token at most, whose logits are needed.
    fn resume(&mut self, session: Option<u64>, prompt: &[u32]) -> (BlockTable, usize) {
        let Some(mut idle) = session.and_then(|id| self.idle.remove(&id)) else {
            return (BlockTable::default(), 0);
        };
        let shared = idle.ids.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let cached = shared.min(prompt.len() - 1);
        self.pool.truncate(&mut idle.table, cached);
        (idle.table, cached)
    }

    /// Takes a sequence out: its cache goes to its session, or back.
    fn retire(&mut self, index: usize) {
        let sequence = self.running.remove(index);
        let Sequence { mut ids, mut table, cached, session, .. } = sequence;
        let Some(session) = session else { return self.pool.release(table) };
        ids.truncate(cached);
        self.pool.truncate(&mut table, cached);
        self.clock += 1;
        let left = Idle { ids, table, last_used: self.clock };
        if let Some(older) = self.idle.insert(session, left) {
            self.pool.release(older.table);
        }
    }

    /// One pass over the model.
    fn step(&mut self) {
        let pending: Vec<_> = self.running.iter().map(Sequence::pending).collect();
        let turns = scheduler::next_step(&pending, self.options.prefill_chunk);
        if let Err((index, error)) = self.make_room(&turns) {
            self.running[index].fail(error);
            return self.retire(index);
        }
        match self.forward(&turns) {
            Ok(Ok(logits)) => self.hand_out(&turns, logits),
            // What is over is ended before the next step; the others run this one again.
            Ok(Err(ModelError::Interrupted)) => {}
            Ok(Err(error)) => self.fail(&turns, error),
            Err(message) => {
                let error = EngineError::Panicked { message };
                for sequence in std::mem::take(&mut self.running) {
                    sequence.fail(error.clone());
                }
                self.broken = Some(error);
            }
        }
    }

    /// Takes the blocks that a step needs, from idle sessions if it must, the longest idle first.
    fn make_room(&mut self, turns: &[Turn]) -> Result<(), (usize, EngineError)> {
        for turn in turns {
            let sequence = &mut self.running[turn.sequence];
            let positions = sequence.cached + turn.tokens;
            while let Err(error) = self.pool.grow(&mut sequence.table, positions) {
                let oldest = self.idle.iter().min_by_key(|(_, idle)| idle.last_used).map(|(id, _)| *id);
                match oldest.and_then(|id| self.idle.remove(&id)) {
                    Some(idle) => self.pool.release(idle.table),
                    None => {
                        let (step, source) = (sequence.generated(), Arc::new(error));
                        return Err((turn.sequence, EngineError::Model { step, source }));
                    }
                }
            }
        }
        Ok(())
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
                logits: if is_last { LogitRows::Last } else { LogitRows::None },
            }
        };
        let batch: Vec<_> = turns.iter().map(chunk).collect();
        let stopping = &self.stopping;
        let interrupted = || {
            stopping.load(Relaxed) || turns.iter().all(|turn| running[turn.sequence].cancelled.load(Relaxed))
        };
        catch_unwind(AssertUnwindSafe(|| model.forward(&batch, &interrupted))).map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".into())
        })
    }

    fn hand_out(&mut self, turns: &[Turn], logits: Vec<Logits>) {
        let mut over = Vec::new();
        for (turn, mut logits) in turns.iter().zip(logits) {
            let sequence = &mut self.running[turn.sequence];
            if sequence.generated() == 0 {
                self.counters.prefilled_tokens.fetch_add(turn.tokens as u64, Relaxed);
            }
            sequence.ran(turn.tokens);
            let Some(row) = logits.last_mut() else { continue };
            // Nothing was asked for but the prompt's keys and values.
            let drawn = match sequence.outer_cause() {
                Some(StopCause::MaxNewTokens) => Ok(Some(StopCause::MaxNewTokens)),
                _ => sequence.draw(row).inspect(|_| {
                    self.counters.generated_tokens.fetch_add(1, Relaxed);
                }),
            };
            match drawn {
                Ok(None) => {}
                Ok(Some(cause)) => {
                    sequence.finish(cause);
                    over.push(turn.sequence);
                }
                Err(error) => {
                    sequence.fail(error);
                    over.push(turn.sequence);
                }
            }
        }
        over.sort_unstable();
        for index in over.into_iter().rev() {
            self.retire(index);
        }
    }

    /// Fails the sequence that an error names, or all that ran.
    fn fail(&mut self, turns: &[Turn], error: ModelError) {
        let guilty = match &error {
            ModelError::NonFinite { sequence, .. } | ModelError::BlocksMissing { sequence, .. } => {
                Some(*sequence)
            }
            _ => None,
        };
        let source = Arc::new(error);
        let named = guilty.and_then(|index| turns.get(index));
        let mut failed: Vec<_> = match named {
            Some(turn) => vec![turn.sequence],
            None => turns.iter().map(|turn| turn.sequence).collect(),
        };
        failed.sort_unstable();
        for index in failed.into_iter().rev() {
            let step = self.running[index].generated();
            self.running[index].fail(EngineError::Model { step, source: source.clone() });
            // What this step wrote is not counted, so what the session keeps is sound.
            self.retire(index);
        }
    }

    fn count(&self) {
        self.counters.running.store(self.running.len(), Relaxed);
        let used = self.pool.shape().num_blocks - self.pool.free_blocks();
        self.counters.cache_blocks_used.store(used, Relaxed);
    }
}
