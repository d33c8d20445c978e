//! Logits and history to one token id. Slices in, an id out: no tensors, no text.
//!
//! Order, as in transformers and upstream's `moss_inference.py`: steps of one's own, logit bias,
//! repetition penalty, presence and frequency penalty, temperature, top-k, top-p, min-p, stop-token
//! length penalty, draw. Up to top-k, a model may do it on its own device: [`TopKRequest`].

mod candidate;
mod error;
mod logits;
mod logprobs;
mod params;
mod rng;
mod sampler;
mod steps;
mod top_k;

pub use error::{ParameterRange, SamplingError};
pub use logprobs::Logprobs;
pub use params::{SamplingParams, StopLengthPenalty};
pub use sampler::{LogitsStep, Sampler};
pub use top_k::{TopKCandidates, TopKRequest};
