//! Logits and history to one token id. Inputs are slices; this crate has no tensors and no text.
//!
//! The order is that of transformers and upstream's `moss_inference.py`: custom logits processors,
//! logit bias, repetition penalty, presence and frequency penalty, temperature, top-k, top-p,
//! min-p, stop-token length penalty, sampling. A model may compute the part up to top-k on its
//! device: [`TopKRequest`].

mod candidate;
mod error;
mod exp;
mod logits;
mod logprobs;
mod params;
mod processors;
mod rng;
mod sampler;
mod top_k;

pub use error::{ParameterRange, SamplingError};
pub use logprobs::Logprobs;
pub use params::{SamplingParams, StopLengthPenalty};
pub use sampler::{LogitsProcessor, Sampler};
pub use top_k::{TopKCandidates, TopKRequest};
