//! Logits and history to one token id. Slices in, an id out: no tensors, no text.
//!
//! Order, as in transformers: custom steps, repetition penalty, temperature, top-k, top-p, min-p, stop penalty, draw.

mod error;
mod params;
mod rng;
mod sampler;
mod steps;

pub use error::SamplingError;
pub use params::{SamplingParams, StopLengthPenalty};
pub use sampler::{LogitsStep, Sampler};
