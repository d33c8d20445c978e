//! A build without CUDA.

use moss::kernels::KernelError;

use super::{Answer, Comparison, KernelCard, Measured, Timed};

/// No cards.
pub(crate) fn cards(_newest_code: Option<u32>) -> Answer<Vec<KernelCard>> {
    Ok(Vec::new())
}

/// # Errors
/// [`KernelError::NotCompiled`], always.
pub(crate) fn load_cublas() -> Answer<()> {
    Err(KernelError::NotCompiled { op: "cuBLAS" })
}

/// # Errors
/// [`KernelError::NotCompiled`], always.
pub(crate) fn compare(
    _ordinal: usize,
    _newest_code: Option<u32>,
    _only: &str,
    _each: &mut dyn FnMut(Comparison),
) -> Answer<()> {
    Err(KernelError::NotCompiled {
        op: "parity of kernels",
    })
}

/// # Errors
/// [`KernelError::NotCompiled`], always.
pub(crate) fn times(_ordinal: usize, _newest_code: Option<u32>, _timed: Timed) -> Answer<Measured> {
    Err(KernelError::NotCompiled {
        op: "times of kernels",
    })
}
