//! Vectors for any processor: arrays, which the compiler may keep in registers.

use half::{bf16, f16};

use super::{
    dot::Dot,
    simd::{Chunk, Simd},
};

const LANES: usize = 8;

/// Needs no instructions, so every value is a valid witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Portable;

#[inline(always)]
fn lanes<T: Copy, U>(a: [T; LANES], f: impl Fn(T) -> U) -> [U; LANES] {
    a.map(f)
}

/// Returns the bytes of each lane.
#[inline(always)]
fn split<const BYTES: usize>(bytes: &[u8]) -> [[u8; BYTES]; LANES] {
    let fields = <[u8; BYTES]>::split(bytes);
    std::array::from_fn(|i| fields[i])
}

impl Simd for Portable {
    const LANES: usize = LANES;
    const TILE_ROWS: usize = 3;
    type F = [f32; LANES];
    type I = [u32; LANES];
    type Floats = [f32; LANES];
    type Words = [u32; LANES];
    type Packed4 = [u8; LANES / 2];
    type Packed8 = [u8; LANES];
    type Packed16 = [u8; 2 * LANES];
    type Packed32 = [u8; 4 * LANES];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [value; LANES]
    }
    #[inline(always)]
    fn load(self, from: &Self::Floats) -> Self::F {
        *from
    }
    #[inline(always)]
    fn store(self, to: &mut Self::Floats, value: Self::F) {
        *to = value;
    }
    #[inline(always)]
    fn load_f32(self, from: &Self::Packed32) -> Self::F {
        lanes(split(from), f32::from_le_bytes)
    }
    #[inline(always)]
    fn load_f16(self, from: &Self::Packed16) -> Self::F {
        lanes(split(from), |bits| f16::from_le_bytes(bits).to_f32())
    }
    #[inline(always)]
    fn load_bf16(self, from: &Self::Packed16) -> Self::F {
        lanes(split(from), |bits| bf16::from_le_bytes(bits).to_f32())
    }
    #[inline(always)]
    fn splat_word(self, word: u32) -> Self::I {
        [word; LANES]
    }
    #[inline(always)]
    fn load_words(self, from: &Self::Words) -> Self::I {
        *from
    }
    #[inline(always)]
    fn store_words(self, to: &mut Self::Words, words: Self::I) {
        *to = words;
    }
    #[inline(always)]
    fn load_packed(self, from: &Self::Packed32) -> Self::I {
        lanes(split(from), u32::from_le_bytes)
    }
    #[inline(always)]
    fn and(self, words: Self::I, mask: Self::I) -> Self::I {
        std::array::from_fn(|i| words[i] & mask[i])
    }
    #[inline(always)]
    fn even_nibbles(self, words: Self::I) -> Self::I {
        lanes(words, |word| word & 0x0F0F_0F0F)
    }
    #[inline(always)]
    fn signed(self, words: Self::I) -> Self::F {
        lanes(words, |word| word as i32 as f32)
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn fused(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    /// Rounds twice: without an instruction, a fused multiply-add is a slow library call.
    #[inline(always)]
    fn fma_one(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    fn low_nibble(self, words: Self::I) -> Self::F {
        lanes(words, |word| (word & 15) as f32)
    }
    #[inline(always)]
    fn low_byte(self, words: Self::I) -> Self::F {
        lanes(words, |word| (word & 255) as f32)
    }
    #[inline(always)]
    fn shift_right(self, words: Self::I, bits: u32) -> Self::I {
        lanes(words, |word| word >> bits)
    }
    #[inline(always)]
    fn nibbles(self, from: &Self::Packed4) -> Self::F {
        let word = u32::from_le_bytes(*from);
        std::array::from_fn(|i| (word >> (4 * i) & 15) as f32)
    }
    #[inline(always)]
    fn bytes(self, from: &Self::Packed8) -> Self::F {
        lanes(*from, f32::from)
    }
    #[inline(always)]
    fn sum(self, value: Self::F) -> f32 {
        let half: [f32; 4] = std::array::from_fn(|i| value[i] + value[i + 4]);
        (half[0] + half[2]) + (half[1] + half[3])
    }
    #[inline(always)]
    fn add_sums(self, to: &mut [f32; 4], vectors: [Self::F; 4]) {
        for (to, vector) in to.iter_mut().zip(vectors) {
            *to += self.sum(vector);
        }
    }
}

impl Dot<Portable> for Portable {
    const TILE_ROWS: usize = 2;
    #[inline(always)]
    fn add_dot<const BITS: u32>(
        self,
        sums: [u32; LANES],
        unsigned: [u32; LANES],
        signed: [u32; LANES],
    ) -> [u32; LANES] {
        std::array::from_fn(|i| {
            let pairs = unsigned[i]
                .to_le_bytes()
                .into_iter()
                .zip(signed[i].to_le_bytes());
            let products = pairs.map(|(a, b)| i32::from(a) * i32::from(b as i8));
            sums[i].wrapping_add_signed(products.sum())
        })
    }
}
