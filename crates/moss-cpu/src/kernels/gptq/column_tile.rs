//! Consecutive outputs of a packed weight, and what stands for them in its matrices.

use super::Packed;
use crate::kernels::{disjoint_matrix::DisjointMatrix, simd::Simd};

/// The outputs `first..end`, of a weight that [`Packed::check`] let pass.
#[derive(Clone, Copy)]
pub(super) struct ColumnTile<'a, const BITS: u32, const PER: usize> {
    pub(super) weight: &'a Packed<'a>,
    pub(super) first: usize,
    pub(super) end: usize,
    pub(super) out: DisjointMatrix<'a>,
}

impl<const BITS: u32, const PER: usize> ColumnTile<'_, BITS, PER> {
    /// Packed words of `row` from output `output` on.
    #[inline(always)]
    pub(super) unsafe fn words(&self, row: usize, output: usize) -> *const u8 {
        // SAFETY: the caller names a row and an output that exist.
        unsafe {
            self.weight
                .qweight
                .as_ptr()
                .add((row * self.weight.outputs + output) * 4)
        }
    }

    #[inline(always)]
    pub(super) unsafe fn scales<S: Simd>(&self, group: usize, output: usize) -> S::F {
        // SAFETY: the caller leaves a whole vector of outputs.
        unsafe {
            S::load_f16(
                self.weight
                    .scales
                    .as_ptr()
                    .add((group * self.weight.outputs + output) * 2),
            )
        }
    }

    /// Zero points of a vector of outputs; `output` is a multiple of the lanes, so that whole words
    /// begin there.
    #[inline(always)]
    pub(super) unsafe fn zeros<S: Simd>(&self, group: usize, output: usize) -> S::F {
        // SAFETY: the caller leaves a whole vector of outputs.
        unsafe {
            let from = self
                .weight
                .qzeros
                .as_ptr()
                .add((group * self.weight.zero_words + output / PER) * 4);
            let stored = if BITS == 4 {
                S::nibbles(from)
            } else {
                S::bytes(from)
            };
            S::add(stored, S::splat(1.0))
        }
    }

    #[inline(always)]
    pub(super) unsafe fn add_bias<S: Simd>(&self, output: usize, value: S::F) -> S::F {
        match self.weight.bias {
            // SAFETY: the caller leaves a whole vector of outputs.
            Some(bias) => unsafe { S::add(value, S::load(bias.as_ptr().add(output))) },
            None => value,
        }
    }

    /// The weights of one packed word.
    pub(super) fn fields(&self, row: usize, output: usize) -> [u32; PER] {
        fields(self.weight.qweight, row * self.weight.outputs + output)
    }

    pub(super) fn zero(&self, group: usize, output: usize) -> f32 {
        let stored: [u32; PER] = fields(
            self.weight.qzeros,
            group * self.weight.zero_words + output / PER,
        );
        stored[output % PER] as f32 + 1.0
    }

    pub(super) fn scale(&self, group: usize, output: usize) -> f32 {
        let at = (group * self.weight.outputs + output) * 2;
        half::f16::from_le_bytes([self.weight.scales[at], self.weight.scales[at + 1]]).to_f32()
    }

    pub(super) fn bias(&self, output: usize) -> f32 {
        self.weight.bias.map_or(0.0, |bias| bias[output])
    }
}

fn fields<const PER: usize>(words: &[u8], index: usize) -> [u32; PER] {
    let at = &words[index * 4..][..4];
    let word = u32::from_le_bytes([at[0], at[1], at[2], at[3]]);
    let width = 32 / PER;
    std::array::from_fn(|field| word >> (field * width) & (u32::MAX >> (32 - width)))
}
