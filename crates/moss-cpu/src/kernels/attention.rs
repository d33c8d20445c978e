//! Attention of queries over the cached keys and values of their sequence, for one head.
//!
//! Scores, softmax and sums are f32; probabilities are rounded to the type of the values, as
//! upstream rounds them. Nothing depends on the other queries of a pass.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::{
    disjoint_matrix::DisjointMatrix,
    elementwise::exp_of_difference,
    simd::{Kernel, Simd},
};

/// Element type of a cache.
pub(crate) trait CacheElement: Copy + Send + Sync + 'static {
    /// # Safety
    /// As for [`Simd`].
    unsafe fn load<S: Simd>(from: *const Self) -> S::F;
    fn widen(self) -> f32;
    /// Rounds every value to the nearest of this type.
    fn round(values: &mut [f32]);
}

impl CacheElement for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::F {
        // SAFETY: the caller's.
        unsafe { S::load(from) }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
    fn round(_values: &mut [f32]) {}
}
impl CacheElement for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::F {
        // SAFETY: the caller's.
        unsafe { S::load_f16(from.cast()) }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
    fn round(values: &mut [f32]) {
        round_by_way_of::<f16>(values);
    }
}
impl CacheElement for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::F {
        // SAFETY: the caller's.
        unsafe { S::load_bf16(from.cast()) }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
    fn round(values: &mut [f32]) {
        round_by_way_of::<bf16>(values);
    }
}

fn round_by_way_of<T: Copy + Default>(values: &mut [f32])
where
    [T]: HalfFloatSliceExt,
{
    let mut halves = [T::default(); 64];
    for values in values.chunks_mut(halves.len()) {
        let halves = &mut halves[..values.len()];
        halves.convert_from_f32_slice(values);
        halves.convert_to_f32_slice(values);
    }
}

/// Queries of one head, in consecutive rows of a sequence: row `i` sees `len + i` positions. What a
/// row gives does not depend on how many there are.
pub(crate) struct Queries<'a, T> {
    pub(crate) rows: usize,
    /// `[rows, num_heads, head_dim]`, from the first query on.
    pub(crate) q: &'a [f32],
    /// Storage of a layer's keys, `[num_blocks, num_heads, block_size, head_dim]`.
    pub(crate) keys: &'a [T],
    /// Values, likewise.
    pub(crate) values: &'a [T],
    /// Blocks of the sequence; enough for the positions, all within the storage.
    pub(crate) blocks: &'a [u32],
    /// Positions that the first row attends to.
    pub(crate) len: usize,
    pub(crate) head: usize,
    pub(crate) num_heads: usize,
    pub(crate) block_size: usize,
    pub(crate) head_dim: usize,
    /// Room for the scores of one row after the other.
    pub(crate) scores: &'a mut [f32],
    /// `[rows of the pass, num_heads * head_dim]`, of which this head's part of these rows is
    /// overwritten.
    pub(crate) out: DisjointMatrix<'a>,
    /// The first row's number in `out`.
    pub(crate) first_row: usize,
}

/// Rows that read a key together, at most.
pub(crate) const ROWS: usize = 4;
/// Keys at a time: one sum would wait for its own last addition.
const KEYS: usize = 4;

impl<T: CacheElement> Kernel for Queries<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        // SAFETY: the instruction set is there.
        unsafe {
            match self.rows {
                ROWS if S::LANES == 16 => self.attend::<S, ROWS, 4>(0),
                rows => (0..rows).for_each(|row| self.attend::<S, 1, 8>(row)),
            }
        }
    }
}

