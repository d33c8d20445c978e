//! The public handle of the engine.

use std::time::{Duration, Instant};

use moss_model::{BlockFormat, LanguageModel, MossConfig};
use moss_sampling::{Sampler, SamplingError, SamplingParams};
use moss_text::Tokenizer;

use crate::{
    CancelHandle, EngineError, EngineOptions, Event, EventSink, FaultListener, Metrics,
    PrefixBlocks, Request, Run, StopRules, Vocabulary,
    command::{Command, Job},
    health::Health,
    metrics::Counters,
    panics::catch_panic,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, Release},
        },
        channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded},
        kernel_pool,
        thread::{self, JoinHandle},
    },
    watchdog,
    worker::Worker,
};

/// Interval at which a dropped engine, which waits for its thread, checks for a stall.
const JOIN_POLL: Duration = Duration::from_millis(100);

/// An inference engine: a model on a worker thread, with a queue of requests. Dropping it cancels
/// all requests and waits for the thread, unless that has stalled.
#[derive(Debug)]
pub struct Engine {
    commands: Sender<Command>,
    counters: Arc<Counters>,
    config: MossConfig,
    context_length: usize,
    block_size: usize,
    /// `None` if cache blocks cannot be read and written.
    block_format: Option<Arc<BlockFormat>>,
    tokenizer: Option<Tokenizer>,
    options: EngineOptions,
    stopping: Arc<AtomicBool>,
    health: Arc<Health>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    /// Dropping it stops the watchdog.
    watchdog: Option<Sender<()>>,
}

