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
    Limits, ServedModel,
    error::ApiError,
    metrics::{OwnerCounts, TokenCounts},
    state::Shared,
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
        let (events, seed) = submit(state, &engine, request, &cancel, &counts)?;
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
            end: End::Open,
        })
    }

    /// Submits another run of the same reply, with the seed of the first.
    ///
    /// # Errors
    /// Those of [`moss_engine::Engine::submit`].
    pub(crate) fn follow_up(&mut self, mut request: Request) -> Result<(), ApiError> {
        request.sampling.seed = Some(self.seed);
        self.end = End::Failed;
        (self.events, _) = submit(
            &self.state,
            &self.engine,
            request,
            &self.cancel,
            &self.counts,
        )?;
        self.end = End::Open;
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
        match event {
            Event::Failed(error) => {
                self.end = End::Failed;
                Err(error.into())
            }
            Event::Finished(outcome) => {
                self.end = End::Finished(outcome.cause.clone());
                Ok(Event::Finished(outcome))
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

    fn check_queue_time(&mut self) -> Result<(), ApiError> {
        match self.queue_time() {
            Some(limit) if self.is_queued() && self.submitted.elapsed() >= limit => {
                self.cancel.cancel();
                self.end = End::Failed;
                Err(ApiError::QueueTime {
                    seconds: limit.as_secs(),
                })
            }
            _ => Ok(()),
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

/// Submits a request of an owner with these `counts`, and returns its events and its seed.
fn submit(
    state: &Shared,
    engine: &Engine,
    request: Request,
    cancel: &CancelHandle,
    counts: &Arc<OwnerCounts>,
) -> Result<(UnboundedReceiver<Event>, u64), ApiError> {
    let (sender, events) = unbounded_channel();
    // The engine drops the sink. It must not have the state, which has the engine.
    let counts = TokenCounts::new(&state.metrics, counts.clone(), request.is_follow_up);
    let sink = Box::new(move |event| {
        counts.count(&event);
        sender.send(event).is_ok()
    });
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
            End::Failed => metrics.failed(),
        }
    }
}
