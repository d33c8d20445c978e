//! AVX2 vectors: 8 lanes, 16 registers.
#![cfg(target_arch = "x86_64")]

use std::arch::{is_x86_feature_detected, x86_64::*};

use super::{
    dot::{Dot, DotKernel},
    features::with_features,
    plain::{read, write},
    simd::{Kernel, Simd},
};

/// Proves that the processor has AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2(());

/// Proves that the processor has AVX-VNNI in addition to [`Avx2`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vnni(Avx2);

impl Avx2 {
    /// Returns a witness if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        found.then_some(Self(()))
    }

    /// Runs a kernel compiled for these instructions.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `detect` has found the three features on this processor, or `self` would not
        // exist.
        unsafe { compiled(self, kernel) }
    }

    /// Runs a kernel that multiplies bytes.
    pub(crate) fn run_dots<K: DotKernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled<K: DotKernel>(simd: Avx2, kernel: K) -> K::Output {
            kernel.run(simd, simd)
        }
        // SAFETY: `detect` has found the three features on this processor, or `self` would not
        // exist.
        unsafe { compiled(self, kernel) }
    }
}

impl Vnni {
    /// Returns a witness if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let avx2 = Avx2::detect()?;
        is_x86_feature_detected!("avxvnni").then_some(Self(avx2))
    }

    /// Returns the vectors for kernels that multiply no bytes.
    pub(crate) fn simd(self) -> Avx2 {
        self.0
    }

    /// Runs a kernel that multiplies bytes, with the instruction for it.
    pub(crate) fn run_dots<K: DotKernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,avxvnni,fma,f16c")]
        fn compiled<K: DotKernel>(dot: Vnni, kernel: K) -> K::Output {
            kernel.run(dot.0, dot)
        }
        // SAFETY: `detect` has found AVX-VNNI, and through `Avx2::detect` the other features, on
        // this processor, or `self` would not exist.
        unsafe { compiled(self, kernel) }
    }
}

impl Dot<Avx2> for Vnni {
    const TILE_ROWS: usize = 3;
    with_features! { "avx2,avxvnni"
        fn add_dot<const BITS: u32>(
            self,
            sums: __m256i,
            unsigned: __m256i,
            signed: __m256i
        ) -> __m256i {
            _mm256_dpbusd_avx_epi32(sums, unsigned, signed)
        }
    }
}

/// Returns the sums of the four products of each word. Sums of two products must fit 16 bits.
#[target_feature(enable = "avx2")]
#[inline]
fn sums_of_products(unsigned: __m256i, signed: __m256i) -> __m256i {
    _mm256_madd_epi16(_mm256_maddubs_epi16(unsigned, signed), _mm256_set1_epi16(1))
}

impl Dot<Avx2> for Avx2 {
    const TILE_ROWS: usize = 2;
    with_features! { "avx2"
        /// The instruction adds two products of bytes in 16 bits. With 8-bit fields the sum would
        /// overflow, so their highest bit is multiplied separately.
        fn add_dot<const BITS: u32>(
            self,
            sums: __m256i,
            unsigned: __m256i,
            signed: __m256i
        ) -> __m256i {
            if BITS == 4 {
                return _mm256_add_epi32(sums, sums_of_products(unsigned, signed));
            }
            let top = _mm256_set1_epi8(-128);
            let low = _mm256_andnot_si256(top, unsigned);
            let high = _mm256_and_si256(top, unsigned);
            _mm256_add_epi32(
                _mm256_add_epi32(sums, sums_of_products(low, signed)),
                sums_of_products(high, signed),
            )
        }
    }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 3;
    type F = __m256;
    type I = __m256i;
    type Floats = [f32; 8];
    type Words = [u32; 8];
    type Packed4 = [u8; 4];
    type Packed8 = [u8; 8];
    type Packed16 = [u8; 16];
    type Packed32 = [u8; 32];

    #[inline(always)]
    fn load(self, from: &[f32; 8]) -> __m256 {
        read(from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; 8], value: __m256) {
        write(to, value);
    }
    #[inline(always)]
    fn load_f32(self, from: &[u8; 32]) -> __m256 {
        read(from)
    }
    #[inline(always)]
    fn load_words(self, from: &[u32; 8]) -> __m256i {
        read(from)
    }
    #[inline(always)]
    fn store_words(self, to: &mut [u32; 8], words: __m256i) {
        write(to, words);
    }
    #[inline(always)]
    fn load_packed(self, from: &[u8; 32]) -> __m256i {
        read(from)
    }
    #[inline(always)]
    fn fma_one(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    with_features! { "avx2,fma,f16c"
        fn splat(self, value: f32) -> __m256 {
            _mm256_set1_ps(value)
        }
        fn load_f16(self, from: &[u8; 16]) -> __m256 {
            _mm256_cvtph_ps(read(from))
        }
        fn load_bf16(self, from: &[u8; 16]) -> __m256 {
            let wide = _mm256_cvtepu16_epi32(read(from));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
        fn splat_word(self, word: u32) -> __m256i {
            _mm256_set1_epi32(word as i32)
        }
        fn and(self, words: __m256i, mask: __m256i) -> __m256i {
            _mm256_and_si256(words, mask)
        }
        fn even_nibbles(self, words: __m256i) -> __m256i {
            _mm256_and_si256(words, _mm256_set1_epi8(15))
        }
        fn signed(self, words: __m256i) -> __m256 {
            _mm256_cvtepi32_ps(words)
        }
        fn add(self, a: __m256, b: __m256) -> __m256 {
            _mm256_add_ps(a, b)
        }
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            _mm256_mul_ps(a, b)
        }
        fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            _mm256_fmadd_ps(a, b, c)
        }
        fn fused(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            _mm256_fmadd_ps(a, b, c)
        }
        fn low_nibble(self, words: __m256i) -> __m256 {
            _mm256_cvtepi32_ps(_mm256_and_si256(words, _mm256_set1_epi32(15)))
        }
        fn low_byte(self, words: __m256i) -> __m256 {
            _mm256_cvtepi32_ps(_mm256_and_si256(words, _mm256_set1_epi32(255)))
        }
        fn shift_right(self, words: __m256i, bits: u32) -> __m256i {
            _mm256_srl_epi32(words, _mm_cvtsi32_si128(bits as i32))
        }
        fn nibbles(self, from: &[u8; 4]) -> __m256 {
            let shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
            let words = _mm256_srlv_epi32(_mm256_set1_epi32(read(from)), shifts);
            _mm256_cvtepi32_ps(_mm256_and_si256(words, _mm256_set1_epi32(15)))
        }
        fn bytes(self, from: &[u8; 8]) -> __m256 {
            let bytes = _mm_cvtsi64_si128(read(from));
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
        }
        fn sum(self, value: __m256) -> f32 {
            let half = _mm_add_ps(
                _mm256_castps256_ps128(value),
                _mm256_extractf128_ps::<1>(value),
            );
            let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
        }
        /// Adds pairs of lanes while it interleaves the vectors: 7 shuffles for four sums.
        fn add_sums(self, to: &mut [f32; 4], vectors: [__m256; 4]) {
            let [a, b, c, d] = vectors;
            let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let all = _mm256_add_ps(
                _mm256_shuffle_ps::<0x44>(ab, cd),
                _mm256_shuffle_ps::<0xEE>(ab, cd),
            );
            let sums = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps::<1>(all));
            write(to, _mm_add_ps(read(to), sums));
        }
    }
}
