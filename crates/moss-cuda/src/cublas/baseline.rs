//! Dense products by cuBLAS, as a baseline of measurements. No model uses them.

use half::f16;
use moss_weights::KernelError;

use super::{Gemm, Matrix, Operand, Values};
use crate::{buffer::Buffer, device::Gpu, operands::LinearInput, weights::GpuLinear};

impl Gpu {
    /// Computes `y = x W^T` for `n` tokens with a dense weight: f16 products, summed in f32, stored
    /// in f16 `[n, out_features]`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a packed weight, or if a buffer is too short;
    /// [`KernelError::WrongDevice`]; [`KernelError::WrongStream`]; [`KernelError::LibraryMissing`];
    /// [`KernelError::Driver`].
    pub fn cublas_product(
        &self,
        linear: &GpuLinear,
        x: LinearInput<'_>,
        n: usize,
        y: &Buffer<f16>,
    ) -> Result<(), KernelError> {
        let (weight, weight_stride) = linear.dense_rows()?;
        let matrix = |values, stride| Matrix {
            values: Values::F16(values),
            start: 0,
            stride,
        };
        let gemm = Gemm {
            m: n,
            n: linear.out_features(),
            k: linear.input_stride(),
            alpha: 1.0,
            a: Operand {
                matrix: matrix(x.values.all(), x.stride),
                transposed: false,
            },
            b: Operand {
                matrix: matrix(weight, weight_stride),
                transposed: true,
            },
            beta: 0.0,
            y: matrix(y.all(), linear.out_features()),
        };
        self.cublas.gemm("cuBLAS baseline", &gemm)
    }
}
