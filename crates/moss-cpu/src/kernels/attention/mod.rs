//! Attention of the queries of one head over the cached keys and values of their sequence.
//!
//! Scores, softmax and sums are f32. Probabilities are rounded to the type of the values, as in the
//! reference implementation. The result of a query does not depend on the other queries.
//!
//! Of an 8-bit cache, the integers are multiplied, and a product with a key, or the probability of a
//! value, is multiplied by the scale of the position.

mod cached;
mod dots;

pub(crate) use self::cached::Cached;

use self::dots::{KEYS, dots};
use super::{
    columns::Columns,
    element::vectors,
    elementwise::exp_of_difference,
    simd::{Chunk, Kernel, Simd},
};

/// Queries that are computed together, at most: they read each key once.
pub(crate) const ROWS: usize = 4;

/// Queries of one head, in consecutive rows of a sequence: row `i` attends to `len + i` positions.
/// The result of a row does not depend on `rows`.
pub(crate) struct Queries<'a, T> {
    pub(crate) rows: usize,
    /// `[rows, num_heads, head_dim]`, from the first query on.
    pub(crate) q: &'a [f32],
    /// The layer's keys, `[num_blocks, num_heads, block_size, head_dim]`. Of an 8-bit cache, each
    /// block ends with its scales, `[num_heads, block_size]` f16.
    pub(crate) keys: &'a [T],
    /// The layer's values, in the same shape.
    pub(crate) values: &'a [T],
    /// Cache blocks of the sequence: enough for all positions.
    pub(crate) blocks: &'a [u32],
    /// Positions that the first row attends to.
    pub(crate) len: usize,
    pub(crate) head: usize,
    pub(crate) num_heads: usize,
    pub(crate) block_size: usize,
    pub(crate) head_dim: usize,
    /// Buffer for the scores, at least `rows * (len + rows)`.
    pub(crate) scores: &'a mut [f32],
    /// Result, `[rows, head_dim]`.
    pub(crate) out: Columns<'a>,
}

impl<T: Cached> Kernel for Queries<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        match self.rows {
            ROWS if S::LANES == 16 => self.attend::<S, ROWS, 4>(simd, 0),
            rows => {
                for row in 0..rows {
                    self.attend::<S, 1, 8>(simd, row);
                }
            }
        }
    }
}

