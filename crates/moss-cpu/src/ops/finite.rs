//! A look at every value of a layer's output: cheap beside the layer, and it names the first thing
//! that went wrong.

use candle_core::Tensor;
use rayon::prelude::*;

use super::{shape_error, with_f32};
use crate::KernelError;

/// The first value that is inf or NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BadValue {
    /// Its row.
    pub row: usize,
    /// inf, -inf or NaN.
    pub value: f32,
}

/// The first inf or NaN of `x` `[rows, n]`, or `None`.
///
/// # Errors
/// [`KernelError::Shape`] for a tensor that is no matrix.
pub fn first_non_finite(x: &Tensor) -> Result<Option<BadValue>, KernelError> {
    let &[_, cols] = x.dims() else {
        return Err(shape_error("finite check", "x", x, "[rows, n]"));
    };
    with_f32("finite check", "x", x, |values| {
        let rows = values.par_chunks_exact(cols.max(1)).enumerate();
        rows.find_map_first(|(row, values)| {
            // A sum of products with zero is NaN exactly if a value is not finite, and the compiler
            // makes vectors of it.
            let probe = values
                .chunks(256)
                .map(|run| run.iter().map(|x| x * 0.0).fold(0.0, |a, b| a + b));
            if probe.fold(0.0f32, |a, b| a + b) == 0.0 {
                return None;
            }
            let value = values.iter().copied().find(|value| !value.is_finite())?;
            Some(BadValue { row, value })
        })
    })
}
