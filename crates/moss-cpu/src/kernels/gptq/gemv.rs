//! GEMV for decode, one row: the packed weight is read once, with about three instructions per
//! vector of weights. Memory bandwidth is the limit.

use super::{
    task::Task,
    tile::{GEMV_OUTPUTS, TileArray},
};
use crate::kernels::{
    prefetch::{prefetch_once, reads_past_caches},
    simd::{Chunk, Kernel, Simd},
};

/// The brackets of a tile stay in the first-level cache while the packed rows stream through it.
pub(super) struct Gemv<'a, const BITS: u32, const PER: usize>(pub(super) Task<'a, BITS, PER>);

impl<const BITS: u32, const PER: usize> Kernel for Gemv<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if reads_past_caches() {
            self.outputs::<S, true>(simd);
        } else {
            self.outputs::<S, false>(simd);
        }
    }
}

impl<const BITS: u32, const PER: usize> Gemv<'_, BITS, PER> {
    #[inline(always)]
    fn outputs<S: Simd, const PAST: bool>(self, simd: S) {
        let mut task = self.0;
        let vectors = task.tile.vectors::<S>();
        let mut acc = TileArray([0.0; GEMV_OUTPUTS]);
        let mut y = TileArray([0.0; GEMV_OUTPUTS]);
        let acc = &mut S::Floats::split_mut(&mut acc.0)[..vectors];
        let y = &mut S::Floats::split_mut(&mut y.0)[..vectors];
        for (index, segment) in task.tile.weight.segments.iter().enumerate() {
            let sum = simd.splat(task.sums[index]);
            let zeros = task.tile.zeros(segment.group);
            for (at, acc) in acc.iter_mut().enumerate() {
                simd.store(acc, simd.mul(zeros.load(simd, at), sum));
            }
            let mut row = segment.first_row;
            let end = segment.first_row + segment.rows;
            // Up to sixteen fields at a time, so that partial sums are loaded and stored less often.
            while BITS == 8 && row + 4 <= end {
                rows::<S, BITS, PER, 4, PAST>(simd, &task, row, acc);
                row += 4;
            }
            while row + 2 <= end {
                rows::<S, BITS, PER, 2, PAST>(simd, &task, row, acc);
                row += 2;
            }
            if row < end {
                rows::<S, BITS, PER, 1, PAST>(simd, &task, row, acc);
            }
            let scales = task.tile.scales::<S>(segment.group);
            for ((y, acc), scales) in y.iter_mut().zip(&*acc).zip(scales) {
                let sum = simd.fma(simd.load_f16(scales), simd.load(acc), simd.load(y));
                simd.store(y, sum);
            }
        }
        task.tile.write(simd, 0, y);
        task.single_outputs(simd, vectors * S::LANES);
    }
}

/// Adds the products of `R` packed rows, and prefetches the next `R`.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // one bounds check for all slices
fn rows<S: Simd, const BITS: u32, const PER: usize, const R: usize, const PAST: bool>(
    simd: S,
    task: &Task<'_, BITS, PER>,
    row: usize,
    acc: &mut [S::Floats],
) {
    let vectors = acc.len();
    let mut x = [[simd.splat(0.0); PER]; R];
    for (r, x) in x.iter_mut().enumerate() {
        for (k, x) in x.iter_mut().enumerate() {
            *x = simd.splat(task.x[(row + r) * PER + k] * simd.unit::<BITS>(k));
        }
    }
    let words = task.tile.rows::<S, R>(row, vectors);
    let next = R * task.tile.weight.outputs * 4;
    for at in 0..vectors {
        let mut sum = simd.load(&acc[at]);
        for (r, x) in x.iter().enumerate() {
            let words = words.get(r, at);
            let address = std::ptr::from_ref(words).cast::<u8>();
            prefetch_once::<PAST, _>(address.wrapping_add(next));
            let words = simd.load_packed(words);
            for (k, x) in x.iter().enumerate() {
                sum = simd.fma(*x, simd.field::<BITS>(words, k), sum);
            }
        }
        simd.store(&mut acc[at], sum);
    }
}
