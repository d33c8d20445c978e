//! A column tile: consecutive outputs of a packed weight, and their part of the result.

use super::packed::Packed;
use crate::kernels::{
    columns::Columns,
    rows::Rows,
    simd::{Chunk, Simd},
};

/// Outputs of one GEMV task, at most: contiguous reads of 6 KB, with the sums in the first-level
/// cache.
pub(super) const GEMV_OUTPUTS: usize = 1536;
/// Outputs of one GEMV task, at least: hardware prefetchers do not detect shorter reads.
const MIN_GEMV_OUTPUTS: usize = 256;

/// Returns the outputs of one GEMV task: as many as possible if every thread gets a task. The
/// division changes no sum.
pub(super) fn gemv_outputs(outputs: usize) -> usize {
    outputs
        .div_ceil(rayon::current_num_threads())
        .next_multiple_of(MIN_GEMV_OUTPUTS)
        .min(GEMV_OUTPUTS)
}

/// One value per output of a GEMV task, aligned to cache lines: every packed row reads and writes
/// all of them, and a vector that crosses two lines takes twice as long.
#[repr(align(64))]
pub(super) struct TileArray<T>(pub(super) [T; GEMV_OUTPUTS]);

/// Consecutive outputs of a weight, the first a multiple of `PER`. Vectors are counted from the
/// first output.
pub(super) struct ColumnTile<'a, const BITS: u32, const PER: usize> {
    pub(super) weight: &'a Packed<'a>,
    pub(super) out: Columns<'a>,
}

impl<'a, const BITS: u32, const PER: usize> ColumnTile<'a, BITS, PER> {
    /// Returns the number of whole vectors.
    #[inline(always)]
    pub(super) fn vectors<S: Simd>(&self) -> usize {
        self.out.len() / S::LANES
    }

    /// Returns the packed words of `row`, whole vectors only.
    #[inline(always)]
    pub(super) fn words<S: Simd>(&self, row: usize) -> &'a [S::Packed32] {
        let first = (row * self.weight.outputs + self.out.first()) * 4;
        S::Packed32::split(&self.weight.qweight[first..][..self.out.len() * 4])
    }

    /// Returns `vectors` vectors of the packed words of `R` rows, from `row` on.
    #[inline(always)]
    pub(super) fn rows<S: Simd, const R: usize>(
        &self,
        row: usize,
        vectors: usize,
    ) -> Rows<'a, S::Packed32, R> {
        assert!(vectors <= self.vectors::<S>());
        let stride = self.weight.outputs * 4;
        let first = row * stride + self.out.first() * 4;
        Rows::new(&self.weight.qweight[first..], stride, vectors)
    }

    /// Returns the address of the packed words of `row`, which may be past the end: for prefetches.
    #[inline(always)]
    pub(super) fn address(&self, row: usize) -> *const u8 {
        let first = (row * self.weight.outputs + self.out.first()) * 4;
        self.weight.qweight.as_ptr().wrapping_add(first)
    }

    /// Returns the scales of a group, whole vectors only.
    #[inline(always)]
    pub(super) fn scales<S: Simd>(&self, group: usize) -> &'a [S::Packed16] {
        let first = (group * self.weight.outputs + self.out.first()) * 2;
        S::Packed16::split(&self.weight.scales[first..][..self.out.len() * 2])
    }

    /// Returns the stored zero points of a group, whole words only.
    #[inline(always)]
    pub(super) fn zeros(&self, group: usize) -> Zeros<'a, BITS> {
        let first = (group * self.weight.zero_words + self.out.first() / PER) * 4;
        Zeros(&self.weight.qzeros[first..][..self.out.len() / PER * 4])
    }

    /// Writes the outputs of a row: `sums` plus the bias.
    #[inline(always)]
    pub(super) fn write<S: Simd>(&mut self, simd: S, row: usize, sums: &[S::Floats]) {
        let (first, len) = (self.out.first(), self.out.len());
        let out = S::Floats::split_mut(self.out.row(row));
        match self.weight.bias {
            Some(bias) => {
                let bias = S::Floats::split(&bias[first..][..len]);
                for ((to, sums), bias) in out.iter_mut().zip(sums).zip(bias) {
                    simd.store(to, simd.add(simd.load(sums), simd.load(bias)));
                }
            }
            None => {
                for (to, sums) in out.iter_mut().zip(sums) {
                    simd.store(to, simd.load(sums));
                }
            }
        }
    }

    /// Writes output `at` of a row: `sum` plus the bias.
    pub(super) fn write_one(&mut self, row: usize, at: usize, sum: f32) {
        let bias = self.weight.bias;
        let bias = bias.map_or(0.0, |bias| bias[self.out.first() + at]);
        self.out.row(row)[at] = sum + bias;
    }

    /// Returns the fields of the packed word of output `at`.
    pub(super) fn fields(&self, row: usize, at: usize) -> [u32; PER] {
        let index = row * self.weight.outputs + self.out.first() + at;
        fields(self.weight.qweight, index)
    }

    /// Returns the zero point of output `at`.
    pub(super) fn zero(&self, group: usize, at: usize) -> f32 {
        let output = self.out.first() + at;
        let index = group * self.weight.zero_words + output / PER;
        let stored: [u32; PER] = fields(self.weight.qzeros, index);
        stored[output % PER] as f32 + 1.0
    }

    /// Returns the scale of output `at`.
    pub(super) fn scale(&self, group: usize, at: usize) -> f32 {
        let at = (group * self.weight.outputs + self.out.first() + at) * 2;
        half::f16::from_le_bytes([self.weight.scales[at], self.weight.scales[at + 1]]).to_f32()
    }
}

fn fields<const PER: usize>(words: &[u8], index: usize) -> [u32; PER] {
    let at = &words[index * 4..][..4];
    let word = u32::from_le_bytes([at[0], at[1], at[2], at[3]]);
    let width = 32 / PER;
    std::array::from_fn(|field| word >> (field * width) & (u32::MAX >> (32 - width)))
}

/// Stored zero points of consecutive outputs, `BITS` bits each.
#[derive(Clone, Copy)]
pub(super) struct Zeros<'a, const BITS: u32>(&'a [u8]);

impl<const BITS: u32> Zeros<'_, BITS> {
    /// Loads a vector of zero points, which are stored minus one.
    #[inline(always)]
    pub(super) fn load<S: Simd>(self, simd: S, vector: usize) -> S::F {
        let stored = if BITS == 4 {
            simd.nibbles(&S::Packed4::split(self.0)[vector])
        } else {
            simd.bytes(&S::Packed8::split(self.0)[vector])
        };
        simd.add(stored, simd.splat(1.0))
    }
}
