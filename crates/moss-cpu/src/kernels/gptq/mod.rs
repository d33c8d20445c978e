//! GPTQ matrix product, `y = x W^T + bias`, straight from the published packing.
//!
//! `qweight` rows run along the outputs, so lanes run along them too: each task reads long
//! contiguous runs of the file. Within a group of inputs, with `z = stored zero + 1`,
//!
//! ```text
//! y[n] += scale[g][n] * (sum_k x[k] * q[k][n]  -  z[g][n] * sum_k x[k])
//! ```
//! and the bracket is summed input by input, beginning with its second term. Few rows or many,
//! every output is summed in this order, so a row's result does not depend on how many rows there
//! are.

mod column_tile;
mod gemm;
mod gemv;
pub(crate) mod int8;

use rayon::prelude::*;

use self::{column_tile::ColumnTile, gemm::Gemm, gemv::Gemv};
use super::{Isa, disjoint_matrix::DisjointMatrix, simd::Simd};
use crate::GptqBits;

/// Outputs of one task for a single row, at most: 6 KB runs of the file, with their sums in the
/// first-level cache.
const ROW_STRIP: usize = 1536;
/// And at least: below, the prefetchers find nothing to follow.
const SHORTEST_STRIP: usize = 256;
/// Outputs of one task for many rows: a widened group stays in the first-level cache.
const PANEL_STRIP: usize = 64;

/// Something for each output of a strip, on cache lines: every packed row reads and writes all of
/// it, and a vector across two lines takes the time of two.
#[repr(align(64))]
struct TileArray<T>([T; ROW_STRIP]);

/// Inputs below this count as zero, in every path alike: fields are read where they lie, which
/// takes an input up to 2^24 times smaller.
pub(crate) const SMALLEST_INPUT: f32 = 1.0 / (1u128 << 102) as f32;

/// Consecutive packed rows that share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// First row of words in `qweight`.
    pub(crate) first_row: usize,
    /// Rows of words.
    pub(crate) rows: usize,
    /// Row of `scales` and `qzeros`.
    pub(crate) group: usize,
}

/// A packed matrix whose lengths have been checked.
pub(crate) struct Packed<'a> {
    pub(crate) bits: GptqBits,
    pub(crate) outputs: usize,
    /// Words of zero points a group.
    pub(crate) zero_words: usize,
    /// i32 `[rows of words, outputs]`
    pub(crate) qweight: &'a [u8],
    /// i32 `[groups, zero_words]`
    pub(crate) qzeros: &'a [u8],
    /// f16 `[groups, outputs]`
    pub(crate) scales: &'a [u8],
    pub(crate) segments: &'a [Segment],
    pub(crate) bias: Option<&'a [f32]>,
}

impl Packed<'_> {
    /// Inputs, those included that only fill up a word.
    fn inputs(&self) -> usize {
        self.qweight.len() / 4 / self.outputs.max(1) * self.bits.per_word()
    }

    /// Every segment, group and output lies within the matrices: what kernels rely on.
    fn check(&self) {
        let per_word = self.bits.per_word();
        let groups = self
            .segments
            .iter()
            .map(|segment| segment.group + 1)
            .max()
            .unwrap_or(0);
        let last_row = self
            .segments
            .iter()
            .map(|segment| segment.first_row + segment.rows)
            .max()
            .unwrap_or(0);
        assert!(last_row * per_word <= self.inputs());
        assert!(
            self.scales.len() >= groups * self.outputs * 2
                && self.qzeros.len() >= groups * self.zero_words * 4
        );
        assert!(self.zero_words * per_word >= self.outputs);
        assert!(self.bias.is_none_or(|bias| bias.len() == self.outputs));
    }

    /// Outputs of one task for a single row: as many as they can be while every thread gets some;
    /// where they are cut changes no sum.
    fn row_strip(&self) -> usize {
        let share = self
            .outputs
            .div_ceil(rayon::current_num_threads())
            .next_multiple_of(SHORTEST_STRIP);
        share.min(ROW_STRIP)
    }
}

/// Values from one row of `x` to the next. Many rows lie one cache line further apart than they
/// must: at the model's own widths they would all fall into the same few sets of the caches.
pub(crate) fn row_stride(rows: usize, inputs: usize) -> usize {
    inputs + if rows > 1 { 16 } else { 0 }
}

/// `x` is `[rows, row_stride]`, in the order of the packed rows, with nothing between zero and
/// [`SMALLEST_INPUT`]; `y` is `[rows, outputs]`.
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

    // The same for all outputs: the sum of each group's inputs, negated.
    let sums: Vec<f32> = (0..rows)
        .flat_map(|row| {
            let x = &x[row * stride..][..stride];
            weight.segments.iter().map(move |segment| {
                let group = &x[segment.first_row * PER..][..segment.rows * PER];
                -group.iter().map(|x| f64::from(*x)).sum::<f64>() as f32
            })
        })
        .collect();
    let out = DisjointMatrix::new(y, outputs);
    let step = if rows == 1 {
        weight.row_strip()
    } else {
        PANEL_STRIP
    };
    (0..outputs.div_ceil(step))
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| {
            let first = task * step;
            let strip = ColumnTile::<BITS, PER> {
                weight,
                first,
                end: (first + step).min(outputs),
                out,
            };
            let task = Task {
                x,
                rows,
                stride,
                sums: &sums,
                strip,
            };
            if rows == 1 {
                isa.run(Gemv(task))
            } else {
                isa.run(Gemm(task))
            }
        });
}

/// A strip of outputs for all rows. `run` has checked that the slices have these extents.
#[derive(Clone, Copy)]
struct Task<'a, const BITS: u32, const PER: usize> {
    x: &'a [f32],
    rows: usize,
    /// Values from one row of `x` to the next.
    stride: usize,
    /// Negated sums of inputs, `[rows, segments]`.
    sums: &'a [f32],
    strip: ColumnTile<'a, BITS, PER>,
}

impl<const BITS: u32, const PER: usize> Task<'_, BITS, PER> {
    /// Outputs that fill no vector, one by one, in the same order of sums.
    #[inline(always)]
    unsafe fn single_outputs<S: Simd>(&self, from: usize) {
        let (strip, segments) = (self.strip, self.strip.weight.segments);
        for output in from..strip.end {
            for row in 0..self.rows {
                let x = &self.x[row * self.stride..][..self.stride];
                let mut y = 0.0;
                for (index, segment) in segments.iter().enumerate() {
                    let mut acc =
                        strip.zero(segment.group, output) * self.sums[row * segments.len() + index];
                    for packed in segment.first_row..segment.first_row + segment.rows {
                        for (x, field) in x[packed * PER..].iter().zip(strip.fields(packed, output))
                        {
                            // SAFETY: the instruction set is there.
                            acc = unsafe { S::fma_one(*x, field as f32, acc) };
                        }
                    }
                    // SAFETY: the instruction set is there.
                    y = unsafe { S::fma_one(strip.scale(segment.group, output), acc, y) };
                }
                // SAFETY: an output of this task.
                unsafe { *strip.out.at(row, output) = y + strip.bias(output) };
            }
        }
    }
}
