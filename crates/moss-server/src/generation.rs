//! A request at work in the engine, for async code. Dropping it cancels it, wherever it is.

use std::time::{Duration, Instant};

use moss_engine::{CancelHandle, EngineError, Event, Request};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{ServedModel, error::ApiError, state::Shared};

pub(crate) struct Generation {
    state: Shared,
    /// Never more than a few a token: a request is bounded by the window, and so are its events.
    events: UnboundedReceiver<Event>,
    cancel: CancelHandle,
    submitted: Instant,
    has_started: bool,
    last_token: Option<Instant>,
    over: bool,
}

impl Generation {
    /// # Errors
    /// Those of [`moss_engine::Engine::submit`].
    pub(crate) fn start(state: &Shared, model: &ServedModel, request: Request) -> Result<Self, ApiError> {
        let (sender, events) = unbounded_channel();
        let cancel = CancelHandle::default();
        let sink = Box::new(move |event| sender.send(event).is_ok());
        model.engine.submit_to(request, cancel.clone(), sink)?;
        let (submitted, state) = (Instant::now(), state.clone());
        Ok(Self { state, events, cancel, submitted, has_started: false, last_token: None, over: false })
    }

    /// The next event; the last one is [`Event::Finished`].
    ///
    /// # Errors
    /// The error of [`Event::Failed`]; [`ApiError::QueueTime`].
    pub(crate) async fn next(&mut self) -> Result<Event, ApiError> {
        let event = loop {
            let patience = self.patience();
            tokio::select! {
                event = self.events.recv() => break event,
                () = tokio::time::sleep(patience), if !self.has_started => {
                    let seconds = self.state.options.limits.queue_time.as_secs();
                    return Err(ApiError::QueueTime { seconds });
                }
                () = self.state.abandon.cancelled(), if !self.cancel.is_cancelled() => self.cancel.cancel(),
            }
        };
        let event = event.unwrap_or(Event::Failed(EngineError::ShutDown));
        self.has_started = true;
        self.measure(&event);
        match event {
            Event::Failed(error) => {
                self.over = true;
                Err(error.into())
            }
            event => Ok(event),
        }
    }

    /// How much longer it may wait for its turn.
    fn patience(&self) -> Duration {
        self.state.options.limits.queue_time.saturating_sub(self.submitted.elapsed())
    }

    fn measure(&mut self, event: &Event) {
        let meters = &self.state.meters;
        match event {
            Event::Started { prompt_tokens, reused_tokens } => {
                meters.queue_time.observe(self.submitted.elapsed().as_secs_f64());
                meters.prompt_tokens.inc_by(*prompt_tokens as u64);
                meters.cached_tokens.inc_by(*reused_tokens as u64);
            }
            Event::Text { id: Some(_), .. } => {
                let now = Instant::now();
                match self.last_token.replace(now) {
                    None => meters.first_token.observe((now - self.submitted).as_secs_f64()),
                    Some(before) => meters.between_tokens.observe((now - before).as_secs_f64()),
                }
                meters.generated_tokens.inc();
            }
            Event::Finished(outcome) => {
                self.over = true;
                meters.answer(&outcome.cause);
            }
            _ => {}
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if !self.over {
            self.cancel.cancel();
            self.state.meters.gone();
        }
    }
}
