//! A request in the engine, for async code. Dropping it cancels the request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::future::select_all;
use moss_engine::{
    CancelHandle, Engine, EngineError, Event, Outcome, Request, StopCause, Timings, Usage,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    Limits, ServedModel, error::ApiError, metrics::OwnerCounts, state::Shared,
    wire::answer::end_error,
};

/// Factor from the predicted to the maximum time in the queue.
const QUEUE_FACTOR: u32 = 2;
/// Maximum queue time that is derived from the measured speed.
const LONGEST_QUEUE_TIME: Duration = Duration::from_secs(3600);
/// Interval of checks by a request that waits before any speed has been measured.
const RECHECK: Duration = Duration::from_secs(1);

/// Shared by all generations of one HTTP request. True once one of them has left the queue; from
/// then on the queue limit does not apply.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission(Arc<AtomicBool>);

pub(crate) struct Generation {
    state: Shared,
    engine: Arc<Engine>,
    /// Bounded by a few events per token, because the context length bounds the tokens.
    events: UnboundedReceiver<Event>,
    cancel: CancelHandle,
    seed: u64,
    submitted: Instant,
    /// Prompt tokens of this request and of those before it at submission.
    backlog: usize,
    admission: Admission,
    /// Received by [`Generation::admitted`], for [`Generation::next`].
    first: Option<Event>,
    has_started: bool,
    /// The counters of the request's owner.
    counts: Arc<OwnerCounts>,
    /// It continues an earlier run, which has counted the prompt.
    follows: bool,
    end: End,
}

/// The end of a generation.
enum End {
    Open,
    Finished(StopCause),
    Failed,
}

impl Generation {
    /// Submits a request.
    ///
    /// # Errors
    /// Those of [`moss_engine::Engine::submit`].
    pub(crate) fn start(
        state: &Shared,
        model: &ServedModel,
        request: Request,
        admission: &Admission,
    ) -> Result<Self, ApiError> {
        let (cancel, engine) = (CancelHandle::default(), model.engine.clone());
        let counts = state.metrics.owners.of(&request.owner);
        let (events, seed) = submit(&engine, request, &cancel)?;
        Ok(Self {
            state: state.clone(),
            backlog: engine.prompt_backlog(),
            engine,
            events,
            cancel,
            seed,
            submitted: Instant::now(),
            admission: admission.clone(),
            first: None,
            has_started: false,
            counts,
            follows: false,
            end: End::Open,
        })
    }

    /// Submits another run of the same reply, with the seed of the first.
    ///
    /// # Errors
    /// Those of [`moss_engine::Engine::submit`].
    pub(crate) fn follow_up(&mut self, mut request: Request) -> Result<(), ApiError> {
        request.sampling.seed = Some(self.seed);
        (self.events, _) = submit(&self.engine, request, &self.cancel)?;
        (self.follows, self.end) = (true, End::Open);
        Ok(())
    }

    /// Waits until the request has left the queue.
    ///
    /// # Errors
    /// As [`Generation::next`], and the error of an answer that ends immediately.
    pub(crate) async fn admitted(&mut self) -> Result<(), ApiError> {
        if self.first.is_none() {
            let event = self.receive().await?;
            if let Event::Finished(outcome) = &event
                && let Some(error) = end_error(outcome)
            {
                return Err(error);
            }
            self.first = Some(event);
        }
        Ok(())
    }

    /// Returns the next event. The last one is [`Event::Finished`], with [`StopCause::Cancelled`]
    /// if the drain time of a shutdown has passed.
    ///
    /// # Errors
    /// The error of [`Event::Failed`]; [`ApiError::QueueTime`].
    pub(crate) async fn next(&mut self) -> Result<Event, ApiError> {
        match self.first.take() {
            Some(event) => Ok(event),
            None => self.receive().await,
        }
    }

