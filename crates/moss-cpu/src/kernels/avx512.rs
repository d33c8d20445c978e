//! AVX-512 vectors: 16 lanes, 32 registers.
#![cfg(target_arch = "x86_64")]

use std::arch::{is_x86_feature_detected, x86_64::*};

use super::{
    avx2::Avx2,
    dot::{Dot, DotKernel},
    features::with_features,
    plain::{read, write},
    simd::{Kernel, Simd},
};

/// Proves that the processor has AVX-512 F, BW, VL and DQ, AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512(());

/// Proves that the processor has AVX-512 VNNI in addition to [`Avx512`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vnni(Avx512);

impl Avx512 {
    /// Returns a witness if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        Avx2::detect()?;
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        found.then_some(Self(()))
    }

    /// Runs a kernel compiled for these instructions.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
        fn compiled<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `detect` has found the four AVX-512 features, and through `Avx2::detect` the other
        // three, on this processor, or `self` would not exist.
        unsafe { compiled(self, kernel) }
    }

    /// Runs a kernel that multiplies bytes.
    pub(crate) fn run_dots<K: DotKernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
        fn compiled<K: DotKernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd, simd)
        }
        // SAFETY: `detect` has found the four AVX-512 features, and through `Avx2::detect` the other
        // three, on this processor, or `self` would not exist.
        unsafe { compiled(self, kernel) }
    }
}

impl Vnni {
    /// Returns a witness if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let avx512 = Avx512::detect()?;
        is_x86_feature_detected!("avx512vnni").then_some(Self(avx512))
    }

    /// Returns the vectors for kernels that multiply no bytes.
    pub(crate) fn simd(self) -> Avx512 {
        self.0
    }

    /// Runs a kernel that multiplies bytes, with the instruction for it.
    pub(crate) fn run_dots<K: DotKernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
        fn compiled<K: DotKernel>(dot: Vnni, kernel: K) -> K::Output {
            kernel.run(dot.0, dot)
        }
        // SAFETY: `detect` has found AVX-512 VNNI, and through `Avx512::detect` the other features,
        // on this processor, or `self` would not exist.
        unsafe { compiled(self, kernel) }
    }
}

impl Dot<Avx512> for Vnni {
    const TILE_ROWS: usize = 6;
    with_features! { "avx512f,avx512vnni"
        fn add_dot<const BITS: u32>(
            self,
            sums: __m512i,
            unsigned: __m512i,
            signed: __m512i
        ) -> __m512i {
            _mm512_dpbusd_epi32(sums, unsigned, signed)
        }
    }
}

/// Returns the sums of the four products of each word. Sums of two products must fit 16 bits.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn sums_of_products(unsigned: __m512i, signed: __m512i) -> __m512i {
    _mm512_madd_epi16(_mm512_maddubs_epi16(unsigned, signed), _mm512_set1_epi16(1))
}

impl Dot<Avx512> for Avx512 {
    const TILE_ROWS: usize = 6;
    with_features! { "avx512f,avx512bw"
        /// The instruction adds two products of bytes in 16 bits. With 8-bit fields the sum would
        /// overflow, so their highest bit is multiplied separately.
        fn add_dot<const BITS: u32>(
            self,
            sums: __m512i,
            unsigned: __m512i,
            signed: __m512i
        ) -> __m512i {
            if BITS == 4 {
                return _mm512_add_epi32(sums, sums_of_products(unsigned, signed));
            }
            let top = _mm512_set1_epi8(-128);
            let low = _mm512_andnot_si512(top, unsigned);
            let high = _mm512_and_si512(top, unsigned);
            _mm512_add_epi32(
                _mm512_add_epi32(sums, sums_of_products(low, signed)),
                sums_of_products(high, signed),
            )
        }
    }
}

