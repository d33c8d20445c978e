//! What an engine's handle sends to its worker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use moss_sampling::Sampler;

use crate::{EngineError, Event, Outcome, Request, StopCause, Timings, Usage, health::Outlet};

/// Messages to the worker.
pub(crate) enum Command {
    /// A request.
    Submit(Box<Job>),
    /// A conversation is over.
    EndSession(u64),
    /// So is the engine.
    Stop,
}

/// A request that waits, and where its events go.
pub(crate) struct Job {
    /// Requests before this one.
    pub(crate) id: u64,
    pub(crate) request: Request,
    pub(crate) sampler: Sampler,
    pub(crate) events: Arc<Outlet>,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) submitted: Instant,
}

impl Job {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// The last event of a request that never ran.
    pub(crate) fn end_before_start(self, error: Option<EngineError>) {
        let event = error.map_or_else(
            || {
                let usage = Usage {
                    prompt_tokens: self.request.prompt.len(),
                    ..Usage::default()
                };
                let queued = self.submitted.elapsed();
                let timings = Timings {
                    queued,
                    first_token: queued,
                    ..Timings::default()
                };
                Event::Finished(Outcome {
                    cause: StopCause::Cancelled,
                    ids: Vec::new(),
                    text: String::new(),
                    usage,
                    timings,
                })
            },
            Event::Failed,
        );
        self.events.send(event); // an owner who is gone needs no event
    }
}
