//! Tests of the whole stack, through the public library.
//!
//! One binary, so that the tests are linked once.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "candle")]
mod candle_backend;
mod demo_goldens;
mod pipeline_split;
mod prompt_cache;
#[cfg(feature = "quantize")]
mod quantize_demo;
mod sampling_second_opinion;
mod speculation;
