//! GEMM for prefill: a panel of the weight is converted to f32 block by block, and multiplied tile
//! by tile. Arithmetic is the limit.
//!
//! A tile of `TILE_ROWS x 4` dot products loads 10 vectors for 24 multiply-adds. Its rows of `x`
//! stay in the first-level cache while the panel is read from the second level. Each block ends in
//! one sum per output, so few sums are kept in memory between blocks.

use super::task::{BLOCK, Task, row_stride};
use crate::kernels::{
    Aligned,
    element::Element,
    prefetch::prefetch,
    rows::Rows,
    simd::{Chunk, Kernel, Simd},
};

/// Outputs of a tile.
const OUTPUTS: usize = 4;
/// Outputs of one task, at most: their converted weights and sums stay in the second-level cache.
const PANEL: usize = 192;
/// Rows whose sums are kept together.
const ROW_CHUNK: usize = 512;
/// Values of a cache line.
const LINE: usize = 64 / size_of::<f32>();

const _: () = assert!(PANEL.is_multiple_of(OUTPUTS));

/// Returns the outputs of one task, so that every thread gets several tasks.
pub(super) fn tile_outputs(outputs: usize) -> usize {
    let share = outputs.div_ceil(4 * rayon::current_num_threads());
    share.next_multiple_of(OUTPUTS).min(PANEL)
}

pub(super) struct Gemm<'a, E>(pub(super) Task<'a, E>);

impl<E: Element> Kernel for Gemm<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut task = self.0;
        let (inputs, outputs) = (task.inputs, task.out.len());
        let padded_outputs = outputs.next_multiple_of(OUTPUTS);
        // The rows that pad the last tile stay zero, and their sums are not used.
        let mut panel = Aligned::zeros(padded_outputs * BLOCK);
        let mut sums = Aligned::zeros(task.rows.min(ROW_CHUNK) * padded_outputs);
        for first_row in (0..task.rows).step_by(ROW_CHUNK) {
            let rows = (task.rows - first_row).min(ROW_CHUNK);
            sums.fill(0.0);
            for first in (0..inputs).step_by(BLOCK) {
                let len = (inputs - first).min(BLOCK);
                convert(simd, &task, first, len, &mut panel);
                let stride = row_stride(task.rows, inputs);
                let block = Block {
                    x: &task.x[first_row * stride + first..],
                    stride,
                    rows,
                    len: len.next_multiple_of(S::LANES),
                    panel: &panel,
                };
                block.multiply(simd, &mut sums);
            }
            for (row, sums) in sums.chunks_exact(padded_outputs).take(rows).enumerate() {
                for (output, sum) in sums[..outputs].iter().enumerate() {
                    task.write(first_row + row, output, *sum);
                }
            }
        }
    }
}

/// Converts `len` inputs of each output, from input `first` on, to rows of `panel`.
#[inline(always)]
fn convert<S: Simd, E: Element>(
    simd: S,
    task: &Task<'_, E>,
    first: usize,
    len: usize,
    panel: &mut [f32],
) {
    let element = size_of::<E>();
    let whole = len / S::LANES;
    for (output, row) in panel
        .chunks_exact_mut(BLOCK)
        .take(task.out.len())
        .enumerate()
    {
        let weights = &task.weight(task.out.first() + output)[first * element..][..len * element];
        let (weights, tail) = weights.split_at(whole * S::LANES * element);
        let row = S::Floats::split_mut(row);
        for (to, from) in row.iter_mut().zip(E::Packed::<S>::split(weights)) {
            simd.store(to, E::load(simd, from));
        }
        if !tail.is_empty() {
            simd.store(&mut row[whole], Task::<E>::load_tail(simd, tail));
        }
    }
}

/// A block of inputs.
struct Block<'a> {
    /// `[rows, len]`, `stride` apart.
    x: &'a [f32],
    stride: usize,
    rows: usize,
    /// Inputs, a multiple of `LANES`.
    len: usize,
    /// `[outputs, BLOCK]`
    panel: &'a [f32],
}

impl Block<'_> {
    /// Adds the products to `sums`, `[rows, outputs]`.
    #[inline(always)]
    fn multiply<S: Simd>(&self, simd: S, sums: &mut [f32]) {
        let mut row = 0;
        while row + S::TILE_ROWS <= self.rows {
            match S::TILE_ROWS {
                6 => self.tiles::<S, 6>(simd, row, sums),
                _ => self.tiles::<S, 3>(simd, row, sums),
            }
            row += S::TILE_ROWS;
        }
        while row + 2 <= self.rows {
            self.tiles::<S, 2>(simd, row, sums);
            row += 2;
        }
        if row < self.rows {
            self.tiles::<S, 1>(simd, row, sums);
        }
    }

    /// Multiplies `M` rows with all outputs of the panel.
    #[inline(always)]
    fn tiles<S: Simd, const M: usize>(&self, simd: S, row: usize, sums: &mut [f32]) {
        let outputs = self.panel.len() / BLOCK;
        let vectors = self.len / S::LANES;
        let x = Rows::new(&self.x[row * self.stride..], self.stride, vectors);
        // The next rows of `x` are not cached. A few lines are prefetched with each tile.
        let lines = (M * self.len.div_ceil(LINE)).div_ceil(outputs / OUTPUTS);
        let (mut next_row, mut at) = (row + M, 0);
        for n in (0..outputs).step_by(OUTPUTS) {
            for _ in 0..lines {
                let offset = next_row * self.stride + at;
                prefetch(self.x.as_ptr().wrapping_add(offset));
                at += LINE;
                if at >= self.len {
                    (next_row, at) = (next_row + 1, 0);
                }
            }
            let w = Rows::new(&self.panel[n * BLOCK..], BLOCK, vectors);
            let acc = tile::<S, M>(simd, x, w);
            for (m, acc) in acc.into_iter().enumerate() {
                let sums = &mut sums[(row + m) * outputs..][..outputs];
                simd.add_sums(&mut <[f32; 4]>::split_mut(sums)[n / OUTPUTS], acc);
            }
        }
    }
}

/// Returns the sums of products of `M` rows and [`OUTPUTS`] outputs, each in `LANES` partial sums.
#[inline(always)]
fn tile<S: Simd, const M: usize>(
    simd: S,
    x: Rows<'_, S::Floats, M>,
    w: Rows<'_, S::Floats, OUTPUTS>,
) -> [[S::F; OUTPUTS]; M] {
    let mut acc = [[simd.splat(0.0); OUTPUTS]; M];
    for at in 0..w.len() {
        // No closures here: they would not be compiled with the features of the function around
        // them.
        let mut rows = [simd.splat(0.0); M];
        for (m, row) in rows.iter_mut().enumerate() {
            *row = simd.load(x.get(m, at));
        }
        for n in 0..OUTPUTS {
            let w = simd.load(w.get(n, at));
            for (acc, row) in acc.iter_mut().zip(rows) {
                acc[n] = simd.fma(w, row, acc[n]);
            }
        }
    }
    acc
}
