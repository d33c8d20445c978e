//! Messages from an engine's handle to its worker thread.

use std::time::Instant;

use moss_sampling::Sampler;

use crate::{
    EngineError, Event, Outcome, Request, StopCause, Timings, Usage,
    health::EventSender,
    prefix_blocks::BlockCommand,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Messages to the worker.
pub(crate) enum Command {
    /// A request.
    Submit(Box<Job>),
    /// [`Engine::pin_prefix`](crate::Engine::pin_prefix).
    Pin(Vec<u32>),
    /// [`PrefixBlocks`](crate::PrefixBlocks).
    Block(BlockCommand),
    /// The engine was dropped.
    Stop,
}

/// A waiting request, and the receiver of its events.
pub(crate) struct Job {
    /// The number of requests before this one.
    pub(crate) id: u64,
    pub(crate) request: Request,
    pub(crate) sampler: Sampler,
    pub(crate) events: Arc<EventSender>,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) submitted: Instant,
}

impl Job {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// Sends the last event of a request that was not admitted.
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
        self.events.send(event); // without a receiver, the event is dropped
    }
}
