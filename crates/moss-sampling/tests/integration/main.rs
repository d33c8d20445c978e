//! The sampler against references, and its properties.
//!
//! One binary, so that the tests are linked once.
#![allow(clippy::unwrap_used)]

mod cases;
mod properties;
mod request;
mod sampler;
