//! A sum that reads memory as fast as possible, for bandwidth measurements.

use super::{
    Isa,
    prefetch::prefetch,
    simd::{Chunk, Kernel, Simd},
};

/// Bytes between a load and the prefetch that is issued with it.
const AHEAD: usize = 2048;

/// Returns the sum of `values`, without a remainder that does not fill four vectors.
pub(crate) fn sum_of(isa: Isa, values: &[f32]) -> f32 {
    isa.run(Sum(values))
}

struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let mut sums = [simd.splat(0.0); 4];
        for chunk in S::Floats::split(self.0).chunks_exact(4) {
            let ahead = chunk.as_ptr().cast::<u8>().wrapping_add(AHEAD);
            prefetch(ahead);
            prefetch(ahead.wrapping_add(64));
            for (sum, values) in sums.iter_mut().zip(chunk) {
                *sum = simd.add(*sum, simd.load(values));
            }
        }
        let [a, b, c, d] = sums;
        simd.sum(simd.add(simd.add(a, b), simd.add(c, d)))
    }
}
