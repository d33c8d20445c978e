//! A request at work in the engine, for async code. Dropping it cancels it, wherever it is.

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

use crate::{Limits, ServedModel, error::ApiError, state::Shared, wire::answer::end_error};

/// Times the predicted wait that a request may spend in the queue.
const QUEUE_FACTOR: u32 = 2;
/// Longest limit of the queue that is derived from measured speed.
const LONGEST_QUEUE_TIME: Duration = Duration::from_secs(3600);
/// How often a request that waits before any speed has been measured looks again.
const UNMEASURED: Duration = Duration::from_secs(1);

/// Shared by all generations of one HTTP request: whether one of them has left the queue. From then
/// on the request is being answered, and the limit of the queue is no more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission(Arc<AtomicBool>);

pub(crate) struct Generation {
    state: Shared,
    engine: Arc<Engine>,
    /// Never more than a few a token: a request is bounded by the window, and so are its events.
    events: UnboundedReceiver<Event>,
    cancel: CancelHandle,
    seed: u64,
    session: Option<u64>,
    submitted: Instant,
    /// Prompt tokens of this request and of those before it, when it was submitted.
    backlog: usize,
    admission: Admission,
    /// Taken by [`Generation::admitted`], to be given by [`Generation::next`].
    first: Option<Event>,
    has_started: bool,
    last_token: Option<Instant>,
    /// It goes on from an earlier run, which has counted its prompt.
    follows: bool,
    end: End,
}

/// How far a generation has come.
enum End {
    Open,
    Finished(StopCause),
    Failed,
}

impl Generation {
    /// # Errors
    /// Those of [`moss_engine::Engine::submit`].
    pub(crate) fn start(
        state: &Shared,
        model: &ServedModel,
        request: Request,
        admission: &Admission,
    ) -> Result<Self, ApiError> {
        let (cancel, engine) = (CancelHandle::default(), model.engine.clone());
        let session = request.session;
        let (events, seed) = submit(&engine, request, &cancel)?;
        Ok(Self {
            state: state.clone(),
            backlog: engine.prompt_backlog(),
            engine,
            events,
            cancel,
            seed,
            session,
            submitted: Instant::now(),
            admission: admission.clone(),
            first: None,
            has_started: false,
            last_token: None,
            follows: false,
            end: End::Open,
        })
    }

    /// Goes on with another run of the same reply, with the seed, session and place of the first.
    ///
    /// # Errors
    /// Those of [`moss_engine::Engine::submit`].
    pub(crate) fn follow_up(&mut self, mut request: Request) -> Result<(), ApiError> {
        request.sampling.seed = Some(self.seed);
        request.session = self.session;
        (self.events, _) = submit(&self.engine, request, &self.cancel)?;
        (self.follows, self.end) = (true, End::Open);
        Ok(())
    }

    /// Waits until it has left the queue.
    ///
    /// # Errors
    /// As [`Generation::next`]; the error that an answer ends in where it ends at once.
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

    /// The next event; the last one is [`Event::Finished`]. A server that is shut down and has
    /// waited long enough ends it as [`StopCause::Cancelled`].
    ///
    /// # Errors
    /// The error of [`Event::Failed`]; [`ApiError::QueueTime`].
    pub(crate) async fn next(&mut self) -> Result<Event, ApiError> {
        match self.first.take() {
            Some(event) => Ok(event),
            None => self.receive().await,
        }
    }

    /// Loses no event when it is dropped half-way.
    async fn receive(&mut self) -> Result<Event, ApiError> {
        let event = loop {
            if self.cancel.is_cancelled() {
                // Abandoned: what is there already is still given. The step that runs is not waited
                // for: a layer may take seconds.
                break self
                    .events
                    .try_recv()
                    .ok()
                    .or_else(|| Some(Event::Finished(cut_off())));
            }
            let patience = self.patience();
            tokio::select! {
                event = self.events.recv() => break event,
                () = tokio::time::sleep(patience), if self.is_queued() => self.check_patience()?,
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

    /// Limit of the queue for this request; none before any speed has been measured.
    fn queue_time(&self) -> Option<Duration> {
        let predicted = || {
            // A place becomes free when those ahead have been answered.
            let answer = self.state.options.defaults.max_tokens;
            let ahead = self
                .engine
                .predict(self.backlog, answer)?
                .saturating_mul(QUEUE_FACTOR);
            Some(ahead.min(LONGEST_QUEUE_TIME).max(Limits::QUEUE_TIME))
        };
        self.state.options.limits.queue_time.or_else(predicted)
    }

    /// How much longer it may wait for its turn.
    fn patience(&self) -> Duration {
        match self.queue_time() {
            Some(limit) => limit.saturating_sub(self.submitted.elapsed()),
            None => UNMEASURED,
        }
    }

    fn check_patience(&self) -> Result<(), ApiError> {
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
        let meters = &self.state.meters;
        match event {
            Event::Started {
                prompt_tokens,
                reused_tokens,
            } if !self.follows => {
                meters
                    .queue_time
                    .observe(self.submitted.elapsed().as_secs_f64());
                meters.prompt_tokens.inc_by(*prompt_tokens as u64);
                meters.cached_tokens.inc_by(*reused_tokens as u64);
            }
            Event::Text { id: Some(_), .. } => {
                let now = Instant::now();
                match self.last_token.replace(now) {
                    None => meters
                        .first_token
                        .observe((now - self.submitted).as_secs_f64()),
                    Some(before) => meters.between_tokens.observe((now - before).as_secs_f64()),
                }
                meters.generated_tokens.inc();
            }
            Event::Finished(outcome) => self.end = End::Finished(outcome.cause.clone()),
            _ => {}
        }
    }
}

/// The end of an answer whose client has gone.
fn cut_off() -> Outcome {
    Outcome {
        cause: StopCause::Cancelled,
        ids: Vec::new(),
        text: String::new(),
        usage: Usage::default(),
        timings: Timings::default(),
    }
}

/// Waits until one of a request's generations has left the queue: until then its answer has no
/// status yet.
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

/// Queues a request and returns its events and its seed.
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
        let meters = &self.state.meters;
        match &self.end {
            End::Open => {
                self.cancel.cancel();
                meters.gone();
            }
            End::Finished(cause) => meters.answer(cause),
            End::Failed => {}
        }
    }
}
