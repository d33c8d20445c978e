//! GPTQ matrix product, `y = x W^T + bias`, on the published layout.
//!
//! `qweight` rows run along the outputs, so lanes do too: each task reads long contiguous ranges of
//! the file. Within a group of inputs, with `z = stored zero + 1`,
//!
//! ```text
//! y[n] += scale[g][n] * (sum_k x[k] * q[k][n]  -  z[g][n] * sum_k x[k])
//! ```
//! The bracket starts with its second term, to which the products are added input by input. Decode
//! ([`gemv`]) and prefill ([`gemm`]) use this order, so the result of a row does not depend on the
//! number of rows.

mod gemm;
mod gemv;
pub(crate) mod int8;
mod packed;
mod task;
mod tile;

use rayon::prelude::*;

pub(crate) use self::packed::{Packed, Segment};
use self::{gemm::Gemm, gemv::Gemv, task::Task, tile::ColumnTile};
use super::{Isa, columns::split_columns};
use crate::GptqBits;

/// Smaller inputs count as zero in every code path: [`Simd::field`](super::simd::Simd::field) needs
/// inputs scaled by up to 2^-24, which would become subnormal.
pub(crate) const SMALLEST_INPUT: f32 = 1.0 / (1u128 << 102) as f32;

/// Returns the number of values from one row of `x` to the next. Several rows are one cache line
/// further apart than necessary: at the model's widths they would otherwise share a few sets of the
/// caches.
pub(crate) fn row_stride(rows: usize, inputs: usize) -> usize {
    inputs + if rows > 1 { 16 } else { 0 }
}

/// Computes `y`, `[rows, outputs]`. `x` is `[rows, row_stride]`, in the order of the packed rows,
/// without values between zero and [`SMALLEST_INPUT`].
pub(crate) fn matmul(isa: Isa, x: &[f32], rows: usize, weight: &Packed<'_>, y: &mut [f32]) {
    match weight.bits {
        GptqBits::Four => run::<4, 8>(isa, x, rows, weight, y),
        GptqBits::Eight => run::<8, 4>(isa, x, rows, weight, y),
    }
}

fn run<const BITS: u32, const PER: usize>(
    isa: Isa,
    x: &[f32],
    rows: usize,
    weight: &Packed<'_>,
    y: &mut [f32],
) {
    let (stride, outputs) = (row_stride(rows, weight.inputs()), weight.outputs);
    assert!(x.len() == rows * stride && y.len() == rows * outputs);
    weight.check();
    let sums = negated_sums::<PER>(x, stride, weight);
    let step = if rows == 1 {
        tile::gemv_outputs(outputs)
    } else {
        gemm::OUTPUTS
    };
    split_columns(y, outputs, step)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|out| {
            let task = Task::<BITS, PER> {
                x,
                rows,
                stride,
                sums: &sums,
                tile: ColumnTile { weight, out },
            };
            if rows == 1 {
                isa.run(Gemv(task));
            } else {
                isa.run(Gemm(task));
            }
        });
}

/// Returns the negated sum of each group's inputs, `[rows, segments]`: they are the same for all
/// outputs.
fn negated_sums<const PER: usize>(x: &[f32], stride: usize, weight: &Packed<'_>) -> Vec<f32> {
    let row_sums = |x: &[f32]| {
        let sum = |first: usize, len: usize| {
            -x[first..][..len].iter().map(|x| f64::from(*x)).sum::<f64>() as f32
        };
        let segments = weight.segments.iter();
        segments
            .map(|segment| sum(segment.first_row * PER, segment.rows * PER))
            .collect::<Vec<_>>()
    };
    x.chunks_exact(stride).flat_map(row_sums).collect()
}
