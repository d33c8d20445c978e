//! Vectors for any machine: arrays that the compiler may or may not keep in registers.

use half::{bf16, f16};

use super::{dot::Dot, simd::Simd};

const LANES: usize = 8;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn lanes<T: Copy, U>(a: [T; LANES], f: impl Fn(T) -> U) -> [U; LANES] {
    a.map(f)
}

// SAFETY (of every body): the trait's contract gives the pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Portable {
    const LANES: usize = LANES;
    const TILE_ROWS: usize = 3;
    type F = [f32; LANES];
    type I = [u32; LANES];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::F {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        unsafe { from.cast::<Self::F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::F) {
        unsafe { to.cast::<Self::F>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> Self::F {
        let bits = unsafe { from.cast::<[[u8; 2]; LANES]>().read_unaligned() };
        lanes(bits, |bits| f16::from_le_bytes(bits).to_f32())
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> Self::F {
        let bits = unsafe { from.cast::<[[u8; 2]; LANES]>().read_unaligned() };
        lanes(bits, |bits| bf16::from_le_bytes(bits).to_f32())
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u8) -> Self::I {
        lanes(
            unsafe { from.cast::<[[u8; 4]; LANES]>().read_unaligned() },
            u32::from_le_bytes,
        )
    }
    #[inline(always)]
    unsafe fn splat_word(word: u32) -> Self::I {
        [word; LANES]
    }
    #[inline(always)]
    unsafe fn store_words(to: *mut u32, words: Self::I) {
        unsafe {
            to.cast::<[[u8; 4]; LANES]>()
                .write_unaligned(lanes(words, u32::to_le_bytes))
        }
    }
    #[inline(always)]
    unsafe fn and(words: Self::I, mask: Self::I) -> Self::I {
        std::array::from_fn(|i| words[i] & mask[i])
    }
    #[inline(always)]
    unsafe fn even_nibbles(words: Self::I) -> Self::I {
        lanes(words, |word| word & 0x0F0F_0F0F)
    }
    #[inline(always)]
    unsafe fn signed(words: Self::I) -> Self::F {
        lanes(words, |word| word as i32 as f32)
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn fused(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    /// Two roundings: a fused multiply-add without the instruction is a slow library call.
    #[inline(always)]
    unsafe fn fma_one(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    unsafe fn low_nibble(words: Self::I) -> Self::F {
        lanes(words, |word| (word & 15) as f32)
    }
    #[inline(always)]
    unsafe fn low_byte(words: Self::I) -> Self::F {
        lanes(words, |word| (word & 255) as f32)
    }
    #[inline(always)]
    unsafe fn shift_right(words: Self::I, bits: u32) -> Self::I {
        lanes(words, |word| word >> bits)
    }
    #[inline(always)]
    unsafe fn nibbles(from: *const u8) -> Self::F {
        let word = u32::from_le_bytes(unsafe { from.cast::<[u8; 4]>().read_unaligned() });
        std::array::from_fn(|i| (word >> (4 * i) & 15) as f32)
    }
    #[inline(always)]
    unsafe fn bytes(from: *const u8) -> Self::F {
        lanes(
            unsafe { from.cast::<[u8; LANES]>().read_unaligned() },
            f32::from,
        )
    }
    #[inline(always)]
    unsafe fn sum(value: Self::F) -> f32 {
        let half: [f32; 4] = std::array::from_fn(|i| value[i] + value[i + 4]);
        (half[0] + half[2]) + (half[1] + half[3])
    }
    #[inline(always)]
    unsafe fn add_sums(to: *mut f32, vectors: [Self::F; 4]) {
        for (at, vector) in vectors.into_iter().enumerate() {
            unsafe { *to.add(at) += Self::sum(vector) };
        }
    }
}

impl Dot<Portable> for Portable {
    const TILE_ROWS: usize = 2;
    #[inline(always)]
    unsafe fn add_dot<const BITS: u32>(
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
