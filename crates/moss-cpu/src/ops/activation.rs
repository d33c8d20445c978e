//! Activation function of the MLP.

use candle_core::{DType, Tensor};

use super::floats::map_chunks;
use crate::{
    KernelError,
    kernels::{cpu_features, elementwise},
};

/// Values of one task: they stay in the first-level cache.
const CHUNK: usize = 4096;

/// Computes `gelu_new` of each value: `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`. Source:
/// arXiv 1606.08415, the tanh form.
///
/// # Shapes
/// - `x`: any, f32; the result has the same shape, rounded to `out`
///
/// # Errors
/// [`KernelError::Dtype`] for an `x` of integers.
pub fn gelu_tanh(x: &Tensor, out: DType) -> Result<Tensor, KernelError> {
    let isa = cpu_features();
    map_chunks("gelu", x, CHUNK, out, |_, values| {
        elementwise::gelu(isa, values)
    })
}
