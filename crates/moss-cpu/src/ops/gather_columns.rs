//! Columns that lie in runs, brought together.

use candle_core::{DType, Tensor};

use super::{
    floats::{fill, with_floats},
    shape_error,
};
use crate::KernelError;

const OP: &str = "gather_columns";

/// Of each row, the values from `first` on in runs of `run`, which begin `stride` apart.
///
/// # Shapes
/// - `x`: `[rows, n * stride]`; the result is `[rows, n * run]`, rounded to `out`
///
/// # Errors
/// [`KernelError::Shape`] for rows that are no whole strides, or runs that leave theirs.
pub fn gather_columns(
    x: &Tensor,
    first: usize,
    run: usize,
    stride: usize,
    out: DType,
) -> Result<Tensor, KernelError> {
    let &[rows, columns] = x.dims() else {
        return Err(shape_error(OP, "x", x, "[rows, n * stride]"));
    };
    if run == 0 || first + run > stride || !columns.is_multiple_of(stride) {
        return Err(shape_error(
            OP,
            "x",
            x,
            format!("[rows, n * {stride}], of which {first}..{}", first + run),
        ));
    }
    let wide = columns / stride * run;
    with_floats(OP, "x", x, |floats| {
        fill(rows * wide, wide, (rows, wide), out, |row, values| {
            for (index, values) in values.chunks_exact_mut(run).enumerate() {
                floats.widen(row * columns + index * stride + first, values);
            }
        })
    })?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn runs_of_every_row_are_brought_together() {
        let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
        let x = Tensor::from_vec(values, (2, 12), &Device::Cpu).unwrap();
        let found = gather_columns(&x, 2, 3, 6, DType::F16)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap();
        let expected = [[2f32, 3., 4., 8., 9., 10.], [14., 15., 16., 20., 21., 22.]];
        assert_eq!(found.to_vec2::<f32>().unwrap(), expected);
    }

    #[test]
    fn runs_that_leave_their_stride_are_refused() {
        let x = Tensor::zeros((2, 12), DType::F32, &Device::Cpu).unwrap();
        for (first, run, stride) in [(4, 3, 6), (0, 0, 6), (0, 3, 5)] {
            assert!(gather_columns(&x, first, run, stride, DType::F32).is_err());
        }
    }
}
