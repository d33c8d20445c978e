//! GEMM for prefill: a group of the tile is unpacked once, and multiplied by tiles of rows and
//! vectors. Arithmetic is the limit.

use super::task::Task;
use crate::kernels::{
    Aligned,
    prefetch::prefetch,
    rows::Rows,
    simd::{Chunk, Kernel, Simd},
};

/// Outputs of one task: an unpacked group stays in the first-level cache.
pub(super) const OUTPUTS: usize = 64;

/// One value per output.
type Row = [f32; OUTPUTS];

pub(super) struct Gemm<'a, const BITS: u32, const PER: usize>(pub(super) Task<'a, BITS, PER>);

impl<const BITS: u32, const PER: usize> Kernel for Gemm<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut task = self.0;
        let segments = task.tile.weight.segments;
        let longest = segments.iter().map(|segment| segment.rows).max();
        let mut panel = Aligned::zeros(longest.unwrap_or(0) * PER * OUTPUTS);
        // Rows of the result are far apart, in a few sets of the caches. The sums are contiguous
        // until they are complete.
        let mut sums = Aligned::zeros(task.rows * OUTPUTS);
        for index in 0..segments.len() {
            task.unpack(simd, index, &mut panel);
            task.multiply(simd, index, Row::split(&panel), Row::split_mut(&mut sums));
        }
        for (row, sums) in Row::split(&sums).iter().enumerate() {
            task.tile.write(simd, row, S::Floats::split(sums));
        }
        task.single_outputs(simd, task.tile.vectors::<S>() * S::LANES);
    }
}

impl<const BITS: u32, const PER: usize> Task<'_, BITS, PER> {
    /// Converts the packed fields of a group to f32, `[inputs of the group, OUTPUTS]`.
    #[inline(always)]
    fn unpack<S: Simd>(&self, simd: S, index: usize, panel: &mut [f32]) {
        let segment = self.tile.weight.segments[index];
        let panel = <[Row; PER]>::split_mut(Row::split_mut(panel));
        for (row, panel) in (segment.first_row..)
            .zip(panel.iter_mut())
            .take(segment.rows)
        {
            let words = self.tile.words::<S>(row).iter();
            for (at, words) in words.take(OUTPUTS / S::LANES).enumerate() {
                let mut words = simd.load_packed(words);
                for row in panel.iter_mut() {
                    let fields = if BITS == 4 {
                        simd.low_nibble(words)
                    } else {
                        simd.low_byte(words)
                    };
                    simd.store(&mut S::Floats::split_mut(row)[at], fields);
                    words = simd.shift_right(words, BITS);
                }
            }
        }
    }

    #[inline(always)]
    fn multiply<S: Simd>(&self, simd: S, index: usize, panel: &[Row], sums: &mut [Row]) {
        let mut row = 0;
        while row + S::TILE_ROWS <= self.rows {
            match S::TILE_ROWS {
                6 => self.tiles::<S, 6>(simd, index, row, panel, sums),
                _ => self.tiles::<S, 3>(simd, index, row, panel, sums),
            }
            row += S::TILE_ROWS;
        }
        while row < self.rows {
            self.tiles::<S, 1>(simd, index, row, panel, sums);
            row += 1;
        }
    }

    /// Multiplies `M` rows with a group of all outputs.
    #[inline(always)]
    fn tiles<S: Simd, const M: usize>(
        &self,
        simd: S,
        index: usize,
        row: usize,
        panel: &[Row],
        sums: &mut [Row],
    ) {
        let segment = self.tile.weight.segments[index];
        let (first, inputs) = (segment.first_row * PER, segment.rows * PER);
        // The next rows of `x` are not cached.
        for next in row + M..row + 2 * M {
            let x = self.x.as_ptr().wrapping_add(next * self.stride + first);
            for at in (0..inputs).step_by(16) {
                prefetch(x.wrapping_add(at));
            }
        }
        let x = &self.x[row * self.stride + first..];
        let x = Rows::new(x, self.stride, inputs);
        let (panel, sums) = (&panel[..inputs], &mut sums[row..]);
        let (mut at, vectors) = (0, self.tile.vectors::<S>());
        while at + 4 <= vectors {
            self.tile::<S, M, 4>(simd, index, row, at, x, panel, sums);
            at += 4;
        }
        while at < vectors {
            self.tile::<S, M, 1>(simd, index, row, at, x, panel, sums);
            at += 1;
        }
    }

    /// Adds a group's part of `M` rows by `N` vectors of outputs, from vector `first` on.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // a struct of them would not stay in registers
    fn tile<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        index: usize,
        row: usize,
        first: usize,
        x: Rows<'_, [f32; 1], M>,
        panel: &[Row],
        sums: &mut [Row],
    ) {
        assert!(first + N <= OUTPUTS / S::LANES);
        let segments = self.tile.weight.segments;
        let group = segments[index].group;
        let zeros = self.tile.zeros(group);
        let mut acc = [[simd.splat(0.0); N]; M];
        for n in 0..N {
            let zeros = zeros.load(simd, first + n);
            for (m, acc) in acc.iter_mut().enumerate() {
                let sum = self.sums[(row + m) * segments.len() + index];
                acc[n] = simd.mul(zeros, simd.splat(sum));
            }
        }
        for (k, fields) in panel[..x.len()].iter().enumerate() {
            let fields = S::Floats::split(fields);
            // No closures here: they would not be compiled with the features of the function around
            // them.
            let mut inputs = [simd.splat(0.0); M];
            for (m, input) in inputs.iter_mut().enumerate() {
                *input = simd.splat(x.get(m, k)[0]);
            }
            for n in 0..N {
                let q = simd.load(&fields[first + n]);
                for (acc, input) in acc.iter_mut().zip(inputs) {
                    acc[n] = simd.fma(input, q, acc[n]);
                }
            }
        }
        let scales = &self.tile.scales::<S>(group)[first..][..N];
        for (n, scales) in scales.iter().enumerate() {
            let scales = simd.load_f16(scales);
            for (acc, sums) in acc.iter().zip(sums.iter_mut()) {
                let sum = &mut S::Floats::split_mut(sums)[first + n];
                simd.store(sum, simd.fma(scales, acc[n], simd.load(sum)));
            }
        }
    }
}
