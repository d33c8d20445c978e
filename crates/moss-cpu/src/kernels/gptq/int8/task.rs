//! A task of the packed matrix product with 8-bit activations.

use super::activations::{Int8Activations, position};
use crate::kernels::{gptq::tile::ColumnTile, simd::Simd};

/// A tile of outputs, for all rows.
pub(super) struct Task<'a, const BITS: u32, const PER: usize> {
    pub(super) x: &'a Int8Activations,
    pub(super) tile: ColumnTile<'a, BITS, PER>,
}

impl<const BITS: u32, const PER: usize> Task<'_, BITS, PER> {
    /// Words of bytes per packed word.
    pub(super) const WORDS: usize = PER / 4;

    /// Computes the outputs from `first` on, which do not fill a vector, one by one and in the same
    /// order of sums.
    pub(super) fn single_outputs(&mut self, first: usize) {
        let x = self.x;
        for at in first..self.tile.out.len() {
            for row in 0..x.rows {
                let mut y = 0.0;
                for (index, piece) in x.pieces.iter().enumerate() {
                    let mut sum = 0i32;
                    let bytes = x.row(index, row).as_flattened();
                    for (packed, x) in bytes.chunks_exact(PER).enumerate() {
                        let fields = self.tile.fields(piece.first_row + packed, at);
                        for (k, field) in fields.into_iter().enumerate() {
                            sum += field as i32 * i32::from(x[position::<PER>(k)] as i8);
                        }
                    }
                    let (step, inputs) = (x.steps(index, row)[0], x.sums(index, row)[0]);
                    let bracket = sum as f32 - self.tile.zero(piece.group, at) * inputs;
                    y = (bracket * step).mul_add(self.tile.scale(piece.group, at), y);
                }
                self.tile.write_one(row, at, y);
            }
        }
    }
}

/// Returns the bytes of packed words: all fields of 8 bits, or with 4 bits the even (`part` 0) or the
/// odd ones (`part` 1), as [`position`] orders them.
#[inline(always)]
pub(super) fn bytes<S: Simd, const BITS: u32>(simd: S, words: S::I, part: usize) -> S::I {
    match (BITS, part) {
        (8, _) => words,
        (_, 0) => simd.even_nibbles(words),
        _ => simd.even_nibbles(simd.shift_right(words, 4)),
    }
}

/// Returns `y` plus a piece, of which `sums` are the sums of products.
#[inline(always)]
pub(super) fn add_piece<S: Simd>(
    simd: S,
    y: S::F,
    sums: S::I,
    (zeros, scales): (S::F, S::F),
    (step, sum): (f32, f32),
) -> S::F {
    let bracket = simd.fma(zeros, simd.splat(-sum), simd.signed(sums));
    simd.fused(simd.mul(bracket, simd.splat(step)), scales, y)
}
