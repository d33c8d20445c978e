//! AVX2 vectors: 8 lanes, 16 registers.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;

use super::{
    dot::{Dot, DotKernel},
    simd::{Kernel, Simd},
};

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// # Safety
/// The machine has the features listed.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own contract.
    unsafe { kernel.run::<Avx2>() }
}

/// As [`run`], for a kernel that multiplies bytes.
///
/// # Safety
/// The machine has the features listed.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn run_dots<K: DotKernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own contract.
    unsafe { kernel.run::<Avx2, Avx2>() }
}

/// The same with the instruction made for it.
///
/// # Safety
/// The machine has the features listed.
#[target_feature(enable = "avx2,avxvnni,fma,f16c")]
pub(crate) unsafe fn run_vnni<K: DotKernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own contract.
    unsafe { kernel.run::<Avx2, Vnni>() }
}

#[derive(Clone, Copy)]
pub(crate) struct Vnni;

#[allow(clippy::undocumented_unsafe_blocks)]
impl Dot<Avx2> for Vnni {
    const TILE_ROWS: usize = 3;
    #[inline(always)]
    unsafe fn add_dot<const BITS: u32>(
        sums: __m256i,
        unsigned: __m256i,
        signed: __m256i,
    ) -> __m256i {
        unsafe { _mm256_dpbusd_avx_epi32(sums, unsigned, signed) }
    }
}

/// The four products of each word, whose pairs must fit 16 bits.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn pairs(unsigned: __m256i, signed: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe { _mm256_madd_epi16(_mm256_maddubs_epi16(unsigned, signed), _mm256_set1_epi16(1)) }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Dot<Avx2> for Avx2 {
    const TILE_ROWS: usize = 2;
    /// Two products of bytes are added in 16 bits, which two of eight bits would pass: their
    /// highest bit goes its own way.
    #[inline(always)]
    unsafe fn add_dot<const BITS: u32>(
        sums: __m256i,
        unsigned: __m256i,
        signed: __m256i,
    ) -> __m256i {
        unsafe {
            if BITS == 4 {
                return _mm256_add_epi32(sums, pairs(unsigned, signed));
            }
            let top = _mm256_set1_epi8(-128);
            let (low, high) = (
                _mm256_andnot_si256(top, unsigned),
                _mm256_and_si256(top, unsigned),
            );
            _mm256_add_epi32(
                _mm256_add_epi32(sums, pairs(low, signed)),
                pairs(high, signed),
            )
        }
    }
}

// SAFETY (of every body): the trait's contract gives the features and the pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx2 {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 3;
    type F = __m256;
    type I = __m256i;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m256) {
        unsafe { _mm256_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> __m256 {
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u8) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_word(word: u32) -> __m256i {
        unsafe { _mm256_set1_epi32(word as i32) }
    }
    #[inline(always)]
    unsafe fn store_words(to: *mut u32, words: __m256i) {
        unsafe { _mm256_storeu_si256(to.cast(), words) }
    }
    #[inline(always)]
    unsafe fn and(words: __m256i, mask: __m256i) -> __m256i {
        unsafe { _mm256_and_si256(words, mask) }
    }
    #[inline(always)]
    unsafe fn even_nibbles(words: __m256i) -> __m256i {
        unsafe { _mm256_and_si256(words, _mm256_set1_epi8(15)) }
    }
    #[inline(always)]
    unsafe fn signed(words: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(words) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fused(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { Self::fma(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fma_one(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    unsafe fn low_nibble(words: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_and_si256(words, _mm256_set1_epi32(15))) }
    }
    #[inline(always)]
    unsafe fn low_byte(words: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_and_si256(words, _mm256_set1_epi32(255))) }
    }
    #[inline(always)]
    unsafe fn shift_right(words: __m256i, bits: u32) -> __m256i {
        unsafe { _mm256_srl_epi32(words, _mm_cvtsi32_si128(bits as i32)) }
    }
    #[inline(always)]
    unsafe fn nibbles(from: *const u8) -> __m256 {
        unsafe {
            let words = _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
            Self::low_nibble(_mm256_srlv_epi32(
                words,
                _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28),
            ))
        }
    }
    #[inline(always)]
    unsafe fn bytes(from: *const u8) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn sum(value: __m256) -> f32 {
        unsafe {
            let half = _mm_add_ps(
                _mm256_castps256_ps128(value),
                _mm256_extractf128_ps::<1>(value),
            );
            let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
        }
    }
    /// Pairs of lanes are added as the vectors are interleaved: 7 shuffles for four sums.
    #[inline(always)]
    unsafe fn add_sums(to: *mut f32, [a, b, c, d]: [__m256; 4]) {
        unsafe {
            let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let all = _mm256_add_ps(
                _mm256_shuffle_ps::<0x44>(ab, cd),
                _mm256_shuffle_ps::<0xEE>(ab, cd),
            );
            let sums = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps::<1>(all));
            _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), sums));
        }
    }
}
