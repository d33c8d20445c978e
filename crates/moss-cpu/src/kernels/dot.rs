//! Sums of products of bytes, the operation that differs most between instruction sets.

use super::simd::Simd;

/// Multiplication of bytes by one instruction set, for vectors of `S`. As for [`Simd`], a value is a
/// witness that the processor has the instructions.
pub(crate) trait Dot<S: Simd>: Copy + Send + Sync + 'static {
    /// Rows of `x` in a tile of four vectors: as many as the registers hold, 6, 3 or 2.
    const TILE_ROWS: usize;
    /// Adds to each signed word the products of its four bytes: `unsigned` bytes of `BITS` bits
    /// times `signed` bytes from -127 to 127.
    fn add_dot<const BITS: u32>(self, sums: S::I, unsigned: S::I, signed: S::I) -> S::I;
}

/// As [`super::simd::Kernel`], for kernels that multiply bytes.
pub(crate) trait DotKernel {
    type Output;
    fn run<S: Simd, D: Dot<S>>(self, simd: S, dot: D) -> Self::Output;
}
