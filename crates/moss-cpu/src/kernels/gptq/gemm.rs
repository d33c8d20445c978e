//! Many rows: a group of the strip is widened once, then multiplied tile by tile (bound by
//! arithmetic).

use super::{PANEL_STRIP, Task};
use crate::kernels::{
    Aligned,
    simd::{Kernel, Simd},
};

pub(super) struct Gemm<'a, const BITS: u32, const PER: usize>(pub(super) Task<'a, BITS, PER>);

impl<const BITS: u32, const PER: usize> Kernel for Gemm<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let task = self.0;
        let whole = (task.strip.end - task.strip.first) / S::LANES * S::LANES;
        let longest = task
            .strip
            .weight
            .segments
            .iter()
            .map(|segment| segment.rows)
            .max()
            .unwrap_or(0);
        let mut panel = Aligned::zeros(longest * PER * PANEL_STRIP);
        // Rows of the result lie far apart, in the same few sets of the caches: the sums wait
        // beside each other until they are done.
        let mut sums = Aligned::zeros(task.rows * PANEL_STRIP);
        // SAFETY: vectors lie below `whole`, within the strip and within the weight's outputs.
        unsafe {
            for index in 0..task.strip.weight.segments.len() {
                Self::widen::<S>(&task, index, whole, &mut panel);
                Self::multiply::<S>(&task, index, whole, &panel, &mut sums);
            }
            for (row, sums) in sums.chunks_exact(PANEL_STRIP).enumerate() {
                for at in (0..whole).step_by(S::LANES) {
                    let value = task
                        .strip
                        .add_bias::<S>(task.strip.first + at, S::load(sums.as_ptr().add(at)));
                    S::store(task.strip.out.at(row, task.strip.first + at), value);
                }
            }
            task.single_outputs::<S>(task.strip.first + whole);
        }
    }
}

impl<const BITS: u32, const PER: usize> Gemm<'_, BITS, PER> {
    /// Packed fields as numbers, `[inputs of the group, PANEL_STRIP]`.
    #[inline(always)]
    unsafe fn widen<S: Simd>(
        task: &Task<'_, BITS, PER>,
        index: usize,
        whole: usize,
        panel: &mut [f32],
    ) {
        let segment = task.strip.weight.segments[index];
        // SAFETY: the caller's; the panel holds the longest group.
        unsafe {
            for row in 0..segment.rows {
                for at in (0..whole).step_by(S::LANES) {
                    let mut words = S::load_words(
                        task.strip
                            .words(segment.first_row + row, task.strip.first + at),
                    );
                    for k in 0..PER {
                        let to = panel.as_mut_ptr().add((row * PER + k) * PANEL_STRIP + at);
                        S::store(
                            to,
                            if BITS == 4 {
                                S::low_nibble(words)
                            } else {
                                S::low_byte(words)
                            },
                        );
                        words = S::shift_right(words, BITS);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply<S: Simd>(
        task: &Task<'_, BITS, PER>,
        index: usize,
        whole: usize,
        panel: &[f32],
        sums: &mut [f32],
    ) {
        let mut row = 0;
        // SAFETY: the caller's; tiles stay within `rows` and `whole`.
        unsafe {
            while row + S::TILE_ROWS <= task.rows {
                match S::TILE_ROWS {
                    6 => Self::tiles::<S, 6>(task, index, row, whole, panel, sums),
                    _ => Self::tiles::<S, 3>(task, index, row, whole, panel, sums),
                }
                row += S::TILE_ROWS;
            }
            while row < task.rows {
                Self::tiles::<S, 1>(task, index, row, whole, panel, sums);
                row += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn tiles<S: Simd, const M: usize>(
        task: &Task<'_, BITS, PER>,
        index: usize,
        row: usize,
        whole: usize,
        panel: &[f32],
        sums: &mut [f32],
    ) {
        // The next rows of `x` come from afar.
        let segment = task.strip.weight.segments[index];
        for next in row + M..row + 2 * M {
            let x = task
                .x
                .as_ptr()
                .wrapping_add(next * task.stride + segment.first_row * PER);
            for at in (0..segment.rows * PER).step_by(16) {
                S::prefetch(x.wrapping_add(at).cast());
            }
        }
        let mut at = 0;
        // SAFETY: the caller's.
        unsafe {
            while at + 4 * S::LANES <= whole {
                Self::tile::<S, M, 4>(task, index, row, at, panel, sums);
                at += 4 * S::LANES;
            }
            while at < whole {
                Self::tile::<S, M, 1>(task, index, row, at, panel, sums);
                at += S::LANES;
            }
        }
    }

    /// One group's share of `M` rows by `N` vectors of outputs.
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize>(
        task: &Task<'_, BITS, PER>,
        index: usize,
        row: usize,
        at: usize,
        panel: &[f32],
        sums: &mut [f32],
    ) {
        let segment = task.strip.weight.segments[index];
        let segments = task.strip.weight.segments.len();
        // SAFETY: the caller's.
        unsafe {
            let mut acc = [[S::splat(0.0); N]; M];
            for n in 0..N {
                let zeros = task
                    .strip
                    .zeros::<S>(segment.group, task.strip.first + at + n * S::LANES);
                for (m, acc) in acc.iter_mut().enumerate() {
                    acc[n] = S::mul(zeros, S::splat(task.sums[(row + m) * segments + index]));
                }
            }
            let x = task
                .x
                .as_ptr()
                .add(row * task.stride + segment.first_row * PER);
            let panel = panel.as_ptr().add(at);
            for k in 0..segment.rows * PER {
                // No closures here: they would not take on the instruction set of the function
                // around them.
                let mut rows = [S::splat(0.0); M];
                for (m, row) in rows.iter_mut().enumerate() {
                    *row = S::splat(*x.add(m * task.stride + k));
                }
                for n in 0..N {
                    let q = S::load(panel.add(k * PANEL_STRIP + n * S::LANES));
                    for (acc, row) in acc.iter_mut().zip(rows) {
                        acc[n] = S::fma(row, q, acc[n]);
                    }
                }
            }
            for n in 0..N {
                let scales = task
                    .strip
                    .scales::<S>(segment.group, task.strip.first + at + n * S::LANES);
                for (m, acc) in acc.iter().enumerate() {
                    let sum = sums
                        .as_mut_ptr()
                        .add((row + m) * PANEL_STRIP + at + n * S::LANES);
                    S::store(sum, S::fma(scales, acc[n], S::load(sum)));
                }
            }
        }
    }
}