    /// Receives an event. Cancel-safe: no event is lost if the future is dropped.
    async fn receive(&mut self) -> Result<Event, ApiError> {
        let event = loop {
            if self.cancel.is_cancelled() {
                // Aborted: events that have arrived are still returned. The running forward pass is
                // not awaited, because a layer may take seconds.
                break self
                    .events
                    .try_recv()
                    .ok()
                    .or_else(|| Some(Event::Finished(aborted())));
            }
            let queue_time_left = self.queue_time_left();
            tokio::select! {
                event = self.events.recv() => break event,
                () = tokio::time::sleep(queue_time_left), if self.is_queued() => self.check_queue_time()?,
                () = self.state.abandon.cancelled() => self.cancel.cancel(),
            }
        };
        let event = event.unwrap_or(Event::Failed(EngineError::ShutDown));
        self.has_started = true;
        self.admission.0.store(true, Relaxed);
        self.measure(&event);
        match event {
            Event::Failed(error) => {
                self.end = End::Failed;
                Err(error.into())
            }
            event => Ok(event),
        }
    }

    fn is_queued(&self) -> bool {
        !self.has_started && !self.admission.0.load(Relaxed)
    }

    /// Returns the maximum time in the queue, or `None` before any speed has been measured.
    fn queue_time(&self) -> Option<Duration> {
        let predicted = || {
            // The request runs when those before it have been answered.
            let answer = self.state.options.defaults.max_tokens;
            let ahead = self
                .engine
                .predict(self.backlog, answer)?
                .saturating_mul(QUEUE_FACTOR);
            Some(ahead.min(LONGEST_QUEUE_TIME).max(Limits::QUEUE_TIME))
        };
        self.state.options.limits.queue_time.or_else(predicted)
    }

    /// Returns the time until the next check of the queue limit.
    fn queue_time_left(&self) -> Duration {
        match self.queue_time() {
            Some(limit) => limit.saturating_sub(self.submitted.elapsed()),
            None => RECHECK,
        }
    }

    fn check_queue_time(&self) -> Result<(), ApiError> {
        match self.queue_time() {
            Some(limit) if self.is_queued() && self.submitted.elapsed() >= limit => {
                Err(ApiError::QueueTime {
                    seconds: limit.as_secs(),
                })
            }
            _ => Ok(()),
        }
    }

    fn measure(&mut self, event: &Event) {
        let metrics = &self.state.metrics;
        match event {
            Event::Started { prompt_tokens, .. } if !self.follows => {
                let prompt = *prompt_tokens as u64;
                metrics.prompt_tokens.inc_by(prompt);
                self.counts.prompt_tokens.fetch_add(prompt, Relaxed);
            }
            Event::Text { id: Some(_), .. } => {
                metrics.generated_tokens.inc();
                self.counts.generated_tokens.fetch_add(1, Relaxed);
            }
            Event::Finished(outcome) => {
                if !self.follows {
                    // Blocks that other requests computed meanwhile are included.
                    let reused = outcome.usage.reused_tokens as u64;
                    metrics.cached_tokens.inc_by(reused);
                    self.counts.cached_tokens.fetch_add(reused, Relaxed);
                }
                self.end = End::Finished(outcome.cause.clone());
            }
            _ => {}
        }
    }
}

/// Returns the outcome of an aborted answer.
fn aborted() -> Outcome {
    Outcome {
        cause: StopCause::Cancelled,
        ids: Vec::new(),
        text: String::new(),
        usage: Usage::default(),
        timings: Timings::default(),
    }
}

/// Waits until one of a request's generations has left the queue. Only then is the status of the
/// response known.
///
/// # Errors
/// As [`Generation::admitted`].
pub(crate) async fn one_admitted<'a>(
    generations: impl Iterator<Item = &'a mut Generation>,
) -> Result<(), ApiError> {
    let waits: Vec<_> = generations
        .map(|generation| Box::pin(generation.admitted()))
        .collect();
    if waits.is_empty() {
        return Ok(());
    }
    select_all(waits).await.0
}

/// Submits a request and returns its events and its seed.
fn submit(
    engine: &Engine,
    request: Request,
    cancel: &CancelHandle,
) -> Result<(UnboundedReceiver<Event>, u64), ApiError> {
    let (sender, events) = unbounded_channel();
    let sink = Box::new(move |event| sender.send(event).is_ok());
    let seed = engine.submit_to(request, cancel.clone(), sink)?;
    Ok((events, seed))
}

impl Drop for Generation {
    fn drop(&mut self) {
        let metrics = &self.state.metrics;
        match &self.end {
            End::Open => {
                self.cancel.cancel();
                metrics.gone();
            }
            End::Finished(cause) => metrics.answer(cause),
            End::Failed => {}
        }
    }
}