impl<T: Cached> Queries<'_, T> {
    /// Returns the index of the first element of cache block `index` for this head, and the number
    /// of its positions that are below `len`.
    #[inline(always)]
    fn block(&self, index: usize, len: usize) -> (usize, usize) {
        let used = (len - index * self.block_size).min(self.block_size);
        let block = self.blocks[index] as usize * self.block_len();
        (block + self.head * self.block_size * self.head_dim, used)
    }

    /// Returns the elements of a block, with its scales.
    #[inline(always)]
    fn block_len(&self) -> usize {
        self.num_heads * self.block_size * (self.head_dim + T::SCALE)
    }

    /// Multiplies `numbers`, one per position, by the scales of the positions.
    #[inline(always)]
    fn multiply_scales(&self, storage: &[T], numbers: &mut [f32]) {
        if T::SCALE == 0 {
            return;
        }
        let len = numbers.len();
        for (index, numbers) in numbers.chunks_mut(self.block_size).enumerate() {
            let (first, _) = self.block(index, len);
            let block = first - self.head * self.block_size * self.head_dim;
            let scales = block + self.block_len() - self.num_heads * self.block_size * T::SCALE;
            let scales = &storage[scales + self.head * self.block_size * T::SCALE..];
            for (number, scale) in numbers.iter_mut().zip(scales.chunks_exact(T::SCALE.max(1))) {
                *number *= T::scale(scale);
            }
        }
    }

    /// Computes `Q` rows from `row` on. The sums of `N` vectors of values are kept in registers.
    #[inline(always)]
    fn attend<S: Simd, const Q: usize, const N: usize>(&mut self, simd: S, row: usize) {
        let (head_dim, len) = (self.head_dim, self.len + row);
        let end = len + Q - 1;
        self.compute_scores::<S, Q>(simd, row);
        let root = (head_dim as f32).sqrt();
        let buffer = std::mem::take(&mut self.scores);
        for i in 0..Q {
            // Scores of positions after a row's position are not used.
            let scores = &mut buffer[i * end..][..len + i];
            self.multiply_scales(self.keys, scores);
            scores.iter_mut().for_each(|score| *score /= root);
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum = exp_of_difference(scores, max);
            scores
                .iter_mut()
                .for_each(|probability| *probability /= sum);
            T::round(scores);
            self.multiply_scales(self.values, scores);
        }
        self.scores = buffer;
        let (mut at, whole) = (0, head_dim / S::LANES);
        while at + N <= whole {
            self.add_values::<S, Q, N>(simd, row, at);
            at += N;
        }
        while at < whole {
            self.add_values::<S, Q, 1>(simd, row, at);
            at += 1;
        }
        for i in 0..Q {
            for lane in whole * S::LANES..head_dim {
                let mut sum = 0.0;
                for at in 0..len + i {
                    let (first, _) = self.block(at / self.block_size, end);
                    let value = self.values[first + at % self.block_size * head_dim + lane].widen();
                    sum = simd.fma_one(self.scores[i * end + at], value, sum);
                }
                self.out.row(row + i)[lane] = sum;
            }
        }
    }

    /// Computes the products of `Q` queries with all keys, `[Q, len + row + Q - 1]`.
    #[inline(always)]
    fn compute_scores<S: Simd, const Q: usize>(&mut self, simd: S, row: usize) {
        let head_dim = self.head_dim;
        let end = self.len + row + Q - 1;
        let mut queries = [&[][..]; Q];
        for (i, query) in queries.iter_mut().enumerate() {
            *query = &self.q[(row + i) * self.num_heads * head_dim..][..head_dim];
        }
        let mut at = 0;
        for index in 0..end.div_ceil(self.block_size) {
            let (first, used) = self.block(index, end);
            for slot in (0..used).step_by(KEYS) {
                let count = KEYS.min(used - slot);
                // If fewer are left, the last one is repeated: a score does not depend on the
                // others.
                let key = |k: usize| {
                    &self.keys[first + (slot + k.min(count - 1)) * head_dim..][..head_dim]
                };
                let keys = [key(0), key(1), key(2), key(3)];
                for (i, dots) in dots::<S, T, Q>(simd, queries, keys).iter().enumerate() {
                    self.scores[i * end + at..][..count].copy_from_slice(&dots[..count]);
                }
                at += count;
            }
        }
    }

    /// Computes `N` vectors of the result, from vector `first` on: sums of values weighted by
    /// probabilities, position after position.
    #[inline(always)]
    fn add_values<S: Simd, const Q: usize, const N: usize>(
        &mut self,
        simd: S,
        row: usize,
        first: usize,
    ) {
        let (head_dim, len) = (self.head_dim, self.len + row);
        let end = len + Q - 1;
        let mut sums = [[simd.splat(0.0); N]; Q];
        for index in 0..end.div_ceil(self.block_size) {
            let (start, used) = self.block(index, end);
            let values = &self.values[start..][..used * head_dim];
            for (slot, value) in values.chunks_exact(head_dim).enumerate() {
                let at = index * self.block_size + slot;
                let value = &vectors::<S, T>(value)[first..][..N];
                let mut loaded = [simd.splat(0.0); N];
                for (to, from) in loaded.iter_mut().zip(value) {
                    *to = T::load(simd, from);
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    if at < len + i {
                        let probability = simd.splat(self.scores[i * end + at]);
                        for (sum, value) in sums.iter_mut().zip(loaded) {
                            *sum = simd.fma(probability, value, *sum);
                        }
                    }
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let out = S::Floats::split_mut(self.out.row(row + i));
            for (to, sum) in out[first..][..N].iter_mut().zip(sums) {
                simd.store(to, *sum);
            }
        }
    }
}
