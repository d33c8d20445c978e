//! The residual sum of a MossBlock.

use candle_core::{DType, Tensor};

use super::{
    check::{exactly, shape_error},
    floats::{fill, with_f32},
};
use crate::KernelError;

const OP: &str = "residual";

/// Values of one task.
const CHUNK: usize = 4096;

/// Returns `(x + attention) + mlp`, value by value, in f32.
///
/// # Shapes
/// - `x`, `attention`, `mlp` and the result: the same shape; `x` and the result are f32
///
/// # Errors
/// [`KernelError::Shape`] if the shapes differ; [`KernelError::Dtype`] for tensors of integers.
pub fn add_residual(x: &Tensor, attention: &Tensor, mlp: &Tensor) -> Result<Tensor, KernelError> {
    for (arg, other) in [("attention", attention), ("mlp", mlp)] {
        if other.dims() != x.dims() {
            return Err(shape_error(OP, arg, other, exactly(x)));
        }
    }
    with_f32(OP, "x", x, |x_values| {
        with_f32(OP, "attention", attention, |attention| {
            with_f32(OP, "mlp", mlp, |mlp| {
                fill(
                    x_values.len(),
                    CHUNK,
                    x.shape(),
                    DType::F32,
                    |index, sums| {
                        let range = index * CHUNK..index * CHUNK + sums.len();
                        let (x, attention, mlp) = (
                            &x_values[range.clone()],
                            &attention[range.clone()],
                            &mlp[range],
                        );
                        for (((sum, x), attention), mlp) in
                            sums.iter_mut().zip(x).zip(attention).zip(mlp)
                        {
                            *sum = (x + attention) + mlp;
                        }
                    },
                )
            })
        })
    })???
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_residual_sum_equals_two_additions_in_order() {
        let values = |seed: u32| -> Vec<f32> {
            (0..3 * 4099u32)
                .map(|i| {
                    (i.wrapping_mul(2_654_435_761).wrapping_add(seed) % 10_007) as f32 / 7.0 - 700.0
                })
                .collect()
        };
        let tensor = |values| Tensor::from_vec(values, (3, 4099), &Device::Cpu).unwrap();
        let (x, a, m) = (tensor(values(1)), tensor(values(2)), tensor(values(3)));
        let expected = ((&x + &a).unwrap() + &m).unwrap();
        let found = add_residual(&x, &a, &m).unwrap();
        let bits = |t: &Tensor| -> Vec<u32> {
            t.flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
                .into_iter()
                .map(f32::to_bits)
                .collect()
        };
        assert_eq!(bits(&found), bits(&expected));
    }

    #[test]
    fn tensors_of_another_shape_are_rejected() {
        let zeros = |rows| Tensor::zeros((rows, 4), DType::F32, &Device::Cpu).unwrap();
        let error = add_residual(&zeros(2), &zeros(2), &zeros(1)).unwrap_err();
        assert!(
            matches!(error, KernelError::Shape { arg: "mlp", .. }),
            "{error}"
        );
    }
}
