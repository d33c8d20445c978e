//! The engine as its users hold it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use moss_model::{LanguageModel, MossConfig};
use moss_sampling::{Sampler, SamplingError, SamplingParams};
use moss_text::Tokenizer;

use crate::{
    CancelHandle, EngineError, EngineOptions, Event, EventSink, FaultListener, Metrics, Request,
    Run, Session, StopRules, Vocabulary,
    command::{Command, Job},
    health::Health,
    metrics::Counters,
    panics::caught,
    watchdog,
    worker::Worker,
};

/// How often a dropped engine that waits for its thread looks whether the thread is stalled.
const JOIN_POLL: Duration = Duration::from_millis(100);

/// A model at work on a thread of its own. Dropping it cancels what runs and waits for the thread,
/// unless that is stalled.
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
    health: Arc<Health>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    /// Dropping it ends the watchdog.
    watchdog: Option<Sender<()>>,
}

impl Engine {
    /// Starts the worker. Without a tokenizer there is no text, and every row of the embedding may
    /// be drawn.
    ///
    /// # Errors
    /// [`EngineError::TokenizerMismatch`] for a tokenizer with more tokens than the model has rows;
    /// [`EngineError::Threads`].
    pub fn start(
        model: Box<dyn LanguageModel>,
        tokenizer: Option<Tokenizer>,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let config = model.config().clone();
        if let Some(tokens) = tokenizer
            .as_ref()
            .map(Tokenizer::vocab_size)
            .filter(|n| *n > config.vocab_size)
        {
            return Err(EngineError::TokenizerMismatch {
                tokens,
                rows: config.vocab_size,
            });
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
        let health = Arc::<Health>::default();
        let stall_time = options.stall_time(&*model);
        let mut worker = Worker::new(
            model,
            tokenizer.clone(),
            options.clone(),
            inbox,
            counters.clone(),
            stopping.clone(),
            health.clone(),
        );
        let watchdog = watchdog::start(health.clone(), stall_time)
            .map_err(|source| error(source.to_string()))?;
        let (at_end, ended) = bounded(0);
        let thread = std::thread::Builder::new()
            .name("moss-engine".into())
            .spawn({
                let health = health.clone();
                move || {
                    // Panics of the model are caught where it is called; any other is a fault of
                    // the engine itself.
                    if let Err(message) = caught(|| pool.install(|| worker.run())) {
                        health.fail(&EngineError::Panicked { message });
                    }
                    drop(worker);
                    drop(at_end);
                }
            })
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
            health,
            thread: Some(thread),
            ended,
            watchdog: Some(watchdog),
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

    /// Returns the error that stopped the engine for good: a panic of the model, a lost device, or
    /// a step that does not end.
    pub fn fault(&self) -> Option<EngineError> {
        self.health.fault()
    }

    /// Calls `listener` once when the engine stops for good, from any thread; at once if it has
    /// stopped already.
    pub fn on_fault(&self, listener: FaultListener) {
        self.health.listen(listener);
    }

    /// Returns the prompt tokens of all requests, waiting and running, that have yet to be
    /// processed.
    pub fn prompt_backlog(&self) -> usize {
        self.health.prompt_backlog()
    }

    /// Predicts from measured speed how long `prompt_tokens` and then the `generated_tokens` of one
    /// answer take. `None` until a speed has been measured.
    pub fn predict(&self, prompt_tokens: usize, generated_tokens: usize) -> Option<Duration> {
        self.health.speed.predict(prompt_tokens, generated_tokens)
    }

    /// Returns a request that continues `text`, which is trusted: special tokens in it are taken as
    /// such. It ends at the end-of-text token or in a full context window.
    ///
    /// # Errors
    /// [`EngineError::NoTokenizer`]; [`EngineError::Text`].
    pub fn completion(&self, text: &str, sampling: SamplingParams) -> Result<Request, EngineError> {
        let tokenizer = self.tokenizer().ok_or(EngineError::NoTokenizer)?;
        Ok(Request {
            stop: StopRules::end_of_text(&self.config),
            ..Request::new(tokenizer.encode(text)?, sampling)
        })
    }

    /// A new conversation's cache.
    pub fn session(&self) -> Session {
        Session {
            id: self.next_session.fetch_add(1, Relaxed),
            commands: self.commands.clone(),
        }
    }

    /// Queues a request.
    ///
    /// # Errors
    /// [`EngineError::EmptyPrompt`], [`EngineError::PromptTooLong`], [`EngineError::UnknownToken`],
    /// [`EngineError::Text`] for an id of the prompt without a token, [`EngineError::UnknownStop`],
    /// [`EngineError::NoTokenizer`] for stop strings where there is no text,
    /// [`EngineError::Sampling`] for a parameter out of its range or a bias of an unknown id,
    /// [`EngineError::QueueFull`], [`EngineError::ShutDown`].
    pub fn submit(&self, request: Request) -> Result<Run, EngineError> {
        self.submit_with(request, CancelHandle::default())
    }

    /// As [`Engine::submit`], to be cancelled by a handle that is in somebody's hands already.
    pub(crate) fn submit_with(
        &self,
        request: Request,
        cancel: CancelHandle,
    ) -> Result<Run, EngineError> {
        let (events, receiver) = unbounded();
        let sink = Box::new(move |event| events.send(event).is_ok());
        let seed = self.submit_to(request, cancel.clone(), sink)?;
        Ok(Run::new(receiver, cancel, seed))
    }

    /// As [`Engine::submit`], for those who cannot wait on a thread: events go to `events` as they
    /// come, and `cancel` ends the request. A sink that is dropped without a last event tells that
    /// the engine is gone. Gives the seed that makes the run again.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub fn submit_to(
        &self,
        mut request: Request,
        cancel: CancelHandle,
        events: EventSink,
    ) -> Result<u64, EngineError> {
        self.check(&request)?;
        let mut sampling = request.sampling.clone();
        if let Some(penalty) = &mut sampling.stop_length_penalty
            && penalty.stop_ids.is_empty()
        {
            penalty.stop_ids.clone_from(&request.stop.stop_ids);
        }
        let mut sampler = Sampler::new(sampling)?;
        for step in request.steps.drain(..) {
            sampler = sampler.with_step(step);
        }
        let seed = sampler.seed();
        if let Some(fault) = self.fault() {
            events(Event::Failed(fault)); // an owner who is gone needs no event
            return Ok(seed);
        }
        let limit = self.options.queue_limit.max(1);
        let taken = self
            .counters
            .waiting
            .fetch_update(Relaxed, Relaxed, |n| (n < limit).then_some(n + 1));
        if taken.is_err() {
            return Err(EngineError::QueueFull { limit });
        }
        let id = self.counters.requests.fetch_add(1, Relaxed);
        let cancelled = cancel.0;
        let events = self.health.open(id, request.prompt.len(), events);
        let job = Job {
            id,
            request,
            sampler,
            events,
            cancelled,
            submitted: Instant::now(),
        };
        self.commands
            .send(Command::Submit(Box::new(job)))
            .map_err(|_| EngineError::ShutDown)?;
        Ok(seed)
    }

    /// What would fail in the middle of a batch is refused here, where it harms nobody else.
    fn check(&self, request: &Request) -> Result<(), EngineError> {
        let prompt = &request.prompt;
        if prompt.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        if prompt.len() >= self.window {
            return Err(EngineError::PromptTooLong {
                found: prompt.len(),
                context_length: self.window,
            });
        }
        let rows = self.config.vocab_size;
        let unknown = |(_, id): &(usize, &u32)| usize::try_from(**id).map_or(true, |id| id >= rows);
        if let Some((position, id)) = prompt.iter().enumerate().find(unknown) {
            return Err(EngineError::UnknownToken {
                position,
                id: *id,
                rows,
            });
        }
        let tokenizer = self
            .tokenizer
            .as_ref()
            .filter(|_| request.vocabulary == Vocabulary::RealTokens);
        let tokens = match tokenizer {
            Some(tokenizer) => {
                tokenizer.check_ids(prompt)?;
                tokenizer.vocab_size()
            }
            None => rows,
        };
        let is_unknown = |id: &u32| *id as usize >= tokens;
        if let Some(id) = request
            .sampling
            .logit_bias
            .iter()
            .map(|(id, _)| *id)
            .find(is_unknown)
        {
            return Err(SamplingError::UnknownBias { id, tokens }.into());
        }
        if let Some(id) = request.stop.stop_ids.iter().copied().find(is_unknown) {
            return Err(EngineError::UnknownStop { id, tokens });
        }
        if self.tokenizer.is_none() && !request.stop.stop_strings.is_empty() {
            return Err(EngineError::NoTokenizer);
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        let _ = self.commands.send(Command::Stop); // a worker that is gone has stopped
        while self.ended.recv_timeout(JOIN_POLL) == Err(RecvTimeoutError::Timeout) {
            if matches!(self.fault(), Some(EngineError::Stalled { .. })) {
                return; // the thread may never end; the process ends it
            }
        }
        self.watchdog = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // its panics were reported as events
        }
    }
}