/// Converts the lowest 4 bits of each word. A permutation uses only the lowest four bits of its
/// indices, so a table look-up masks and converts in one instruction.
#[target_feature(enable = "avx512f")]
#[inline]
fn low_nibble(words: __m512i) -> __m512 {
    let table = _mm512_setr_ps(
        0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.,
    );
    _mm512_permutexvar_ps(words, table)
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const TILE_ROWS: usize = 6;
    type F = __m512;
    type I = __m512i;
    type Floats = [f32; 16];
    type Words = [u32; 16];
    type Packed4 = [u8; 8];
    type Packed8 = [u8; 16];
    type Packed16 = [u8; 32];
    type Packed32 = [u8; 64];

    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> __m512 {
        read(from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; 16], value: __m512) {
        write(to, value);
    }
    #[inline(always)]
    fn load_f32(self, from: &[u8; 64]) -> __m512 {
        read(from)
    }
    #[inline(always)]
    fn load_words(self, from: &[u32; 16]) -> __m512i {
        read(from)
    }
    #[inline(always)]
    fn store_words(self, to: &mut [u32; 16], words: __m512i) {
        write(to, words);
    }
    #[inline(always)]
    fn load_packed(self, from: &[u8; 64]) -> __m512i {
        read(from)
    }
    #[inline(always)]
    fn fma_one(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    /// The table look-up of 4 bits is faster than a conversion, but needs the lowest place.
    #[inline(always)]
    fn field<const BITS: u32>(self, words: __m512i, k: usize) -> __m512 {
        let lowest = self.shift_right(words, BITS * k as u32);
        if BITS == 4 {
            self.low_nibble(lowest)
        } else {
            self.low_byte(lowest)
        }
    }
    #[inline(always)]
    fn unit<const BITS: u32>(self, _k: usize) -> f32 {
        1.0
    }

    with_features! { "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c"
        fn splat(self, value: f32) -> __m512 {
            _mm512_set1_ps(value)
        }
        fn load_f16(self, from: &[u8; 32]) -> __m512 {
            _mm512_cvtph_ps(read(from))
        }
        fn load_bf16(self, from: &[u8; 32]) -> __m512 {
            let wide = _mm512_cvtepu16_epi32(read(from));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
        fn splat_word(self, word: u32) -> __m512i {
            _mm512_set1_epi32(word as i32)
        }
        fn and(self, words: __m512i, mask: __m512i) -> __m512i {
            _mm512_and_si512(words, mask)
        }
        fn even_nibbles(self, words: __m512i) -> __m512i {
            _mm512_and_si512(words, _mm512_set1_epi8(15))
        }
        fn signed(self, words: __m512i) -> __m512 {
            _mm512_cvtepi32_ps(words)
        }
        fn add(self, a: __m512, b: __m512) -> __m512 {
            _mm512_add_ps(a, b)
        }
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            _mm512_mul_ps(a, b)
        }
        fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            _mm512_fmadd_ps(a, b, c)
        }
        fn fused(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            _mm512_fmadd_ps(a, b, c)
        }
        fn low_nibble(self, words: __m512i) -> __m512 {
            low_nibble(words)
        }
        fn low_byte(self, words: __m512i) -> __m512 {
            _mm512_cvtepi32_ps(_mm512_and_si512(words, _mm512_set1_epi32(255)))
        }
        fn shift_right(self, words: __m512i, bits: u32) -> __m512i {
            _mm512_srl_epi32(words, _mm_cvtsi32_si128(bits as i32))
        }
        fn nibbles(self, from: &[u8; 8]) -> __m512 {
            let pair = _mm512_set1_epi64(read(from));
            let words = _mm512_permutexvar_epi32(
                _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                pair,
            );
            let shifts =
                _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
            low_nibble(_mm512_srlv_epi32(words, shifts))
        }
        fn bytes(self, from: &[u8; 16]) -> __m512 {
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(read(from)))
        }
        fn sum(self, value: __m512) -> f32 {
            _mm512_reduce_add_ps(value)
        }
        /// Adds pairs of lanes while it interleaves the vectors: 8 shuffles for four sums.
        fn add_sums(self, to: &mut [f32; 4], vectors: [__m512; 4]) {
            let [a, b, c, d] = vectors;
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let all = _mm512_add_ps(
                _mm512_shuffle_ps::<0x44>(ab, cd),
                _mm512_shuffle_ps::<0xEE>(ab, cd),
            );
            let half = _mm256_add_ps(
                _mm512_castps512_ps256(all),
                _mm512_extractf32x8_ps::<1>(all),
            );
            let sums = _mm_add_ps(
                _mm256_castps256_ps128(half),
                _mm256_extractf128_ps::<1>(half),
            );
            write(to, _mm_add_ps(read(to), sums));
        }
    }
}
