//! AVX-512 vectors: 16 lanes, 32 registers.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;

use super::{
    dot::{Dot, DotKernel},
    simd::{Kernel, Simd},
};

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// # Safety
/// The machine has the features listed.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own contract.
    unsafe { kernel.run::<Avx512>() }
}

/// As [`run`], for a kernel that multiplies bytes.
///
/// # Safety
/// The machine has the features listed.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
pub(crate) unsafe fn run_dots<K: DotKernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own contract.
    unsafe { kernel.run::<Avx512, Avx512>() }
}

/// The same with the instruction made for it.
///
/// # Safety
/// The machine has the features listed.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn run_vnni<K: DotKernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own contract.
    unsafe { kernel.run::<Avx512, Vnni>() }
}

#[derive(Clone, Copy)]
pub(crate) struct Vnni;

#[allow(clippy::undocumented_unsafe_blocks)]
impl Dot<Avx512> for Vnni {
    const TILE_ROWS: usize = 6;
    #[inline(always)]
    unsafe fn add_dot<const BITS: u32>(
        sums: __m512i,
        unsigned: __m512i,
        signed: __m512i,
    ) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sums, unsigned, signed) }
    }
}

/// The four products of each word, whose pairs must fit 16 bits.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn pairs(unsigned: __m512i, signed: __m512i) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_madd_epi16(_mm512_maddubs_epi16(unsigned, signed), _mm512_set1_epi16(1)) }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Dot<Avx512> for Avx512 {
    const TILE_ROWS: usize = 6;
    /// Two products of bytes are added in 16 bits, which two of eight bits would pass: their
    /// highest bit goes its own way.
    #[inline(always)]
    unsafe fn add_dot<const BITS: u32>(
        sums: __m512i,
        unsigned: __m512i,
        signed: __m512i,
    ) -> __m512i {
        unsafe {
            if BITS == 4 {
                return _mm512_add_epi32(sums, pairs(unsigned, signed));
            }
            let top = _mm512_set1_epi8(-128);
            let (low, high) = (
                _mm512_andnot_si512(top, unsigned),
                _mm512_and_si512(top, unsigned),
            );
            _mm512_add_epi32(
                _mm512_add_epi32(sums, pairs(low, signed)),
                pairs(high, signed),
            )
        }
    }
}

// SAFETY (of every body): the trait's contract gives the features and the pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx512 {
    const LANES: usize = 16;
    const TILE_ROWS: usize = 6;
    type F = __m512;
    type I = __m512i;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_word(word: u32) -> __m512i {
        unsafe { _mm512_set1_epi32(word as i32) }
    }
    #[inline(always)]
    unsafe fn store_words(to: *mut u32, words: __m512i) {
        unsafe { _mm512_storeu_si512(to.cast(), words) }
    }
    #[inline(always)]
    unsafe fn and(words: __m512i, mask: __m512i) -> __m512i {
        unsafe { _mm512_and_si512(words, mask) }
    }
    #[inline(always)]
    unsafe fn even_nibbles(words: __m512i) -> __m512i {
        unsafe { _mm512_and_si512(words, _mm512_set1_epi8(15)) }
    }
    #[inline(always)]
    unsafe fn signed(words: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(words) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fused(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { Self::fma(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fma_one(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    /// A permutation looks at the lowest four bits of its index alone: as a table look-up it masks
    /// and converts at once.
    #[inline(always)]
    unsafe fn low_nibble(words: __m512i) -> __m512 {
        unsafe {
            let table = _mm512_setr_ps(
                0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.,
            );
            _mm512_permutexvar_ps(words, table)
        }
    }
    /// The look-up of four bits wants them in the lowest place, and is faster than a conversion.
    #[inline(always)]
    unsafe fn field<const BITS: u32>(words: __m512i, k: usize) -> __m512 {
        unsafe {
            let lowest = Self::shift_right(words, BITS * k as u32);
            if BITS == 4 {
                Self::low_nibble(lowest)
            } else {
                Self::low_byte(lowest)
            }
        }
    }
    #[inline(always)]
    fn unit<const BITS: u32>(_k: usize) -> f32 {
        1.0
    }
    #[inline(always)]
    unsafe fn low_byte(words: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_and_si512(words, _mm512_set1_epi32(255))) }
    }
    #[inline(always)]
    unsafe fn shift_right(words: __m512i, bits: u32) -> __m512i {
        unsafe { _mm512_srl_epi32(words, _mm_cvtsi32_si128(bits as i32)) }
    }
    #[inline(always)]
    unsafe fn nibbles(from: *const u8) -> __m512 {
        unsafe {
            let pair = _mm512_set1_epi64(from.cast::<i64>().read_unaligned());
            let words = _mm512_permutexvar_epi32(
                _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                pair,
            );
            let shifts =
                _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
            Self::low_nibble(_mm512_srlv_epi32(words, shifts))
        }
    }
    #[inline(always)]
    unsafe fn bytes(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn sum(value: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(value) }
    }
    /// Pairs of lanes are added as the vectors are interleaved: 8 shuffles for four sums.
    #[inline(always)]
    unsafe fn add_sums(to: *mut f32, [a, b, c, d]: [__m512; 4]) {
        unsafe {
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
            _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), sums));
        }
    }
}
