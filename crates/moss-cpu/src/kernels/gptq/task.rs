//! A task of the packed matrix product.

use super::tile::ColumnTile;
use crate::kernels::simd::Simd;

/// A tile of outputs, for all rows.
pub(super) struct Task<'a, const BITS: u32, const PER: usize> {
    /// `[rows, stride]`, in the order of the packed rows.
    pub(super) x: &'a [f32],
    pub(super) rows: usize,
    /// Values from one row of `x` to the next.
    pub(super) stride: usize,
    /// Negated sums of inputs, `[rows, segments]`.
    pub(super) sums: &'a [f32],
    pub(super) tile: ColumnTile<'a, BITS, PER>,
}

impl<const BITS: u32, const PER: usize> Task<'_, BITS, PER> {
    /// Computes the outputs from `first` on, which do not fill a vector, one by one and in the same
    /// order of sums.
    #[inline(always)]
    pub(super) fn single_outputs<S: Simd>(&mut self, simd: S, first: usize) {
        let segments = self.tile.weight.segments;
        for at in first..self.tile.out.len() {
            for row in 0..self.rows {
                let x = &self.x[row * self.stride..][..self.stride];
                let mut y = 0.0;
                for (index, segment) in segments.iter().enumerate() {
                    let mut acc =
                        self.tile.zero(segment.group, at) * self.sums[row * segments.len() + index];
                    for packed in segment.first_row..segment.first_row + segment.rows {
                        let fields = self.tile.fields(packed, at);
                        for (x, field) in x[packed * PER..].iter().zip(fields) {
                            acc = simd.fma_one(*x, field as f32, acc);
                        }
                    }
                    y = simd.fma_one(self.tile.scale(segment.group, at), acc, y);
                }
                self.tile.write_one(row, at, y);
            }
        }
    }
}
