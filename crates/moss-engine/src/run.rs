//! The events of a submitted request, and its cancellation.

use crate::{
    EngineError, Event, Outcome,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        channel::Receiver,
    },
};

/// Cancels a run from any thread.
#[derive(Debug, Clone, Default)]
pub struct CancelHandle(pub(crate) Arc<AtomicBool>);

impl CancelHandle {
    /// Cancels the run. It ends within one layer, with [`crate::StopCause::Cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Relaxed);
    }

    /// Returns `true` if [`CancelHandle::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Receives a request's events. The worker thread calls it, so it must not block. If it returns
/// `false`, the receiver is gone, and the request is cancelled.
pub type EventSink = Box<dyn Fn(Event) -> bool + Send>;

/// The events of a request. Dropping it cancels the request.
#[derive(Debug)]
pub struct Run {
    events: Receiver<Event>,
    cancel: CancelHandle,
    seed: u64,
    has_ended: bool,
}

impl Run {
    pub(crate) fn new(events: Receiver<Event>, cancel: CancelHandle, seed: u64) -> Self {
        Self {
            events,
            cancel,
            seed,
            has_ended: false,
        }
    }

    /// Cancels the run. The last event follows.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Returns a handle that cancels this run from another thread or from a signal handler.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Returns the seed that reproduces this run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Waits for the last event.
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
        if self.has_ended {
            return None;
        }
        let event = self
            .events
            .recv()
            .unwrap_or(Event::Failed(EngineError::ShutDown));
        self.has_ended = matches!(event, Event::Finished(_) | Event::Failed(_));
        Some(event)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // After the end, the handle may belong to the next run of the same reply.
        if !self.has_ended {
            self.cancel.cancel();
        }
    }
}
