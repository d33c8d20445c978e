//! Attention of one query over the cached keys and values of its sequence, for one head.
//!
//! Scores, softmax and sums are f32; probabilities are rounded to the type of the values, as upstream rounds them. Nothing
//! depends on the other queries of a pass.

use half::{bf16, f16};

use super::{
    Isa,
    elementwise::exp_of_difference,
    simd::{Kernel, Simd},
};

/// Element type of a cache.
pub(crate) trait CacheElement: Copy + Send + Sync + 'static {
    /// # Safety
    /// As for [`Simd`].
    unsafe fn load<S: Simd>(from: *const Self) -> S::F;
    fn widen(self) -> f32;
    /// Nearest value of this type.
    fn round(value: f32) -> f32;
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
    #[inline(always)]
    fn round(value: f32) -> f32 {
        value
    }
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
    #[inline(always)]
    fn round(value: f32) -> f32 {
        f16::from_f32(value).to_f32()
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
    #[inline(always)]
    fn round(value: f32) -> f32 {
        bf16::from_f32(value).to_f32()
    }
}

/// One query of one head.
pub(crate) struct Query<'a, T> {
    /// `[head_dim]`
    pub(crate) q: &'a [f32],
    /// Storage of a layer's keys, `[num_blocks, num_heads, block_size, head_dim]`.
    pub(crate) keys: &'a [T],
    /// Values, likewise.
    pub(crate) values: &'a [T],
    /// Blocks of the sequence; enough for `len` positions, all within the storage.
    pub(crate) blocks: &'a [u32],
    /// Positions to attend to.
    pub(crate) len: usize,
    pub(crate) head: usize,
    pub(crate) num_heads: usize,
    pub(crate) block_size: usize,
    /// Room for `len` scores.
    pub(crate) scores: &'a mut [f32],
    /// `[head_dim]`, overwritten.
    pub(crate) out: &'a mut [f32],
}

impl<T: CacheElement> Query<'_, T> {
    pub(crate) fn attend(self, isa: Isa) {
        isa.run(self);
    }

    /// Where this head's rows of a block begin, and how many positions of the block are used.
    #[inline(always)]
    fn run_of(&self, index: usize) -> (usize, usize) {
        let used = (self.len - index * self.block_size).min(self.block_size);
        let block = self.blocks[index] as usize;
        ((block * self.num_heads + self.head) * self.block_size * self.q.len(), used)
    }
}

impl<T: CacheElement> Kernel for Query<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let head_dim = self.q.len();
        let root = (head_dim as f32).sqrt();
        let num_blocks = self.len.div_ceil(self.block_size);
        let mut at = 0;
        let mut max = f32::NEG_INFINITY;
        for index in 0..num_blocks {
            let (first, used) = self.run_of(index);
            for slot in 0..used {
                let key = &self.keys[first + slot * head_dim..][..head_dim];
                // SAFETY: the instruction set is there, and both have `head_dim` values.
                let score = unsafe { dot::<S, T>(self.q, key) } / root;
                max = max.max(score);
                self.scores[at] = score;
                at += 1;
            }
        }
        let sum = exp_of_difference(&mut self.scores[..at], max);
        self.out.fill(0.0);
        let mut at = 0;
        for index in 0..num_blocks {
            let (first, used) = self.run_of(index);
            for slot in 0..used {
                let value = &self.values[first + slot * head_dim..][..head_dim];
                // SAFETY: the instruction set is there, and both have `head_dim` values.
                unsafe { add_scaled::<S, T>(self.out, T::round(self.scores[at] / sum), value) };
                at += 1;
            }
        }
    }
}

/// # Safety
/// The instruction set is there, and both slices are equally long.
#[inline(always)]
unsafe fn dot<S: Simd, T: CacheElement>(a: &[f32], b: &[T]) -> f32 {
    let whole = a.len() / S::LANES * S::LANES;
    // SAFETY: vectors lie below `whole`.
    unsafe {
        let mut sum = S::splat(0.0);
        for at in (0..whole).step_by(S::LANES) {
            sum = S::fma(S::load(a.as_ptr().add(at)), T::load::<S>(b.as_ptr().add(at)), sum);
        }
        let mut total = S::sum(sum);
        for at in whole..a.len() {
            total = S::fma_one(a[at], b[at].widen(), total);
        }
        total
    }
}

/// `out += scale * values`
///
/// # Safety
/// The instruction set is there, and both slices are equally long.
#[inline(always)]
unsafe fn add_scaled<S: Simd, T: CacheElement>(out: &mut [f32], scale: f32, values: &[T]) {
    let whole = out.len() / S::LANES * S::LANES;
    // SAFETY: vectors lie below `whole`.
    unsafe {
        let scales = S::splat(scale);
        for at in (0..whole).step_by(S::LANES) {
            let to = out.as_mut_ptr().add(at);
            S::store(to, S::fma(scales, T::load::<S>(values.as_ptr().add(at)), S::load(to)));
        }
        for at in whole..out.len() {
            out[at] = S::fma_one(scale, values[at].widen(), out[at]);
        }
    }
}
