//! Logits and history to one token id. Slices in, an id out: no tensors, no text.
//!
//! Order, as in transformers and upstream's `moss_inference.py`: steps of one's own, repetition penalty, temperature, top-k, top-p,
//! min-p, stop-token length penalty, draw.

mod candidate;
mod error;
mod logits;
mod params;
mod rng;
mod sampler;
mod steps;

pub use error::SamplingError;
pub use params::{SamplingParams, StopLengthPenalty};
pub use sampler::{LogitsStep, Sampler};
