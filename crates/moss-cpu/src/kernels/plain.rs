//! Views of values as their bytes: vectors, arrays and the elements of tensors.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m128, __m128i, __m256, __m256i, __m512, __m512i};

use half::{bf16, f16};

/// Types for which every bit pattern is a value.
///
/// # Safety
/// The type has no padding, no invalid bit pattern, no pointer and no interior mutability.
pub(crate) unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        // SAFETY: an integer, a float, or a vector of them.
        unsafe impl Plain for $ty {}
    )*};
}

plain!(u8, u32, i32, i64, f32, f16, bf16);
#[cfg(target_arch = "x86_64")]
plain!(__m128, __m128i, __m256, __m256i, __m512, __m512i);

// SAFETY: the elements of an array follow each other without padding.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Returns the bytes of `from` as a value of another type of the same size, whatever the alignment.
#[inline(always)]
pub(crate) fn read<A: Plain, B: Plain>(from: &A) -> B {
    const { assert!(size_of::<A>() == size_of::<B>()) };
    // SAFETY: `from` is a reference to as many initialized bytes as `B` has, every bit pattern is a
    // valid `B`, and the read needs no alignment.
    unsafe { std::ptr::from_ref(from).cast::<B>().read_unaligned() }
}

/// Overwrites the bytes of `to` with those of a value of the same size, whatever the alignment.
#[inline(always)]
pub(crate) fn write<A: Plain, B: Plain>(to: &mut A, value: B) {
    const { assert!(size_of::<A>() == size_of::<B>()) };
    // SAFETY: `to` is an exclusive reference to as many bytes as `B` has, every bit pattern is a
    // valid `A`, and the write needs no alignment.
    unsafe { std::ptr::from_mut(to).cast::<B>().write_unaligned(value) }
}

/// Returns the bytes of `values`.
#[inline(always)]
pub(crate) fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: the slice covers `size_of_val` bytes, all initialized because `T` has no padding; `u8`
    // needs no alignment, and the result borrows `values`.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}
