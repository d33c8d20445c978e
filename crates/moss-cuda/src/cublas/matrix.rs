//! Matrices in device memory, and products of them.

use std::ffi::c_int;

use half::f16;
use moss_weights::{KernelError, Rule};

use crate::{buffer::View, contract::rule, device_id::DeviceId};

/// The values of a matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values<'a> {
    F32(View<'a, f32>),
    F16(View<'a, f16>),
}

impl Values<'_> {
    fn device(&self) -> DeviceId {
        match self {
            Self::F32(view) => view.device(),
            Self::F16(view) => view.device(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::F32(view) => view.len(),
            Self::F16(view) => view.len(),
        }
    }

    /// Returns the address of value `at`.
    fn address(&self, at: usize) -> u64 {
        match self {
            Self::F32(view) => view.address() + (at * size_of::<f32>()) as u64,
            Self::F16(view) => view.address() + (at * size_of::<f16>()) as u64,
        }
    }

    /// Returns the `cudaDataType_t`.
    pub(super) fn data_type(&self) -> c_int {
        const CUDA_R_32F: c_int = 0;
        const CUDA_R_16F: c_int = 2;
        match self {
            Self::F32(_) => CUDA_R_32F,
            Self::F16(_) => CUDA_R_16F,
        }
    }
}

/// A row-major matrix in device memory: `stride` values from one row to the next, the first at
/// value `start`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: Values<'a>,
    pub(crate) start: usize,
    pub(crate) stride: usize,
}

/// An operand of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) matrix: Matrix<'a>,
    /// Is true if the product takes the transpose.
    pub(crate) transposed: bool,
}

impl Matrix<'_> {
    /// Checks that the matrix belongs to `device`, and that its values include `rows` rows of
    /// `columns`. Returns the address of the first.
    pub(super) fn address(
        &self,
        op: &'static str,
        arg: &'static str,
        device: DeviceId,
        (rows, columns): (usize, usize),
    ) -> Result<u64, KernelError> {
        device.check(op, arg, self.values.device())?;
        rule(
            op,
            "stride",
            self.stride,
            self.stride >= columns,
            Rule::AtLeast(columns),
        )?;
        let found = self.values.len();
        let needed = if rows == 0 || columns == 0 {
            0 // no element is accessed
        } else {
            self.start + (rows - 1) * self.stride + columns
        };
        rule(op, arg, found, found >= needed, Rule::AtLeast(needed))?;
        Ok(self.values.address(self.start))
    }
}

/// `y = alpha op(a) op(b) + beta y`, where op(a) is `[m, k]`, op(b) is `[k, n]` and y is `[m, n]`.
/// Sums are f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gemm<'a> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) alpha: f32,
    pub(crate) a: Operand<'a>,
    pub(crate) b: Operand<'a>,
    pub(crate) beta: f32,
    pub(crate) y: Matrix<'a>,
}
