//! CPU kernels, one operation at a time, over [`candle_core::Tensor`] activations and weights used
//! in place ([`bytes::Bytes`] views of a mapped file, or owned memory).
//!
//! **A token's result depends on that token alone**: the same bits for one row or many, on one
//! thread or several. The GEMV and GEMM paths of an op share one order of sums, and no path is
//! chosen that would change it.
//!
//! Kernels are written once over a small vector type and compiled for AVX-512, AVX2 and any machine;
//! the best one is chosen at run time. Work is split over the current rayon pool: callers `install`
//! the pool they want.

mod bandwidth;
mod kernels;
mod linear;
pub mod ops;

pub use bandwidth::read_bandwidth;
pub use kernels::{Isa, cpu_features};
pub use linear::{Activations, Linear};
pub use moss_weights::{
    DenseDtype, DenseWeight, GptqBits, GptqWeight, GroupIndex, KernelError, LinearWeight,
};
