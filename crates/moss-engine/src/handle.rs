//! The engine as its users hold it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use moss_model::{LanguageModel, MossConfig};
use moss_sampling::Sampler;
use moss_text::Tokenizer;

use crate::{
    EngineError, Event, Metrics, Request, Session,
    metrics::Counters,
    sequence::Job,
    worker::{Command, Worker},
};

/// Limits of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Requests that may wait.
    pub queue_limit: usize,
    /// Sequences that may run at once.
    pub max_sequences: usize,
    /// Prompt tokens of one step.
    pub prefill_chunk: usize,
    /// Threads of the CPU kernels; `None` for one a core.
    pub threads: Option<usize>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { queue_limit: 256, max_sequences: 16, prefill_chunk: 256, threads: None }
    }
}

/// A model at work on a thread of its own. Dropping it cancels what runs and waits for the thread.
#[derive(Debug)]
pub struct Engine {
    commands: Sender<Command>,
    counters: Arc<Counters>,
    config: MossConfig,
    window: usize,
    tokenizer: Option<Tokenizer>,
    options: EngineOptions,
    next_session: AtomicU64,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the worker. Without a tokenizer there is no text, and every row of the embedding may be drawn.
    ///
    /// # Errors
    /// [`EngineError::TokenizerMismatch`] for a tokenizer with more tokens than the model has rows; [`EngineError::Threads`].
    pub fn start(
        model: Box<dyn LanguageModel>,
        tokenizer: Option<Tokenizer>,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let config = model.config().clone();
        if let Some(tokens) = tokenizer.as_ref().map(Tokenizer::vocab_size).filter(|n| *n > config.vocab_size)
        {
            return Err(EngineError::TokenizerMismatch { tokens, rows: config.vocab_size });
        }
        let threads = options.threads.unwrap_or(0);
        let error = |reason: String| EngineError::Threads { threads, reason };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("moss-kernel-{index}"))
            .build()
            .map_err(|source| error(source.to_string()))?;
        let window = config.context_length.min(model.cache_shape().positions());
        let (commands, inbox) = unbounded();
        let (counters, stopping) = (Arc::<Counters>::default(), Arc::<AtomicBool>::default());
        let worker =
            Worker::new(model, tokenizer.clone(), options.clone(), inbox, counters.clone(), stopping.clone());
        let thread = std::thread::Builder::new()
            .name("moss-engine".into())
            .spawn(move || pool.install(|| worker.run()))
            .map_err(|source| error(source.to_string()))?;
        Ok(Self {
            commands,
            counters,
            config,
            window,
            tokenizer,
            options,
            next_session: AtomicU64::new(0),
            stopping,
            thread: Some(thread),
        })
    }

    /// Sizes of the model.
    pub fn model_config(&self) -> &MossConfig {
        &self.config
    }

    /// Positions that a sequence may have: the model's window, or the cache where that is smaller.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The tokenizer, where there is one.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// What the engine has done and is doing.
    pub fn metrics(&self) -> Metrics {
        self.counters.snapshot()
    }

    /// A new conversation's cache.
    pub fn session(&self) -> Session {
        Session { id: self.next_session.fetch_add(1, Relaxed), commands: self.commands.clone() }
    }

    /// Queues a request.
    ///
    /// # Errors
    /// [`EngineError::EmptyPrompt`], [`EngineError::PromptTooLong`], [`EngineError::QueueFull`], [`EngineError::Sampling`] for a
    /// parameter out of its range, [`EngineError::ShutDown`].
    pub fn submit(&self, mut request: Request) -> Result<Run, EngineError> {
        if request.prompt.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        if request.prompt.len() >= self.window {
            let (found, allowed) = (request.prompt.len(), self.window.saturating_sub(1));
            return Err(EngineError::PromptTooLong { found, allowed });
        }
        let mut sampler = Sampler::new(request.sampling.clone())?;
        for step in request.steps.drain(..) {
            sampler = sampler.with_step(step);
        }
        let limit = self.options.queue_limit;
        let taken = self.counters.waiting.fetch_update(Relaxed, Relaxed, |n| (n < limit).then_some(n + 1));
        if taken.is_err() {
            return Err(EngineError::QueueFull { limit });
        }
        let (events, receiver) = unbounded();
        let cancelled = Arc::<AtomicBool>::default();
        let seed = sampler.seed();
        let job = Job { request, sampler, events, cancelled: cancelled.clone(), submitted: Instant::now() };
        self.commands.send(Command::Submit(Box::new(job))).map_err(|_| EngineError::ShutDown)?;
        self.counters.requests.fetch_add(1, Relaxed);
        Ok(Run { events: receiver, cancel: CancelHandle(cancelled), seed, over: false })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        let _ = self.commands.send(Command::Stop); // a worker that is gone has stopped
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // its panics were reported as events
        }
    }
}

/// Cancels a run from anywhere.
#[derive(Debug, Clone)]
pub struct CancelHandle(Arc<AtomicBool>);

impl CancelHandle {
    /// Asks the run to end; it does within one layer, with [`crate::StopCause::Cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Relaxed);
    }
}

/// A request's events. Dropping it cancels the request.
#[derive(Debug)]
pub struct Run {
    events: Receiver<Event>,
    cancel: CancelHandle,
    seed: u64,
    over: bool,
}

impl Run {
    /// Cancels this run from another thread, or from a signal handler.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// The seed that makes this run again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// The error of [`Event::Failed`].
    pub fn wait(mut self) -> Result<crate::Outcome, EngineError> {
        loop {
            match self.next() {
                Some(Event::Finished(outcome)) => return Ok(outcome),
                Some(Event::Failed(error)) => return Err(error),
                Some(_) => {}
                None => return Err(EngineError::ShutDown),
            }
        }
    }
}

impl Iterator for Run {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        let event = self.events.recv().unwrap_or(Event::Failed(EngineError::ShutDown));
        self.over = matches!(event, Event::Finished(_) | Event::Failed(_));
        Some(event)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
