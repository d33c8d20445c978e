//! Messages from an engine's handle to its worker thread.

use std::time::Instant;

use moss_sampling::Sampler;

use crate::{
    EngineError, Event, Outcome, Request, StopCause, Timings, Usage,
    health::EventSender,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        channel::Sender,
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

/// A request to the worker about a block: the one that ends with the last of `ids`, whose number is
/// a multiple of the block size.
pub(crate) enum BlockCommand {
    /// Returns the bytes of a block that was computed as prompt; `None` if it is not cached.
    Read {
        ids: Vec<u32>,
        reply: Sender<Result<Option<Vec<u8>>, EngineError>>,
    },
    /// Adds a block; returns false if it cannot be added.
    Write {
        ids: Vec<u32>,
        bytes: Vec<u8>,
        reply: Sender<Result<bool, EngineError>>,
    },
    /// Waits for a block that is computed as prompt.
    Wait(BlockWait),
}

/// Calls a function when a block has been computed as prompt.
pub(crate) struct BlockWait {
    pub(crate) ids: Vec<u32>,
    pub(crate) then: Box<dyn FnOnce() + Send>,
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
