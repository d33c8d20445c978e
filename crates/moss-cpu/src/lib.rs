//! CPU kernels, one operation at a time, over [`candle_core::Tensor`] activations and weights used
//! in place ([`bytes::Bytes`] views of a mapped file, or owned memory).
//!
//! **Batch invariance**: the result of a row depends on that row alone. Its bits are the same for any
//! number of rows and threads, because the GEMV and GEMM kernels of an operation share one order of
//! sums.
//!
//! Kernels are written once over a small vector trait and compiled for AVX-512, AVX2 and any other
//! processor; the fastest is selected at run time. Work is divided among the threads of the current
//! rayon pool: callers `install` the pool that they want.

mod bandwidth;
mod kernels;
mod linear;
pub mod ops;

pub use bandwidth::read_bandwidth;
pub use kernels::{Isa, cpu_features};
pub use linear::{Activations, Linear};
pub use moss_weights::{
    DenseDtype, DenseWeight, GptqBits, GptqWeight, GroupIndex, KernelError, LinearWeight, Rule,
};
