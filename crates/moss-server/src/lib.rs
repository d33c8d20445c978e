//! An HTTP server for a [`moss_engine::Engine`]: an OpenAI-compatible API, MOSS's published API,
//! and a web page.
//!
//! A [`Server`] is created from [`ServerOptions`] and can listen immediately. It answers requests
//! once [`Server::open`] has given it a model. Each route has a file in `routes/`. JSON types are
//! in `wire/`, checks before the routes in `middleware/`, and the table from errors to statuses in
//! `error.rs`. This crate reads no flags, environment variables or model files.

mod body;
mod build_info;
mod calls;
mod connections;
mod conversations;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod generation;
mod ignored;
mod keys;
mod limits;
mod metrics;
mod middleware;
mod model;
mod options;
mod plan;
mod reason;
mod routes;
mod server;
mod socket;
mod sse;
mod state;
mod wire;

pub use build_info::BuildInfo;
pub use error::ServerError;
pub use keys::{ApiKeys, KeyFault, KeyFileError};
pub use limits::Limits;
pub use model::ServedModel;
pub use options::{Defaults, ServerOptions};
pub use server::Server;
