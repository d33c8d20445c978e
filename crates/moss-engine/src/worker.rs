//! The thread that owns the model: takes commands, admits requests, runs forward batches, and ends
//! requests.

mod admit;
mod blocks;
mod drafts;
mod step;

use moss_model::{LanguageModel, ModelError};
use moss_text::Tokenizer;

use crate::{
    EngineError, EngineOptions, StopCause,
    cache::SharedCache,
    command::{BlockWait, Command},
    health::Health,
    metrics::Counters,
    queue::FairQueue,
    sequence::Sequence,
    speculation::Speculator,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed},
        },
        channel::Receiver,
    },
    waiting::Waiting,
};

pub(crate) struct Worker {
    model: Box<dyn LanguageModel>,
    tokenizer: Option<Tokenizer>,
    options: EngineOptions,
    inbox: Receiver<Command>,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
    cache: SharedCache,
    waiting: FairQueue<Waiting>,
    /// In order of their first admission.
    running: Vec<Sequence>,
    /// Sequences that were admitted so far.
    admitted: u64,
    health: Arc<Health>,
    /// Functions to call when prefixes have been computed.
    block_waits: Vec<BlockWait>,
    speculator: Speculator,
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
        let cache = SharedCache::new(
            model.cache_shape(),
            model.shares_blocks(),
            options.deterministic,
        );
        counters
            .cache_blocks
            .store(cache.shape().num_blocks, Relaxed);
        let (waiting, running) = (FairQueue::new(options.max_per_owner), Vec::new());
        let speculator = Speculator::new(options.speculation);
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
            admitted: 0,
            health,
            block_waits: Vec::new(),
            speculator,
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
                self.end_block_waits();
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
        // Commands that arrived after the last look at the inbox
        while let Ok(command) = self.inbox.try_recv() {
            self.take(command);
        }
        for waiting in self.waiting.extract(|_| true) {
            waiting.end(StopCause::Cancelled, None);
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
        !self.stopping.load(Acquire)
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Submit(job) => {
                let owner = job.request.owner.clone();
                self.waiting.push(&owner, Waiting::New(job));
            }
            Command::Pin(ids) => self.cache.pin(ids),
            Command::Block(command) => self.take_block(command),
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
        let is_broken = self.broken.is_some();
        let ended = self
            .waiting
            .extract(|waiting| is_broken || waiting.external_cause().is_some());
        for waiting in ended {
            self.counters.waiting.fetch_sub(1, Relaxed);
            let cause = waiting.external_cause();
            let error = self.broken.clone().filter(|_| cause.is_none());
            waiting.end(cause.unwrap_or(StopCause::Cancelled), error);
        }
    }

    /// Removes a sequence. Its cache blocks go to the prefix cache.
    fn retire(&mut self, index: usize) {
        let Sequence {
            ids, blocks, owner, ..
        } = self.running.remove(index);
        self.waiting.end(&owner);
        self.cache.retire(blocks, &ids);
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
        // The watchdog skips a request whose sink this thread was in when it reported a stall.
        for sequence in &self.running {
            sequence.end_with(&error);
        }
        while !self.running.is_empty() {
            self.retire(0);
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
