//! Requests to events: a worker that owns a model and serves a queue of requests, several sequences
//! at a time.
//!
//! An [`Engine`] is fed [`Request`]s and answers each with a [`Run`], an iterator of [`Event`]s. A
//! [`Chat`] keeps a conversation on top of it. No tensors, no terminal, no network, no async
//! runtime.

mod cache;
mod chat;
mod command;
mod error;
mod event;
mod handle;
mod health;
mod metrics;
mod options;
mod panics;
mod request;
mod run;
mod scheduler;
mod sequence;
mod session;
mod speed;
mod watchdog;
mod worker;

pub use chat::{Batch, Chat, ChatOptions, ChatRun};
pub use error::EngineError;
pub use event::{Event, TokenLogprobs};
pub use handle::Engine;
pub use health::FaultListener;
pub use metrics::Metrics;
pub use options::EngineOptions;
pub use request::{PromptLimit, Request, StopRules, Vocabulary};
pub use run::{CancelHandle, EventSink, Run};
pub use session::Session;

pub use moss_text::{Outcome, StopCause, Timings, Usage};
