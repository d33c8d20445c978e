//! LayerNorm.

use candle_core::{DType, Tensor};

use super::{check::shape_error, floats::map_chunks};
use crate::KernelError;

/// Computes `(x - mean) / sqrt(variance + eps) * weight + bias` of each row. Source: arXiv
/// 1607.06450.
///
/// # Shapes
/// - `x`: `[rows, hidden]` f32; `weight`, `bias`: `[hidden]`; the result has the shape of `x`,
///   rounded to `out`
///
/// # Errors
/// [`KernelError::Shape`] if the lengths differ.
pub fn layer_norm(
    x: &Tensor,
    weight: &[f32],
    bias: &[f32],
    eps: f64,
    out: DType,
) -> Result<Tensor, KernelError> {
    let hidden = weight.len();
    if x.rank() != 2 || x.dims().last() != Some(&hidden) || bias.len() != hidden || hidden == 0 {
        return Err(shape_error(
            "layer_norm",
            "x",
            x,
            ["rows".into(), hidden.into()],
        ));
    }
    map_chunks("layer_norm", x, hidden, out, |_, row| {
        // f64 sums, because a few values of the residual stream are hundreds of times larger than
        // the others.
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / hidden as f64;
        let variance = row
            .iter()
            .map(|x| (f64::from(*x) - mean).powi(2))
            .sum::<f64>()
            / hidden as f64;
        let scale = 1.0 / (variance + eps).sqrt();
        for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
            *x = ((f64::from(*x) - mean) * scale) as f32 * weight + bias;
        }
    })
}
