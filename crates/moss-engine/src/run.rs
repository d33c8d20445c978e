//! A request as its owner holds it: its events, and the means to end it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crossbeam_channel::Receiver;

use crate::{EngineError, Event, Outcome};

/// Cancels a run from anywhere.
#[derive(Debug, Clone, Default)]
pub struct CancelHandle(pub(crate) Arc<AtomicBool>);

impl CancelHandle {
    /// Asks the run to end; it does within one layer, with [`crate::StopCause::Cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether somebody has asked already.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Where a request's events go; it is called from the engine's own thread and must not block. False
/// says that nobody listens any more, which cancels the request.
pub type EventSink = Box<dyn Fn(Event) -> bool + Send>;

/// A request's events. Dropping it cancels the request.
#[derive(Debug)]
pub struct Run {
    events: Receiver<Event>,
    cancel: CancelHandle,
    seed: u64,
    over: bool,
}

impl Run {
    pub(crate) fn new(events: Receiver<Event>, cancel: CancelHandle, seed: u64) -> Self {
        Self {
            events,
            cancel,
            seed,
            over: false,
        }
    }

    /// Asks the run to end; its last event is still to come.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

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
    pub fn wait(mut self) -> Result<Outcome, EngineError> {
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
        let event = self
            .events
            .recv()
            .unwrap_or(Event::Failed(EngineError::ShutDown));
        self.over = matches!(event, Event::Finished(_) | Event::Failed(_));
        Some(event)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.over {
            self.cancel.cancel(); // a run that is over may have handed its cancel handle on
        }
    }
}
