//! Native engine for MOSS-moon-003, Fudan's 16B bilingual chat model: the public library.
//!
//! Five lines to the first token:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use moss::{Builder, Event};
//! let mut chat = Builder::new("fnlp/moss-moon-003-sft-int4").chat()?;
//! for event in chat.ask("推荐五部科幻电影")? {
//!     if let Event::Text { piece, .. } = event { eprint!("{piece}") }
//! }
//! # Ok(()) }
//! ```
//!
//! The same with the demo model of the repository:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use moss::{Builder, Event, StopCause};
//! let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo/moss-demo-int4");
//! let mut chat = Builder::new(demo).chat()?;
//! let last = chat.ask("What is 3 + 4?")?.last();
//! let Some(Event::Finished(outcome)) = last else { return Err("no answer".into()) };
//! assert_eq!(outcome.text, " 3 + 4 = 7.");
//! assert_eq!(outcome.cause, StopCause::EndOfTurn);
//! # Ok(()) }
//! ```
//!
//! Features: `hub` downloads models and contains the demo model, `server` is the HTTP server,
//! `plugins` runs the calls of plugin models, `quantize` converts and quantizes checkpoints, `cuda` runs on NVIDIA GPUs, and `candle` is the
//! reference, a second implementation of the model. A program that only generates text needs none
//! of them, and compiles no HTTP.
//!
//! Every crate of the workspace is re-exported under a short name. The names that most programs
//! need are in this module.

pub use moss_checkpoint as checkpoint;
pub use moss_cpu as cpu;
pub use moss_cuda as cuda;
pub use moss_engine as engine;
pub use moss_files as files;
pub use moss_hub as hub;
pub use moss_messages as messages;
pub use moss_model as model;
#[cfg(feature = "plugins")]
pub use moss_plugins as plugins;
pub use moss_prompt_cache as prompt_cache;
#[cfg(feature = "quantize")]
pub use moss_quantize as quantize;
pub use moss_sampling as sampling;
#[cfg(feature = "server")]
pub use moss_server as server;
pub use moss_text as text;
pub use moss_unicode as unicode;
pub use moss_weights as weights;

pub use moss_checkpoint::Checkpoint;
pub use moss_engine::{
    Batch, Chat, ChatOptions, Engine, EngineError, EngineOptions, Event, Outcome, PromptLimit,
    Request, Run, StopCause, StopRules,
};
pub use moss_model::{LoadOptions, Moss};
pub use moss_sampling::{LogitsProcessor, SamplingParams};
pub use moss_text::{PromptBuilder, SystemText, Tokenizer};

mod builder;
#[cfg(feature = "hub")]
mod download;
mod error;
mod event;
mod found;
mod settings;
mod stored_prompt;

pub use builder::Builder;
pub use error::BuildError;
pub use event::BuildEvent;
pub use found::Found;
pub use settings::Backend;
pub use stored_prompt::StoredPrompt;
