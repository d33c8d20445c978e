//! HTTP to requests and events to HTTP: an OpenAI-compatible API, MOSS's published API, and a web
//! page, over a [`moss_engine::Engine`].
//!
//! A [`Server`] is made of [`ServerOptions`], listens at once, and answers work once
//! [`Server::open`] has given it a model. One file a route (`routes/`), what travels apart
//! (`wire/`), who may come in (`guard/`), and one table from errors to statuses (`error.rs`). No
//! flags, no environment, no model files here.

mod body;
mod connections;
mod conversations;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod generation;
mod guard;
mod ignored;
mod limits;
mod meters;
mod model;
mod options;
mod plan;
mod routes;
mod server;
mod socket;
mod sse;
mod state;
mod wire;

pub use error::ServerError;
pub use limits::Limits;
pub use model::ServedModel;
pub use options::{Defaults, ServerOptions};
pub use server::Server;
