//! Selection of columns at regular intervals.

use candle_core::{DType, Tensor};
use moss_weights::Extent;

use super::{
    check::shape_error,
    floats::{fill, with_floats},
};
use crate::{KernelError, Rule};

const OP: &str = "gather_columns";

/// Returns `run` columns, from `first` on, of every `stride` columns of each row.
///
/// # Shapes
/// - `x`: `[rows, n * stride]`; the result is `[rows, n * run]`, rounded to `out`
///
/// # Errors
/// [`KernelError::Shape`] if the number of columns is not a multiple of `stride`;
/// [`KernelError::Argument`] for an empty run, and if `first + run` exceeds `stride`.
pub fn gather_columns(
    x: &Tensor,
    first: usize,
    run: usize,
    stride: usize,
    out: DType,
) -> Result<Tensor, KernelError> {
    let &[rows, columns] = x.dims() else {
        return Err(shape_error(
            OP,
            "x",
            x,
            ["rows".into(), Extent::MultipleOf(stride)],
        ));
    };
    if !columns.is_multiple_of(stride) {
        return Err(shape_error(
            OP,
            "x",
            x,
            ["rows".into(), Extent::MultipleOf(stride)],
        ));
    }
    if run == 0 || first + run > stride {
        return Err(KernelError::Argument {
            op: OP,
            arg: "run",
            found: run,
            rule: Rule::Between(1, stride.saturating_sub(first)),
        });
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
    fn columns_of_every_row_are_gathered() {
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
    fn runs_that_exceed_their_stride_are_rejected() {
        let x = Tensor::zeros((2, 12), DType::F32, &Device::Cpu).unwrap();
        for (first, run, stride) in [(4, 3, 6), (0, 0, 6), (0, 3, 5)] {
            assert!(gather_columns(&x, first, run, stride, DType::F32).is_err());
        }
    }
}
