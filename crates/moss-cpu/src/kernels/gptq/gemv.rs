//! One row: the packed weight is read once (bandwidth-bound, about three instructions for a vector
//! of weights).

use super::{ROW_STRIP, Task, TileArray};
use crate::kernels::{
    isa::reads_past_caches,
    simd::{Kernel, Simd},
};

/// The brackets of a strip of outputs stay in the first-level cache while the packed rows stream
/// by.
pub(super) struct Gemv<'a, const BITS: u32, const PER: usize>(pub(super) Task<'a, BITS, PER>);

impl<const BITS: u32, const PER: usize> Kernel for Gemv<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's.
        unsafe {
            if reads_past_caches() {
                self.strip::<S, true>()
            } else {
                self.strip::<S, false>()
            }
        }
    }
}

impl<const BITS: u32, const PER: usize> Gemv<'_, BITS, PER> {
    #[inline(always)]
    unsafe fn strip<S: Simd, const PAST: bool>(self) {
        let task = self.0;
        let whole = (task.strip.end - task.strip.first) / S::LANES * S::LANES;
        let (mut acc, mut y) = (TileArray([0.0; ROW_STRIP]), TileArray([0.0; ROW_STRIP]));
        let (acc, y) = (&mut acc.0, &mut y.0);
        // SAFETY: vectors lie below `whole`, within the strip and within the weight's outputs.
        unsafe {
            for (index, segment) in task.strip.weight.segments.iter().enumerate() {
                let sum = S::splat(task.sums[index]);
                for at in (0..whole).step_by(S::LANES) {
                    let zeros = task.strip.zeros::<S>(segment.group, task.strip.first + at);
                    S::store(acc.as_mut_ptr().add(at), S::mul(zeros, sum));
                }
                let mut row = segment.first_row;
                let end = segment.first_row + segment.rows;
                // Several packed rows at a time, sixteen fields: less traffic of partial sums.
                while BITS == 8 && row + 4 <= end {
                    Self::rows::<S, 4, PAST>(&task, row, whole, acc);
                    row += 4;
                }
                while row + 2 <= end {
                    Self::rows::<S, 2, PAST>(&task, row, whole, acc);
                    row += 2;
                }
                if row < end {
                    Self::rows::<S, 1, PAST>(&task, row, whole, acc);
                }
                for at in (0..whole).step_by(S::LANES) {
                    let scales = task.strip.scales::<S>(segment.group, task.strip.first + at);
                    let y = y.as_mut_ptr().add(at);
                    S::store(y, S::fma(scales, S::load(acc.as_ptr().add(at)), S::load(y)));
                }
            }
            for at in (0..whole).step_by(S::LANES) {
                let value = task
                    .strip
                    .add_bias::<S>(task.strip.first + at, S::load(y.as_ptr().add(at)));
                S::store(task.strip.out.at(0, task.strip.first + at), value);
            }
            task.single_outputs::<S>(task.strip.first + whole);
        }
    }

    /// Adds the products of `R` packed rows, and asks for the next `R`.
    #[inline(always)]
    unsafe fn rows<S: Simd, const R: usize, const PAST: bool>(
        task: &Task<'_, BITS, PER>,
        row: usize,
        whole: usize,
        acc: &mut [f32; ROW_STRIP],
    ) {
        // SAFETY: the caller's; the prefetch may point anywhere.
        unsafe {
            let mut x = [[S::splat(0.0); PER]; R];
            for (r, x) in x.iter_mut().enumerate() {
                for (k, x) in x.iter_mut().enumerate() {
                    *x = S::splat(task.x[(row + r) * PER + k] * S::unit::<BITS>(k));
                }
            }
            let from = task.strip.words(row, task.strip.first);
            let stride = task.strip.weight.outputs * 4;
            for at in (0..whole).step_by(S::LANES) {
                let mut sum = S::load(acc.as_ptr().add(at));
                for (r, x) in x.iter().enumerate() {
                    let from = from.add(r * stride + at * 4);
                    S::prefetch_once::<PAST>(from.wrapping_add(R * stride));
                    let words = S::load_words(from);
                    for (k, x) in x.iter().enumerate() {
                        sum = S::fma(*x, S::field::<BITS>(words, k), sum);
                    }
                }
                S::store(acc.as_mut_ptr().add(at), sum);
            }
        }
    }
}
