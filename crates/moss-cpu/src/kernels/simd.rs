//! The vector operations that the kernels consist of.

use super::plain::Plain;

/// Vectors of one instruction set. A value of an implementing type is a witness: it exists only if
/// the processor has the instruction set, which makes every method safe to call.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// Values in a vector: 16 or 8.
    const LANES: usize;
    /// Rows of `x` in a tile of four vectors: as many as the registers hold, 6 or 3.
    const TILE_ROWS: usize;
    /// `LANES` f32 values in registers.
    type F: Copy;
    /// `LANES` 32-bit words in registers.
    type I: Copy;
    /// `[f32; LANES]`
    type Floats: Chunk<f32>;
    /// `[u32; LANES]`
    type Words: Chunk<u32>;
    /// The bytes of `LANES` fields of 4 bits, `[u8; LANES / 2]`.
    type Packed4: Chunk<u8>;
    /// The bytes of `LANES` fields of 8 bits, `[u8; LANES]`.
    type Packed8: Chunk<u8>;
    /// The bytes of `LANES` fields of 16 bits, `[u8; 2 * LANES]`.
    type Packed16: Chunk<u8>;
    /// The bytes of `LANES` fields of 32 bits, `[u8; 4 * LANES]`.
    type Packed32: Chunk<u8>;

    fn splat(self, value: f32) -> Self::F;
    fn load(self, from: &Self::Floats) -> Self::F;
    fn store(self, to: &mut Self::Floats, value: Self::F);
    fn load_f32(self, from: &Self::Packed32) -> Self::F;
    fn load_f16(self, from: &Self::Packed16) -> Self::F;
    fn load_bf16(self, from: &Self::Packed16) -> Self::F;
    fn splat_word(self, word: u32) -> Self::I;
    fn load_words(self, from: &Self::Words) -> Self::I;
    fn store_words(self, to: &mut Self::Words, words: Self::I);
    /// Loads little-endian words.
    fn load_packed(self, from: &Self::Packed32) -> Self::I;
    fn and(self, words: Self::I, mask: Self::I) -> Self::I;
    /// Returns the lower 4 bits of each byte, as bytes.
    fn even_nibbles(self, words: Self::I) -> Self::I;
    /// Converts each word, a signed integer.
    fn signed(self, words: Self::I) -> Self::F;
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// Returns `a * b + c`: rounded once, or twice without an instruction for it.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Returns `a * b + c`, rounded once on every instruction set. Slow without an instruction.
    fn fused(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Returns `a * b + c` for one value, rounded as [`Simd::fma`] rounds.
    fn fma_one(self, a: f32, b: f32, c: f32) -> f32;
    /// Converts the lowest 4 bits of each word, an unsigned integer.
    fn low_nibble(self, words: Self::I) -> Self::F;
    /// Converts the lowest 8 bits of each word, an unsigned integer.
    fn low_byte(self, words: Self::I) -> Self::F;
    fn shift_right(self, words: Self::I, bits: u32) -> Self::I;
    /// Converts field `k` of each word, of `BITS` bits, without a shift: the result is scaled by a
    /// power of two, which [`Simd::unit`] undoes. The highest field is shifted, because a set sign
    /// bit would make it negative.
    #[inline(always)]
    fn field<const BITS: u32>(self, words: Self::I, k: usize) -> Self::F {
        let (place, mask) = (BITS * k as u32, u32::MAX >> (32 - BITS));
        self.signed(match place + BITS {
            32 => self.shift_right(words, place),
            _ => self.and(words, self.splat_word(mask << place)),
        })
    }
    /// Returns the factor for an input that is multiplied with [`Simd::field`] `k`. Scaling by a
    /// power of two and back changes no product, if the input is zero or at least
    /// `gptq::SMALLEST_INPUT`.
    #[inline(always)]
    fn unit<const BITS: u32>(self, k: usize) -> f32 {
        let place = BITS * k as u32;
        if place + BITS < 32 {
            1.0 / (1u32 << place) as f32
        } else {
            1.0
        }
    }
    /// Converts consecutive 4-bit fields.
    fn nibbles(self, from: &Self::Packed4) -> Self::F;
    /// Converts consecutive bytes.
    fn bytes(self, from: &Self::Packed8) -> Self::F;
    /// Returns the sum of all lanes, added in a fixed order.
    fn sum(self, value: Self::F) -> f32;
    /// Adds the sum of each vector to one of four values, every one in the same fixed order.
    fn add_sums(self, to: &mut [f32; 4], vectors: [Self::F; 4]);
}

/// An array of values that a vector load reads. Slices are split into chunks before a loop, so that
/// the loop has one bounds check per chunk, or none.
pub(crate) trait Chunk<T>: Plain + Send + Sync {
    /// Returns the whole chunks of `values`, without the remainder.
    fn split(values: &[T]) -> &[Self];
    /// Returns the whole chunks of `values`, without the remainder.
    fn split_mut(values: &mut [T]) -> &mut [Self];
}

impl<T: Plain + Send + Sync, const N: usize> Chunk<T> for [T; N] {
    #[inline(always)]
    fn split(values: &[T]) -> &[Self] {
        values.as_chunks().0
    }
    #[inline(always)]
    fn split_mut(values: &mut [T]) -> &mut [Self] {
        values.as_chunks_mut().0
    }
}

/// Code that is compiled once for each instruction set. Implementations are `#[inline(always)]`, so
/// that they are compiled with the features of the function that calls them.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}
