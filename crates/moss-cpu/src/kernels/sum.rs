//! A sum, for nothing but its reading.

use super::{
    Isa,
    simd::{Kernel, Simd},
};

/// The sum of all values, but for those that fill no four vectors.
pub(crate) fn sum_of(isa: Isa, values: &[f32]) -> f32 {
    isa.run(Sum(values))
}

struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        // SAFETY: every chunk holds four vectors; the prefetch may point anywhere.
        unsafe {
            let mut sums = [S::splat(0.0); 4];
            for chunk in self.0.chunks_exact(4 * S::LANES) {
                S::prefetch(chunk.as_ptr().cast::<u8>().wrapping_add(2048));
                S::prefetch(chunk.as_ptr().cast::<u8>().wrapping_add(2048 + 64));
                for (at, sum) in sums.iter_mut().enumerate() {
                    *sum = S::add(*sum, S::load(chunk.as_ptr().add(at * S::LANES)));
                }
            }
            S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])))
        }
    }
}
