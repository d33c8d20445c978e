//! Sums of products of bytes: what the instruction sets do most differently.

use super::simd::Simd;

/// One instruction set's way to multiply bytes, beside its vectors `S`.
///
/// # Safety
/// As for [`Simd`].
pub(crate) trait Dot<S: Simd>: Copy + Send + Sync + 'static {
    /// Rows of `x` in a tile of four vectors: as many as the registers hold, 6, 3 or 2.
    const TILE_ROWS: usize;
    /// Adds to each signed word the products of its four bytes: `unsigned` ones of `BITS` bits by
    /// `signed` ones from -127 to 127.
    unsafe fn add_dot<const BITS: u32>(sums: S::I, unsigned: S::I, signed: S::I) -> S::I;
}

/// As [`super::simd::Kernel`], for kernels that multiply bytes.
pub(crate) trait DotKernel {
    type Output;
    /// # Safety
    /// The instruction set of `S` and `D` is there.
    unsafe fn run<S: Simd, D: Dot<S>>(self) -> Self::Output;
}
