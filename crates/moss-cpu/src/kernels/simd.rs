//! The few vector operations that the kernels are made of.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_NTA, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

/// One instruction set's vectors.
///
/// # Safety
/// Every function may be called only where the instruction set is there, which [`super::Isa`]
/// proves; pointers must be valid for `LANES` elements of what is read or written, and need no
/// alignment.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// Values in a vector: 16 or 8.
    const LANES: usize;
    /// Rows of `x` in a tile of four vectors: as many as the registers hold, 6 or 3.
    const TILE_ROWS: usize;
    /// `LANES` f32 values.
    type F: Copy;
    /// `LANES` 32-bit words.
    type I: Copy;

    unsafe fn splat(value: f32) -> Self::F;
    unsafe fn load(from: *const f32) -> Self::F;
    unsafe fn store(to: *mut f32, value: Self::F);
    unsafe fn load_f16(from: *const u8) -> Self::F;
    unsafe fn load_bf16(from: *const u8) -> Self::F;
    unsafe fn load_words(from: *const u8) -> Self::I;
    unsafe fn splat_word(word: u32) -> Self::I;
    unsafe fn store_words(to: *mut u32, words: Self::I);
    unsafe fn and(words: Self::I, mask: Self::I) -> Self::I;
    /// The lower 4 bits of each byte, as bytes.
    unsafe fn even_nibbles(words: Self::I) -> Self::I;
    /// Each word as a signed number.
    unsafe fn signed(words: Self::I) -> Self::F;
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a * b + c`, rounded once on every instruction set: slow where none does it.
    unsafe fn fused(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a * b + c` for one value, rounded as [`Simd::fma`] rounds.
    unsafe fn fma_one(a: f32, b: f32, c: f32) -> f32;
    /// The lowest 4 bits of each word, as a number.
    unsafe fn low_nibble(words: Self::I) -> Self::F;
    /// The lowest 8 bits of each word, as a number.
    unsafe fn low_byte(words: Self::I) -> Self::F;
    unsafe fn shift_right(words: Self::I, bits: u32) -> Self::I;
    /// Field `k` of each word, of `BITS` bits, times what [`Simd::unit`] undoes: it is read where
    /// it lies, which saves a shift. In the highest place it would be taken for a sign.
    #[inline(always)]
    unsafe fn field<const BITS: u32>(words: Self::I, k: usize) -> Self::F {
        let (place, mask) = (BITS * k as u32, u32::MAX >> (32 - BITS));
        // SAFETY: the caller's.
        unsafe {
            Self::signed(match place + BITS {
                32 => Self::shift_right(words, place),
                _ => Self::and(words, Self::splat_word(mask << place)),
            })
        }
    }
    /// What an input is multiplied by before it meets [`Simd::field`] `k`. No product changes by a
    /// power of two and back, as long as the input is zero or [`super::gptq::SMALLEST_INPUT`] at
    /// least.
    #[inline(always)]
    fn unit<const BITS: u32>(k: usize) -> f32 {
        let place = BITS * k as u32;
        if place + BITS < 32 {
            1.0 / (1u32 << place) as f32
        } else {
            1.0
        }
    }
    /// `LANES` consecutive 4-bit fields from `LANES / 8` words, as numbers.
    unsafe fn nibbles(from: *const u8) -> Self::F;
    /// `LANES` consecutive bytes, as numbers.
    unsafe fn bytes(from: *const u8) -> Self::F;
    /// The sum of all lanes, in a fixed order.
    unsafe fn sum(value: Self::F) -> f32;
    /// Adds the sum of each of four vectors to four consecutive values, every one in the same fixed
    /// order.
    unsafe fn add_sums(to: *mut f32, vectors: [Self::F; 4]);
    /// Asks for a cache line that will be read soon; any address will do.
    #[inline(always)]
    fn prefetch(from: *const u8) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every processor of this architecture has the instruction, which touches nothing.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(from.cast())
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = from;
    }
    /// The same for a line that is read once: `PAST` the caches, or into the second level. See
    /// [`super::isa::reads_past_caches`].
    #[inline(always)]
    fn prefetch_once<const PAST: bool>(from: *const u8) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        unsafe {
            if PAST {
                _mm_prefetch::<_MM_HINT_NTA>(from.cast())
            } else {
                _mm_prefetch::<_MM_HINT_T1>(from.cast())
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = from;
    }
}

/// Code that is compiled once for each instruction set. Implementations are `#[inline(always)]`, so
/// that they take on the features of the function they are called from.
pub(crate) trait Kernel {
    type Output;
    /// # Safety
    /// The instruction set `S` is there.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}
