//! Tensor operations of the engine, one at a time, over [`candle_core::Tensor`] activations and
//! weights that stay where they lie ([`bytes::Bytes`] views of a mapped file, or owned memory).
//!
//! **A row's result depends on that row alone**: the same bits for one row or many, on one thread
//! or several. The one-row and many-row paths of an op share one order of sums, and no path is
//! chosen that would change it. (`cuda`, behind the feature of that name, keeps to it up to 64
//! rows.)
//!
//! CPU kernels are written once over a small vector type and compiled for AVX-512, AVX2 and any
//! machine; the best one is chosen at run time. Work is split over the current rayon pool: callers
//! `install` the pool they want.

mod bandwidth;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(any(feature = "cuda", test))]
mod difference;
#[cfg(any(feature = "cuda", test))]
mod fragment;
mod linear;
pub mod ops;

pub use bandwidth::read_bandwidth;
pub use cpu::{Isa, cpu_features};
pub use linear::{Activations, Linear};
#[cfg(any(feature = "cuda", test))]
use moss_weights::synthetic;
pub use moss_weights::{
    DenseDtype, DenseWeight, GptqBits, GptqWeight, GroupIndex, KernelError, LinearWeight,
};
