//! The server, over HTTP.
//!
//! One binary, so that the tests are linked once.
#![allow(clippy::unwrap_used)]

mod answers;
mod bodies;
mod clients;
mod description;
mod drain;
mod failures;
mod gone;
mod http;
mod keys;
mod limits;
mod order;
#[allow(clippy::print_stderr)] // the results of the measurement
mod overhead;
mod plugin_calls;
mod plugins;
mod refusals;
#[allow(clippy::print_stderr)] // the results of the measurement
mod soak;
mod streams;
mod support;
mod tokens;
mod usage;