impl<T: CacheElement> Queries<'_, T> {
    /// Where this head's rows of a block begin, and how many of its positions are below `len`.
    #[inline(always)]
    fn run_of(&self, index: usize, len: usize) -> (usize, usize) {
        let used = (len - index * self.block_size).min(self.block_size);
        let block = self.blocks[index] as usize;
        (
            (block * self.num_heads + self.head) * self.block_size * self.head_dim,
            used,
        )
    }

    /// Of `Q` rows from `row` on; `N` vectors of values have their sums in registers.
    ///
    /// # Safety
    /// The instruction set is there, and so many rows are.
    #[inline(always)]
    unsafe fn attend<S: Simd, const Q: usize, const N: usize>(&mut self, row: usize) {
        let (head_dim, len) = (self.head_dim, self.len + row);
        let end = len + Q - 1;
        let root = (head_dim as f32).sqrt();
        let mut at = 0;
        for index in 0..end.div_ceil(self.block_size) {
            let (first, used) = self.run_of(index, end);
            for slot in (0..used).step_by(KEYS) {
                let there = KEYS.min(used - slot);
                // Where fewer are left, the last one several times: a score does not depend on its
                // neighbours.
                let key = |k: usize| {
                    &self.keys[first + (slot + k.min(there - 1)) * head_dim..][..head_dim]
                };
                let keys = [key(0), key(1), key(2), key(3)];
                let q = &self.q[row * self.num_heads * head_dim..];
                // SAFETY: the instruction set is there, and all have `head_dim` values.
                let dots = unsafe { dots::<S, T, Q>(q, self.num_heads * head_dim, keys) };
                for (i, dots) in dots.iter().enumerate() {
                    self.scores[i * end + at..][..there].copy_from_slice(&dots[..there]);
                }
                at += there;
            }
        }
        for i in 0..Q {
            // What lies behind its own position is no business of a row.
            let scores = &mut self.scores[i * end..][..len + i];
            scores.iter_mut().for_each(|score| *score /= root);
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum = exp_of_difference(scores, max);
            scores
                .iter_mut()
                .for_each(|probability| *probability /= sum);
            T::round(scores);
        }
        let mut lane = 0;
        // SAFETY: the instruction set is there, and vectors end within the head.
        unsafe {
            while lane + N * S::LANES <= head_dim {
                self.add_values::<S, Q, N>(row, lane);
                lane += N * S::LANES;
            }
            while lane + S::LANES <= head_dim {
                self.add_values::<S, Q, 1>(row, lane);
                lane += S::LANES;
            }
        }
        for (i, lane) in (0..Q).flat_map(|i| (lane..head_dim).map(move |lane| (i, lane))) {
            let mut sum = 0.0;
            for at in 0..len + i {
                let (first, _) = self.run_of(at / self.block_size, end);
                let value = self.values[first + at % self.block_size * head_dim + lane].widen();
                // SAFETY: the instruction set is there.
                sum = unsafe { S::fma_one(self.scores[i * end + at], value, sum) };
            }
            // SAFETY: a lane of this head, in one of these rows.
            unsafe {
                *self
                    .out
                    .at(self.first_row + row + i, self.head * head_dim + lane) = sum
            };
        }
    }

    /// The sums of `N` vectors of lanes, position after position.
    ///
    /// # Safety
    /// The instruction set is there, so many rows are, and the vectors end within the head.
    #[inline(always)]
    unsafe fn add_values<S: Simd, const Q: usize, const N: usize>(
        &mut self,
        row: usize,
        lane: usize,
    ) {
        let (head_dim, len) = (self.head_dim, self.len + row);
        let end = len + Q - 1;
        // SAFETY: the caller's; `run_of` names positions within the storage.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; Q];
            for index in 0..end.div_ceil(self.block_size) {
                let (first, used) = self.run_of(index, end);
                let values = &self.values[first..][..used * head_dim];
                for (slot, value) in values.chunks_exact(head_dim).enumerate() {
                    let at = index * self.block_size + slot;
                    let mut vectors = [S::splat(0.0); N];
                    for (n, vector) in vectors.iter_mut().enumerate() {
                        *vector = T::load::<S>(value.as_ptr().add(lane + n * S::LANES));
                    }
                    for (i, sums) in sums.iter_mut().enumerate() {
                        if at < len + i {
                            let probability = S::splat(self.scores[i * end + at]);
                            for (sum, vector) in sums.iter_mut().zip(vectors) {
                                *sum = S::fma(probability, vector, *sum);
                            }
                        }
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                let out = self
                    .out
                    .at(self.first_row + row + i, self.head * head_dim + lane);
                for (n, sum) in sums.iter().enumerate() {
                    S::store(out.add(n * S::LANES), *sum);
                }
            }
        }
    }
}

/// Products of `Q` queries, `stride` values apart, with some keys.
///
/// # Safety
/// The instruction set is there; `q` holds so many queries, as long as the keys.
#[inline(always)]
unsafe fn dots<S: Simd, T: CacheElement, const Q: usize>(
    q: &[f32],
    stride: usize,
    keys: [&[T]; KEYS],
) -> [[f32; KEYS]; Q] {
    let head_dim = keys[0].len();
    let whole = head_dim / S::LANES * S::LANES;
    debug_assert!(q.len() >= (Q - 1) * stride + head_dim);
    // SAFETY: vectors lie below `whole`.
    unsafe {
        let mut sums = [[S::splat(0.0); KEYS]; Q];
        for at in (0..whole).step_by(S::LANES) {
            let mut vectors = [S::splat(0.0); KEYS];
            for (vector, key) in vectors.iter_mut().zip(keys) {
                *vector = T::load::<S>(key.as_ptr().add(at));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let q = S::load(q.as_ptr().add(i * stride + at));
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = S::fma(q, vector, *sum);
                }
            }
        }
        let mut totals = [[0.0; KEYS]; Q];
        for (i, (totals, sums)) in totals.iter_mut().zip(sums).enumerate() {
            S::add_sums(totals.as_mut_ptr(), sums);
            for (total, key) in totals.iter_mut().zip(keys) {
                for at in whole..head_dim {
                    *total = S::fma_one(q[i * stride + at], key[at].widen(), *total);
                }
            }
        }
        totals
    }
}
