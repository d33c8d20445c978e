//! Dense matrix product, `y = x W^T + bias`, straight from the stored weight.
//!
//! Every output is one dot product, cut into blocks of [`BLOCK`] inputs: a block is summed in
//! `LANES` interleaved partial sums, which are reduced in a fixed order and added to the blocks
//! before. Few rows ([`direct`]) and many ([`blocked`]) do the same additions in the same order, so
//! a row's result does not depend on how many rows there are.

mod gemm;
mod gemv;

use rayon::prelude::*;

use self::{gemm::Gemm, gemv::Gemv};
use super::{Isa, disjoint_matrix::DisjointMatrix, simd::Simd};
use crate::{DenseDtype, DenseWeight};

/// Up to this many rows the weight is converted in registers, once for all of them.
const GEMV_ROWS: usize = 4;
/// Outputs of one task for few rows: long runs of the mapped file.
const GEMV_OUTPUTS: usize = 64;
/// Outputs of one task for many rows, at most: their widened weights and sums stay in the
/// second-level cache.
const PANEL: usize = 192;
/// Inputs of one block: a tile's rows of `x` and `W` stay in the first-level cache.
const BLOCK: usize = 1024;
/// Inputs are padded with zeros to a multiple of this, so that `x` is read in whole vectors.
const PAD: usize = 16;

/// Values from one row of `x` to the next. Many rows lie one cache line further apart than they
/// must: at the model's own widths they would all fall into the same few sets of the first-level
/// cache.
pub(crate) fn row_stride(rows: usize, inputs: usize) -> usize {
    inputs.next_multiple_of(PAD) + if rows > GEMV_ROWS { PAD } else { 0 }
}

/// `x` is `[rows, row_stride]`, zeros behind `in_features`; `y` is `[rows, out_features]`.
pub(crate) fn matmul(
    isa: Isa,
    x: &[f32],
    rows: usize,
    weight: &DenseWeight,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    match weight.dtype {
        DenseDtype::F32 => run::<F32>(isa, x, rows, weight, bias, y),
        DenseDtype::F16 => run::<F16>(isa, x, rows, weight, bias, y),
        DenseDtype::BF16 => run::<BF16>(isa, x, rows, weight, bias, y),
    }
}

fn run<E: Element>(
    isa: Isa,
    x: &[f32],
    rows: usize,
    weight: &DenseWeight,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let outputs = weight.out_features;
    assert_eq!(x.len(), rows * row_stride(rows, weight.in_features));
    assert_eq!(y.len(), rows * outputs);
    assert_eq!(weight.data.len(), outputs * weight.in_features * E::BYTES);
    assert!(bias.is_none_or(|bias| bias.len() == outputs));
    let out = DisjointMatrix::new(y, outputs);
    // Where outputs are cut changes no sum: a few tasks for every thread, however many there are.
    let share = outputs
        .div_ceil(4 * rayon::current_num_threads())
        .next_multiple_of(gemm::OUTPUTS);
    let step = if rows <= GEMV_ROWS {
        GEMV_OUTPUTS
    } else {
        PANEL.min(share)
    };
    // One by one: a thread that the system holds up must not keep a large piece to itself.
    (0..outputs.div_ceil(step))
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| {
            let first = task * step;
            let task = Task::<E> {
                x,
                rows,
                weight: &weight.data,
                inputs: weight.in_features,
                first,
                end: (first + step).min(outputs),
                bias,
                out,
                element: std::marker::PhantomData,
            };
            if rows <= GEMV_ROWS {
                isa.run(Gemv(task))
            } else {
                isa.run(Gemm(task))
            }
        });
}

/// How an element of the weight is widened.
trait Element: Send + Sync + 'static {
    const BYTES: usize;
    /// # Safety
    /// As for [`Simd`].
    unsafe fn load<S: Simd>(from: *const u8) -> S::F;
}

struct F32;
struct F16;
struct BF16;

impl Element for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F {
        // SAFETY: the caller's.
        unsafe { S::load(from.cast()) }
    }
}
impl Element for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F {
        // SAFETY: the caller's.
        unsafe { S::load_f16(from) }
    }
}
impl Element for BF16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F {
        // SAFETY: the caller's.
        unsafe { S::load_bf16(from) }
    }
}

/// The outputs `first..end` for all rows. `run` has checked that the slices have these extents.
#[derive(Clone, Copy)]
struct Task<'a, E> {
    x: &'a [f32],
    rows: usize,
    weight: &'a [u8],
    inputs: usize,
    first: usize,
    end: usize,
    bias: Option<&'a [f32]>,
    out: DisjointMatrix<'a>,
    element: std::marker::PhantomData<E>,
}

impl<E: Element> Task<'_, E> {
    fn stride(&self) -> usize {
        row_stride(self.rows, self.inputs)
    }

    /// # Safety
    /// `row` is below `rows` and `output` within `first..end`.
    #[inline(always)]
    unsafe fn write(&self, row: usize, output: usize, sum: f32) {
        let bias = self.bias.map_or(0.0, |bias| bias[output]);
        // SAFETY: `output` is within this task's columns, which no other task writes.
        unsafe { *self.out.at(row, output) = sum + bias }
    }

    /// The last vector of a row of the weight, which the row does not fill: the rest is zero.
    ///
    /// # Safety
    /// The instruction set is there.
    #[inline(always)]
    unsafe fn load_tail<S: Simd>(&self, output: usize, from: usize) -> S::F {
        let mut buffer = [0u8; 64];
        let row = &self.weight[output * self.inputs * E::BYTES..][..self.inputs * E::BYTES];
        let tail = &row[from * E::BYTES..];
        buffer[..tail.len()].copy_from_slice(tail);
        // SAFETY: 64 bytes hold a vector of any element.
        unsafe { E::load::<S>(buffer.as_ptr()) }
    }
}
