//! Helpers that the tests of several crates share: fixtures and edited copies of them, small
//! checkpoints, a scripted language model, a model hub, and an HTTP client that shows raw bytes.
//!
//! A helper panics if it fails, because a test cannot continue without it. The parts that need
//! other crates of the workspace are features, so that a test compiles only what it uses. Tests of
//! moss-cli and moss-server have further helpers in `tests/integration/support`, which need the
//! crate itself.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "checkpoint")]
pub mod checkpoint;
mod fixtures;
#[cfg(feature = "checkpoint")]
mod goldens;
pub mod http;
#[cfg(feature = "hub")]
pub mod hub;
mod memory;
#[cfg(feature = "model")]
pub mod model;
mod wait;

#[cfg(feature = "checkpoint")]
pub use goldens::{Goldens, f32_tensors};

pub use fixtures::{
    copy_files, copy_fixture, copy_of, demo, edit_json, file_names, fixture, ids,
    pseudo_random_bytes, read_json, repository, utf16,
};
pub use memory::memory_bytes;
pub use wait::wait_until;
