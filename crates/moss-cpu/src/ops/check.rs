//! Argument checks that several operations share.

use candle_core::{Device, Tensor};

use moss_weights::{ExpectedShape, Extent};

use crate::KernelError;

/// # Errors
/// [`KernelError::NotCompiled`] for another device than the CPU.
pub(crate) fn expect_cpu(op: &'static str, device: &Device) -> Result<(), KernelError> {
    if device.is_cpu() {
        Ok(())
    } else {
        Err(KernelError::NotCompiled { op })
    }
}

/// Returns the error for a tensor `x` of another shape than expected.
pub(crate) fn shape_error(
    op: &'static str,
    arg: &'static str,
    x: &Tensor,
    expected: impl Into<Vec<Extent>>,
) -> KernelError {
    KernelError::Shape {
        op,
        arg,
        found: x.dims().to_vec(),
        expected: ExpectedShape(expected.into()),
    }
}

/// Returns the shape of `x` as an expected shape.
pub(crate) fn exactly(x: &Tensor) -> Vec<Extent> {
    x.dims().iter().copied().map(Extent::Exactly).collect()
}
