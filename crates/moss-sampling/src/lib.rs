//! Logits and history to one token id. Inputs are slices; this crate has no tensors and no text.
//!
//! The order is that of transformers and upstream's `moss_inference.py`: custom logits processors,
//! logit bias, repetition penalty, presence and frequency penalty, temperature, top-k, top-p,
//! min-p, stop-token length penalty, sampling. A model may sample on its device:
//! [`SampleRequest`].

mod candidate;
mod error;
mod exp;
mod logits;
mod logprobs;
mod params;
mod processors;
mod request;
mod rng;
mod sampler;

pub use error::{ParameterRange, SamplingError};
pub use logprobs::Logprobs;
pub use params::{SamplingParams, StopLengthPenalty};
pub use request::SampleRequest;
pub use sampler::{LogitsProcessor, Sampler};
