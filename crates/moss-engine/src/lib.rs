//! Requests to events: a worker thread that owns a model and serves a queue of requests with
//! continuous batching and chunked prefill.
//!
//! [`Engine::submit`] takes a [`Request`] and returns a [`Run`], an iterator of [`Event`]s. A
//! [`Chat`] keeps a conversation. This crate has no tensors, terminal, network or async runtime.

mod cache;
mod chat;
mod command;
mod draft;
mod drafter;
mod error;
mod event;
mod handle;
mod health;
mod histogram;
mod kinds;
mod metrics;
mod options;
mod panics;
mod prefix_blocks;
mod prefix_cache;
mod queue;
mod request;
mod run;
mod scheduler;
mod sequence;
mod speculation;
mod speed;
mod step_cost;
mod sync;
mod waiting;
mod watchdog;
mod worker;

pub use chat::{Batch, Chat, ChatOptions, ChatRun};
pub use error::EngineError;
pub use event::{Event, TokenLogprobs};
pub use handle::Engine;
pub use health::FaultListener;
pub use histogram::Histogram;
pub use metrics::Metrics;
pub use options::{EngineOptions, Speculation};
pub use prefix_blocks::PrefixBlocks;
pub use request::{PromptLimit, Request, StopRules, Vocabulary};
pub use run::{CancelHandle, EventSink, Run};

pub use moss_text::{Outcome, StopCause, Timings, Usage};
