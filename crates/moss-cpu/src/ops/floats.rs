//! Access to the values of tensors as slices. All threads convert them to f32 and back: with hundreds
//! of rows, conversions on one thread would take as long as the matrix products.

use candle_core::{CpuStorage, DType, Device, Shape, Storage, Tensor};
use half::{bf16, f16, slice::HalfFloatSliceExt, vec::HalfBitsVecExt};
use rayon::prelude::*;

use super::check::expect_cpu;
use crate::{KernelError, kernels::Floats};

/// Values of one task.
const CHUNK: usize = 16_384;

/// Calls `f` with the values of a tensor, row-major.
pub(crate) fn with_floats<R>(
    op: &'static str,
    arg: &'static str,
    x: &Tensor,
    f: impl FnOnce(Floats<'_>) -> R,
) -> Result<R, KernelError> {
    expect_cpu(op, x.device())?;
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let (start, end) = layout.contiguous_offsets().unwrap_or((
        layout.start_offset(),
        layout.start_offset() + x.elem_count(),
    ));
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(f(Floats::F32(&values[start..end]))),
        Storage::Cpu(CpuStorage::F16(values)) => Ok(f(Floats::F16(&values[start..end]))),
        Storage::Cpu(CpuStorage::BF16(values)) => Ok(f(Floats::BF16(&values[start..end]))),
        _ => Err(KernelError::Dtype {
            op,
            arg,
            found: x.dtype().as_str(),
        }),
    }
}

/// Calls `f` with the values of a tensor, converted to f32, row-major.
pub(crate) fn with_f32<R>(
    op: &'static str,
    arg: &'static str,
    x: &Tensor,
    f: impl FnOnce(&[f32]) -> R,
) -> Result<R, KernelError> {
    with_floats(op, arg, x, |floats| match floats {
        Floats::F32(values) => f(values),
        _ => {
            let mut wide = vec![0.0; floats.len()];
            let chunks = wide.par_chunks_mut(CHUNK).enumerate();
            chunks.for_each(|(chunk, to)| floats.widen(chunk * CHUNK, to));
            f(&wide)
        }
    })
}

/// Returns the values of `x` as `f` changes them, `chunk` values per call, rounded to `out`.
pub(crate) fn map_chunks(
    op: &'static str,
    x: &Tensor,
    chunk: usize,
    out: DType,
    f: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<Tensor, KernelError> {
    with_floats(op, "x", x, |floats| {
        fill(floats.len(), chunk, x.shape(), out, |index, values| {
            floats.widen(index * chunk, values);
            f(index, values);
        })
    })?
}

/// Rounds the values of `x` to type `out`.
pub(crate) fn rounded(op: &'static str, x: Tensor, out: DType) -> Result<Tensor, KernelError> {
    if x.dtype() == out {
        Ok(x)
    } else {
        map_chunks(op, &x, CHUNK, out, |_, _| ())
    }
}

/// Returns a tensor of type `out` whose values `f` computes, `chunk` values per call.
pub(crate) fn fill(
    len: usize,
    chunk: usize,
    shape: impl Into<Shape>,
    out: DType,
    f: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<Tensor, KernelError> {
    let chunk = chunk.max(1);
    // Zero pages, which the system allocates when they are first written, by the thread that
    // computes the values.
    let zeros = || vec![0u16; len];
    Ok(match out {
        DType::F16 => {
            let values = halves(zeros().reinterpret_into::<f16>(), chunk, f);
            Tensor::from_vec(values, shape, &Device::Cpu)?
        }
        DType::BF16 => {
            let values = halves(zeros().reinterpret_into::<bf16>(), chunk, f);
            Tensor::from_vec(values, shape, &Device::Cpu)?
        }
        DType::F32 => {
            let mut values = vec![0.0f32; len];
            values
                .par_chunks_mut(chunk)
                .enumerate()
                .for_each(|(index, values)| f(index, values));
            Tensor::from_vec(values, shape, &Device::Cpu)?
        }
        found => {
            return Err(KernelError::Dtype {
                op: "convert",
                arg: "out",
                found: found.as_str(),
            });
        }
    })
}

fn halves<T: Send>(mut values: Vec<T>, chunk: usize, f: impl Fn(usize, &mut [f32]) + Sync) -> Vec<T>
where
    [T]: HalfFloatSliceExt,
{
    let chunks = values.par_chunks_mut(chunk).enumerate();
    chunks.for_each_init(
        || vec![0.0; chunk],
        |buffer, (index, values)| {
            let buffer = &mut buffer[..values.len()];
            f(index, buffer);
            values.convert_from_f32_slice(buffer);
        },
    );
    values
}
