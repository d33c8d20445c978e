//! Detection of infinity and NaN in the output of a layer. It costs little compared to the layer.

use candle_core::Tensor;
use rayon::prelude::*;

use super::{check::shape_error, floats::with_f32};
use crate::KernelError;

/// A value that is infinite or NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BadValue {
    /// Row of the value.
    pub row: usize,
    /// Infinity, negative infinity or NaN.
    pub value: f32,
}

/// Returns the first infinity or NaN of `x`, `[rows, n]`.
///
/// # Errors
/// [`KernelError::Shape`] if `x` is not a matrix.
pub fn first_non_finite(x: &Tensor) -> Result<Option<BadValue>, KernelError> {
    let &[_, cols] = x.dims() else {
        return Err(shape_error(
            "finite check",
            "x",
            x,
            ["rows".into(), "n".into()],
        ));
    };
    with_f32("finite check", "x", x, |values| {
        let rows = values.par_chunks_exact(cols.max(1)).enumerate();
        rows.find_map_first(|(row, values)| {
            // A sum of products with zero is NaN only if a value is not finite, and the compiler
            // vectorizes it.
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
