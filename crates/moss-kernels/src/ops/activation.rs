//! The activation of the MLP.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::with_f32;
use crate::{
    KernelError,
    cpu::{cpu_features, elementwise},
};

/// Values of one task.
const CHUNK: usize = 16_384;

/// `gelu_new`, value by value: `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`. Source: arXiv 1606.08415, the tanh form.
///
/// # Shapes
/// - `x`: any, f32; the result has the same shape, rounded to `out`
///
/// # Errors
/// [`KernelError::Dtype`] for an `x` that holds no floats.
pub fn gelu_tanh(x: &Tensor, out: DType) -> Result<Tensor, KernelError> {
    let mut values = with_f32("gelu", "x", x, <[f32]>::to_vec)?;
    let isa = cpu_features();
    values.par_chunks_mut(CHUNK).for_each(|chunk| elementwise::gelu(isa, chunk));
    Ok(Tensor::from_vec(values, x.dims(), x.device())?.to_dtype(out)?)
}
