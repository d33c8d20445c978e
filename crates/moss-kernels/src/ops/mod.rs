//! Operations other than matrix products, each on one file: checks, launch, and the arithmetic where it is plain.

mod activation;
mod attention;
mod embedding;
mod finite;
mod kv_cache;
mod norm;
mod rotary;

pub use activation::gelu_tanh;
pub use attention::{SequenceRows, attention};
pub use embedding::Embedding;
pub use finite::{BadValue, first_non_finite};
pub use kv_cache::{KvLayer, kv_write};
pub use norm::layer_norm;
#[cfg(feature = "cuda")]
pub(crate) use rotary::rope_angles;
pub use rotary::{RopePrecision, RopeTable, rotary};

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

use crate::KernelError;

pub(crate) fn expect_cpu(op: &'static str, device: &Device) -> Result<(), KernelError> {
    if device.is_cpu() { Ok(()) } else { Err(KernelError::NotCompiled { op }) }
}

/// Shows `f` the values of a tensor in row-major order, widened to f32 where they are narrower.
pub(crate) fn with_f32<R>(
    op: &'static str,
    arg: &'static str,
    x: &Tensor,
    f: impl FnOnce(&[f32]) -> R,
) -> Result<R, KernelError> {
    expect_cpu(op, x.device())?;
    if !matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16) {
        return Err(KernelError::Dtype { op, arg, found: x.dtype() });
    }
    let x = x.to_dtype(DType::F32)?.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
        return Err(KernelError::NotCompiled { op });
    };
    let (start, end) = layout
        .contiguous_offsets()
        .unwrap_or((layout.start_offset(), layout.start_offset() + x.elem_count()));
    Ok(f(&values[start..end]))
}

pub(crate) fn shape_error(
    op: &'static str,
    arg: &'static str,
    x: &Tensor,
    expected: impl Into<String>,
) -> KernelError {
    KernelError::Shape { op, arg, found: x.dims().to_vec(), expected: expected.into() }
}