impl Engine {
    /// Starts the worker thread. Without a tokenizer there is no text, and every row of the
    /// embedding may be sampled.
    ///
    /// # Errors
    /// [`EngineError::TokenizerMismatch`] for a tokenizer with more tokens than the model has rows;
    /// [`EngineError::TooManySequences`]; [`EngineError::Threads`].
    pub fn start(
        model: Box<dyn LanguageModel>,
        tokenizer: Option<Tokenizer>,
        mut options: EngineOptions,
    ) -> Result<Self, EngineError> {
        options.check()?;
        if options.fewer_sequences {
            options.max_sequences = options.max_sequences.min(model.decode_rows());
        }
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
        let pool = kernel_pool(threads).map_err(|source| error(source.to_string()))?;
        let context_length = config.context_length.min(model.cache_shape().positions());
        let block_size = model.cache_shape().block_size;
        let block_format = model.block_format().filter(|_| model.shares_blocks());
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
        let thread = thread::Builder::new()
            .name("moss-engine".into())
            .spawn({
                let health = health.clone();
                move || {
                    // Panics of the model are caught at its call. Any other is a fault of the
                    // engine.
                    if let Err(message) = catch_panic(|| pool.install(|| worker.run())) {
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
            context_length,
            block_size,
            block_format: block_format.map(Arc::new),
            tokenizer,
            options,
            stopping,
            health,
            thread: Some(thread),
            ended,
            watchdog: Some(watchdog),
        })
    }

    /// Returns the configuration of the model.
    pub fn model_config(&self) -> &MossConfig {
        &self.config
    }

    /// Returns the most positions of a sequence: the model's context length, or the capacity of the
    /// KV cache if that is smaller.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// Returns the most sequences that run concurrently.
    pub fn max_sequences(&self) -> usize {
        self.options.max_sequences
    }

    /// Returns the tokenizer, if there is one.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// Returns the current counters.
    pub fn metrics(&self) -> Metrics {
        self.counters.snapshot()
    }

    /// Returns the error that stopped the engine permanently: a panic of the model, a lost device,
    /// or a forward batch that does not end.
    pub fn fault(&self) -> Option<EngineError> {
        self.health.fault()
    }

    /// Calls `listener` once, from any thread, when the engine stops permanently; immediately if it
    /// has stopped already.
    pub fn on_fault(&self, listener: FaultListener) {
        self.health.listen(listener);
    }

    /// Returns the number of unprocessed prompt tokens of all waiting and running requests.
    pub fn prompt_backlog(&self) -> usize {
        self.health.prompt_backlog()
    }

    /// Predicts, from the measured speed, the time to process `prompt_tokens` and then to generate
    /// `generated_tokens` of one reply. Returns `None` before the first measurement.
    pub fn predict(&self, prompt_tokens: usize, generated_tokens: usize) -> Option<Duration> {
        self.health.speed.predict(prompt_tokens, generated_tokens)
    }

    /// Returns a request that continues `text`, which is trusted: special tokens in it are encoded
    /// as such. It ends at the end-of-text token or at the context length.
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

    /// Shares a prefix of prompts, such as the instruction of a server, between all owners: its
    /// full cache blocks are found by every request once one has computed them, and are evicted
    /// last. Prefixes that were computed before are not affected.
    pub fn pin_prefix(&self, ids: &[u32]) {
        // Fails if the engine is gone.
        let _ = self.commands.send(Command::Pin(ids.to_vec()));
    }

    /// Returns access to cached blocks as bytes; `None` if the model does not support it.
    pub fn prefix_blocks(&self) -> Option<PrefixBlocks> {
        Some(PrefixBlocks {
            commands: self.commands.clone(),
            format: self.block_format.clone()?,
            block_size: self.block_size,
            health: self.health.clone(),
        })
    }

    /// Queues a request.
    ///
    /// # Errors
    /// [`EngineError::EmptyPrompt`], [`EngineError::PromptTooLong`], [`EngineError::UnknownToken`],
    /// [`EngineError::Text`] for an id of the prompt without a token, [`EngineError::UnknownStop`],
    /// [`EngineError::NoTokenizer`] for stop strings without a tokenizer,
    /// [`EngineError::Sampling`] for a parameter out of its range or a bias of an unknown id,
    /// [`EngineError::QueueFull`], [`EngineError::ShutDown`].
    pub fn submit(&self, request: Request) -> Result<Run, EngineError> {
        self.submit_with(request, CancelHandle::default())
    }

    /// Queues a request that an existing handle cancels.
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

    /// Queues a request without blocking a thread for it, for async callers: the engine calls
    /// `events` for each event, and `cancel` ends the request. If the engine is dropped, it drops
    /// the sink without a last event. Returns the seed that reproduces the run.
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
        for processor in request.processors.drain(..) {
            sampler = sampler.with_processor(processor);
        }
        let seed = sampler.seed();
        if let Some(fault) = self.fault() {
            events(Event::Failed(fault)); // the result does not matter: it is the last event
            return Ok(seed);
        }
        let limit = self.options.queue_limit.max(1);
        let queued = self.counters.waiting.fetch_update(Relaxed, Relaxed, |n| {
            (n < limit || request.is_follow_up).then_some(n + 1)
        });
        if queued.is_err() {
            return Err(EngineError::QueueFull { limit });
        }
        self.counters
            .requests
            .fetch_add(u64::from(!request.is_follow_up), Relaxed);
        let id = self.counters.runs.fetch_add(1, Relaxed);
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

    /// Rejects requests that would fail in a forward batch, where other requests would be affected.
    fn check(&self, request: &Request) -> Result<(), EngineError> {
        let prompt = &request.prompt;
        if prompt.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        if prompt.len() >= self.context_length {
            return Err(EngineError::PromptTooLong {
                found: prompt.len(),
                context_length: self.context_length,
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
        self.stopping.store(true, Release); // after all commands
        let _ = self.commands.send(Command::Stop); // fails if the worker has stopped already
        while self.ended.recv_timeout(JOIN_POLL) == Err(RecvTimeoutError::Timeout) {
            if matches!(self.fault(), Some(EngineError::Stalled { .. })) {
                return; // the thread may never end
            }
        }
        self.watchdog = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic was reported as an event
        }
    }
}
