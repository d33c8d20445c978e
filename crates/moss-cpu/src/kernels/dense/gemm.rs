//! Many rows: a panel of the weight is widened block by block and multiplied tile by tile (bound by
//! arithmetic).
//!
//! A tile of `TILE_ROWS x 4` dot products loads 10 vectors for 24 multiply-adds. Its rows of `x`
//! stay in the first-level cache while the panel passes by in the second; each block ends in one
//! sum an output, so little waits in memory between blocks.

use super::{BLOCK, Element, PANEL, Task};
use crate::kernels::{
    Aligned,
    simd::{Kernel, Simd},
};

/// Outputs of a tile.
pub(super) const OUTPUTS: usize = 4;
/// Rows whose sums are kept together.
const ROW_CHUNK: usize = 512;
const LINE: usize = 64 / size_of::<f32>();

const _: () = assert!(PANEL.is_multiple_of(OUTPUTS));

pub(super) struct Gemm<'a, E>(pub(super) Task<'a, E>);

impl<E: Element> Kernel for Gemm<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let task = &self.0;
        let outputs = task.end - task.first;
        let padded_outputs = outputs.next_multiple_of(OUTPUTS);
        // The rows that fill up the last tile stay zero, and what they sum to is never read.
        let mut panel = Aligned::zeros(padded_outputs * BLOCK);
        let mut sums = Aligned::zeros(task.rows.min(ROW_CHUNK) * padded_outputs);
        for first_row in (0..task.rows).step_by(ROW_CHUNK) {
            let rows = (task.rows - first_row).min(ROW_CHUNK);
            sums.fill(0.0);
            for block in (0..task.inputs).step_by(BLOCK) {
                let len = (task.inputs - block).min(BLOCK);
                // SAFETY: `panel` holds a row of BLOCK values for every output; `x` and `sums` hold
                // these rows.
                unsafe {
                    self.widen::<S>(block, len, &mut panel);
                    self.multiply::<S>(
                        first_row,
                        rows,
                        block,
                        len.next_multiple_of(S::LANES),
                        &panel,
                        &mut sums,
                    );
                }
            }
            for (row, sums) in sums.chunks_exact(padded_outputs).take(rows).enumerate() {
                for (output, sum) in sums[..outputs].iter().enumerate() {
                    // SAFETY: a row of this chunk, an output of this task.
                    unsafe { task.write(first_row + row, task.first + output, *sum) };
                }
            }
        }
    }
}

impl<E: Element> Gemm<'_, E> {
    /// # Safety
    /// The instruction set is there; `block + len` is at most the task's inputs, and `panel` has
    /// BLOCK values for each of its outputs.
    #[inline(always)]
    unsafe fn widen<S: Simd>(&self, block: usize, len: usize, panel: &mut [f32]) {
        let task = &self.0;
        let whole = len / S::LANES * S::LANES;
        for (output, row) in (task.first..task.end).zip(panel.chunks_exact_mut(BLOCK)) {
            // SAFETY: vectors below `whole` lie within the weight's row and within BLOCK.
            unsafe {
                let from = task
                    .weight
                    .as_ptr()
                    .add((output * task.inputs + block) * E::BYTES);
                for at in (0..whole).step_by(S::LANES) {
                    S::store(
                        row.as_mut_ptr().add(at),
                        E::load::<S>(from.add(at * E::BYTES)),
                    );
                }
                if whole < len {
                    S::store(
                        row.as_mut_ptr().add(whole),
                        task.load_tail::<S>(output, block + whole),
                    );
                }
            }
        }
    }

    /// # Safety
    /// The instruction set is there; the task's `x` has the rows `first_row..first_row + rows` with
    /// `block + len` values; `sums` has as many rows with a value for every row of the panel.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(
        &self,
        first_row: usize,
        rows: usize,
        block: usize,
        len: usize,
        panel: &[f32],
        sums: &mut [f32],
    ) {
        let stride = self.0.stride();
        let outputs = panel.len() / BLOCK;
        let mut row = 0;
        // SAFETY: tiles stay within `rows` and `outputs`; see `tiles`.
        unsafe {
            let x = self.0.x.as_ptr().add(first_row * stride + block);
            let sums = sums.as_mut_ptr();
            while row + S::TILE_ROWS <= rows {
                let (x, sums) = (x.add(row * stride), sums.add(row * outputs));
                match S::TILE_ROWS {
                    6 => tiles::<S, 6>(x, stride, panel, len, sums, outputs),
                    _ => tiles::<S, 3>(x, stride, panel, len, sums, outputs),
                }
                row += S::TILE_ROWS;
            }
            while row + 2 <= rows {
                tiles::<S, 2>(
                    x.add(row * stride),
                    stride,
                    panel,
                    len,
                    sums.add(row * outputs),
                    outputs,
                );
                row += 2;
            }
            if row < rows {
                tiles::<S, 1>(
                    x.add(row * stride),
                    stride,
                    panel,
                    len,
                    sums.add(row * outputs),
                    outputs,
                );
            }
        }
    }
}

/// `M` rows by all outputs of the panel.
///
/// # Safety
/// As for [`tile`], with `outputs` rows in `panel`, BLOCK apart.
#[inline(always)]
unsafe fn tiles<S: Simd, const M: usize>(
    x: *const f32,
    stride: usize,
    panel: &[f32],
    len: usize,
    sums: *mut f32,
    outputs: usize,
) {
    // The next rows of `x` come from afar: asked for little by little, they are there when their
    // turn comes.
    let lines = (M * len.div_ceil(LINE)).div_ceil(outputs / OUTPUTS);
    let (mut row, mut at) = (M, 0);
    for n in (0..outputs).step_by(OUTPUTS) {
        for _ in 0..lines {
            S::prefetch(x.wrapping_add(row * stride + at).cast());
            at += LINE;
            if at >= len {
                (row, at) = (row + 1, 0);
            }
        }
        // SAFETY: the caller's.
        unsafe {
            tile::<S, M>(
                x,
                stride,
                panel.as_ptr().add(n * BLOCK),
                len,
                sums.add(n),
                outputs,
            )
        };
    }
}

/// Adds `len` products to the sums of `M` rows by [`OUTPUTS`] outputs.
///
/// # Safety
/// The instruction set is there. `x` has `M` rows of `len` values, `stride` apart; `w` has
/// `OUTPUTS` rows of `len`, BLOCK apart; `sums` has `M` rows of `OUTPUTS` values, `outputs` apart;
/// `len` is a multiple of `LANES`.
#[inline(always)]
unsafe fn tile<S: Simd, const M: usize>(
    x: *const f32,
    stride: usize,
    w: *const f32,
    len: usize,
    sums: *mut f32,
    outputs: usize,
) {
    // SAFETY: this function's own contract.
    unsafe {
        let mut acc = [[S::splat(0.0); OUTPUTS]; M];
        let mut at = 0;
        while at < len {
            // No closures here: they would not take on the instruction set of the function around
            // them.
            let mut rows = [S::splat(0.0); M];
            for (m, row) in rows.iter_mut().enumerate() {
                *row = S::load(x.add(m * stride + at));
            }
            for n in 0..OUTPUTS {
                let w = S::load(w.add(n * BLOCK + at));
                for (acc, row) in acc.iter_mut().zip(rows) {
                    acc[n] = S::fma(w, row, acc[n]);
                }
            }
            at += S::LANES;
        }
        for (m, acc) in acc.into_iter().enumerate() {
            S::add_sums(sums.add(m * outputs), acc);
        }
    }
}
