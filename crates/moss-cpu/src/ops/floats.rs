//! Values of tensors as slices, widened to f32 and rounded back by all threads: at hundreds of
//! rows, one thread's conversions take as long as the products between them.

use candle_core::{CpuStorage, DType, Device, Shape, Storage, Tensor};
use half::{bf16, f16, slice::HalfFloatSliceExt, vec::HalfBitsVecExt};
use rayon::prelude::*;

use super::expect_cpu;
use crate::KernelError;

/// Values of one task.
const CHUNK: usize = 16_384;

/// A tensor's values, row-major.
#[derive(Clone, Copy)]
pub(crate) enum Floats<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
}

impl Floats<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::BF16(values) => values.len(),
        }
    }

    /// The value at `index`.
    pub(crate) fn get(&self, index: usize) -> f32 {
        match self {
            Self::F32(values) => values[index],
            Self::F16(values) => values[index].to_f32(),
            Self::BF16(values) => values[index].to_f32(),
        }
    }

    /// Copies the values from `first` on.
    pub(crate) fn widen(&self, first: usize, to: &mut [f32]) {
        let range = first..first + to.len();
        match self {
            Self::F32(values) => to.copy_from_slice(&values[range]),
            Self::F16(values) => values[range].convert_to_f32_slice(to),
            Self::BF16(values) => values[range].convert_to_f32_slice(to),
        }
    }
}

/// Shows `f` the values of a tensor.
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

/// Shows `f` the values of a tensor, widened to f32 where they are narrower.
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

/// Lets `f` change the values of `x`, `chunk` of them at a time, and rounds what it leaves to
/// `out`.
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

/// The values of `x` in type `out`.
pub(crate) fn rounded(op: &'static str, x: Tensor, out: DType) -> Result<Tensor, KernelError> {
    if x.dtype() == out {
        Ok(x)
    } else {
        map_chunks(op, &x, CHUNK, out, |_, _| ())
    }
}

/// A tensor of type `out` whose values `f` computes, `chunk` of them at a time.
pub(crate) fn fill(
    len: usize,
    chunk: usize,
    shape: impl Into<Shape>,
    out: DType,
    f: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<Tensor, KernelError> {
    let chunk = chunk.max(1);
    // Pages of zeros, taken as they are first written: by the thread that has the values.
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
        |room, (index, values)| {
            let room = &mut room[..values.len()];
            f(index, room);
            values.convert_from_f32_slice(room);
        },
    );
    values
}
