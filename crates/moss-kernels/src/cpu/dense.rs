//! Dense matrix product, `y = x W^T + bias`, straight from the stored weight.
//!
//! Every output is one dot product, summed in `LANES` interleaved partial sums along the inputs and reduced in a fixed order.
//! The path for few rows and the blocked path for many do the same additions in the same order, so a row's result does not
//! depend on how many rows there are.
//!
//! Cost: few rows read the weight once (bandwidth-bound); many rows convert each panel of the weight once and are bound by
//! arithmetic: a tile of `DENSE_ROWS x 3` dot products loads 11 vectors for 24 multiply-adds.

use rayon::prelude::*;

use super::{
    Isa,
    out::Out,
    simd::{Kernel, Simd},
};
use crate::weight::{DenseDtype, DenseWeight};

/// Up to this many rows the weight is converted in registers, once for all of them.
const DIRECT_ROWS: usize = 4;
/// Outputs of one task: long runs of the mapped file.
const DIRECT_OUTPUTS: usize = 64;
/// Outputs whose weights are converted together; a multiple of the tile's three.
const PANEL: usize = 48;
/// Inputs of one block: a tile's rows of `x` and `W` stay in the first-level cache.
const BLOCK: usize = 768;
/// Rows whose partial sums are kept together.
const ROW_CHUNK: usize = 256;
/// Inputs are padded with zeros to a multiple of this, so that `x` is read in whole vectors.
const PAD: usize = 16;

/// Values from one row of `x` to the next. Many rows lie one cache line further apart than they must: at the model's own widths
/// they would all fall into the same few sets of the first-level cache.
pub(crate) fn row_stride(rows: usize, inputs: usize) -> usize {
    inputs.next_multiple_of(PAD) + if rows > DIRECT_ROWS { PAD } else { 0 }
}

/// `x` is `[rows, row_stride]`, zeros behind `in_features`; `y` is `[rows, out_features]`.
pub(crate) fn matmul(
    isa: Isa,
    x: &[f32],
    rows: usize,
    weight: &DenseWeight,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    match weight.dtype {
        DenseDtype::F32 => run::<F32>(isa, x, rows, weight, bias, y),
        DenseDtype::F16 => run::<F16>(isa, x, rows, weight, bias, y),
        DenseDtype::BF16 => run::<BF16>(isa, x, rows, weight, bias, y),
    }
}

fn run<E: Element>(
    isa: Isa,
    x: &[f32],
    rows: usize,
    weight: &DenseWeight,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let outputs = weight.out_features;
    assert_eq!(x.len(), rows * row_stride(rows, weight.in_features));
    assert_eq!(y.len(), rows * outputs);
    assert_eq!(weight.data.len(), outputs * weight.in_features * E::BYTES);
    assert!(bias.is_none_or(|bias| bias.len() == outputs));
    let out = Out::new(y, outputs);
    let step = if rows <= DIRECT_ROWS { DIRECT_OUTPUTS } else { PANEL };
    (0..outputs.div_ceil(step)).into_par_iter().for_each(|task| {
        let first = task * step;
        let task = Task::<E> {
            x,
            rows,
            weight: &weight.data,
            inputs: weight.in_features,
            first,
            end: (first + step).min(outputs),
            bias,
            out,
            element: std::marker::PhantomData,
        };
        if rows <= DIRECT_ROWS { isa.run(Direct(task)) } else { isa.run(Blocked(task)) }
    });
}

/// How an element of the weight is widened.
trait Element: Send + Sync + 'static {
    const BYTES: usize;
    /// # Safety
    /// As for [`Simd`].
    unsafe fn load<S: Simd>(from: *const u8) -> S::F;
}

struct F32;
struct F16;
struct BF16;

impl Element for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F {
        // SAFETY: the caller's.
        unsafe { S::load(from.cast()) }
    }
}
impl Element for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F {
        // SAFETY: the caller's.
        unsafe { S::load_f16(from) }
    }
}
impl Element for BF16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F {
        // SAFETY: the caller's.
        unsafe { S::load_bf16(from) }
    }
}

/// The outputs `first..end` for all rows. `run` has checked that the slices have these extents.
#[derive(Clone, Copy)]
struct Task<'a, E> {
    x: &'a [f32],
    rows: usize,
    weight: &'a [u8],
    inputs: usize,
    first: usize,
    end: usize,
    bias: Option<&'a [f32]>,
    out: Out<'a>,
    element: std::marker::PhantomData<E>,
}

impl<E: Element> Task<'_, E> {
    fn stride(&self) -> usize {
        row_stride(self.rows, self.inputs)
    }

    #[inline(always)]
    unsafe fn write<S: Simd>(&self, row: usize, output: usize, sum: S::F) {
        let bias = self.bias.map_or(0.0, |bias| bias[output]);
        // SAFETY: `output` is within this task's columns, which no other task writes.
        unsafe { *self.out.at(row, output) = S::sum(sum) + bias }
    }

    /// The last vector of a row of the weight, which the row does not fill: the rest is zero.
    #[inline(always)]
    unsafe fn load_tail<S: Simd>(&self, output: usize, from: usize) -> S::F {
        let mut buffer = [0u8; 64];
        let row = &self.weight[output * self.inputs * E::BYTES..][..self.inputs * E::BYTES];
        let tail = &row[from * E::BYTES..];
        buffer[..tail.len()].copy_from_slice(tail);
        // SAFETY: 64 bytes hold a vector of any element.
        unsafe { E::load::<S>(buffer.as_ptr()) }
    }
}

/// Few rows: dot products straight from the file.
struct Direct<'a, E>(Task<'a, E>);

impl<E: Element> Kernel for Direct<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let task = self.0;
        let mut output = task.first;
        // SAFETY: tiles stay within `first..end` and `0..rows`.
        unsafe {
            match task.rows {
                1 => {
                    while output + 4 <= task.end {
                        Self::tile::<S, 1, 4>(&task, output);
                        output += 4;
                    }
                    while output < task.end {
                        Self::tile::<S, 1, 1>(&task, output);
                        output += 1;
                    }
                }
                2 => Self::pairs::<S, 2>(&task, output),
                3 => Self::pairs::<S, 3>(&task, output),
                _ => Self::pairs::<S, 4>(&task, output),
            }
        }
    }
}

impl<E: Element> Direct<'_, E> {
    #[inline(always)]
    unsafe fn pairs<S: Simd, const M: usize>(task: &Task<'_, E>, mut output: usize) {
        // SAFETY: the caller's.
        unsafe {
            while output + 2 <= task.end {
                Self::tile::<S, M, 2>(task, output);
                output += 2;
            }
            if output < task.end {
                Self::tile::<S, M, 1>(task, output);
            }
        }
    }

    /// `M` rows by `N` outputs.
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize>(task: &Task<'_, E>, output: usize) {
        let (inputs, stride) = (task.inputs, task.stride());
        let whole = inputs / S::LANES * S::LANES;
        // SAFETY: rows of `x` have `stride` values, rows of the weight `inputs` elements; vectors start below `whole`.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            let weight = task.weight.as_ptr().add(output * inputs * E::BYTES);
            let mut at = 0;
            while at < whole {
                // No closures here: they would not take on the instruction set of the function around them.
                let mut x = [S::splat(0.0); M];
                for (m, x) in x.iter_mut().enumerate() {
                    *x = S::load(task.x.as_ptr().add(m * stride + at));
                }
                for n in 0..N {
                    let from = weight.add((n * inputs + at) * E::BYTES);
                    S::prefetch(from.wrapping_add(1024));
                    let w = E::load::<S>(from);
                    for (sums, x) in sums.iter_mut().zip(x) {
                        sums[n] = S::fma(w, x, sums[n]);
                    }
                }
                at += S::LANES;
            }
            if whole < inputs {
                for n in 0..N {
                    let w = task.load_tail::<S>(output + n, whole);
                    for (m, sums) in sums.iter_mut().enumerate() {
                        let x = S::load(task.x.as_ptr().add(m * stride + whole));
                        sums[n] = S::fma(w, x, sums[n]);
                    }
                }
            }
            for (m, sums) in sums.iter().enumerate() {
                for (n, sum) in sums.iter().enumerate() {
                    task.write::<S>(m, output + n, *sum);
                }
            }
        }
    }
}

/// Many rows: a panel of the weight is widened block by block, and the partial sums wait in memory between blocks.
struct Blocked<'a, E>(Task<'a, E>);

impl<E: Element> Kernel for Blocked<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let task = self.0;
        let outputs = task.end - task.first;
        let mut panel = vec![0.0f32; outputs * BLOCK];
        let mut sums = vec![0.0f32; task.rows.min(ROW_CHUNK) * outputs * S::LANES];
        for first_row in (0..task.rows).step_by(ROW_CHUNK) {
            let rows = (task.rows - first_row).min(ROW_CHUNK);
            sums.fill(0.0);
            for block in (0..task.inputs).step_by(BLOCK) {
                let len = (task.inputs - block).min(BLOCK);
                let padded = len.next_multiple_of(S::LANES);
                // SAFETY: `panel` holds `outputs` rows of BLOCK values; `x` and `sums` hold these rows.
                unsafe {
                    Self::widen::<S>(&task, block, len, &mut panel);
                    Self::multiply::<S>(&task, first_row, rows, block, padded, &panel, &mut sums);
                }
            }
            for row in 0..rows {
                for output in 0..outputs {
                    let sum = &sums[(row * outputs + output) * S::LANES..][..S::LANES];
                    // SAFETY: a whole vector; the output is this task's.
                    unsafe { task.write::<S>(first_row + row, task.first + output, S::load(sum.as_ptr())) };
                }
            }
        }
    }
}

impl<E: Element> Blocked<'_, E> {
    #[inline(always)]
    unsafe fn widen<S: Simd>(task: &Task<'_, E>, block: usize, len: usize, panel: &mut [f32]) {
        let whole = len / S::LANES * S::LANES;
        for (n, row) in panel.chunks_exact_mut(BLOCK).enumerate() {
            let output = task.first + n;
            // SAFETY: vectors below `whole` lie within the weight's row and within BLOCK.
            unsafe {
                let from = task.weight.as_ptr().add((output * task.inputs + block) * E::BYTES);
                for at in (0..whole).step_by(S::LANES) {
                    S::store(row.as_mut_ptr().add(at), E::load::<S>(from.add(at * E::BYTES)));
                }
                if whole < len {
                    S::store(row.as_mut_ptr().add(whole), task.load_tail::<S>(output, block + whole));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply<S: Simd>(
        task: &Task<'_, E>,
        first_row: usize,
        rows: usize,
        block: usize,
        len: usize,
        panel: &[f32],
        sums: &mut [f32],
    ) {
        let outputs = task.end - task.first;
        let mut row = 0;
        // SAFETY: tiles stay within `rows` and `outputs`; see `tile`.
        unsafe {
            let x = task.x.as_ptr().add(first_row * task.stride() + block);
            while row + S::DENSE_ROWS <= rows {
                let (x, sums) = (x.add(row * task.stride()), sums.as_mut_ptr().add(row * outputs * S::LANES));
                match S::DENSE_ROWS {
                    8 => Self::tiles::<S, 8>(task, x, len, panel, sums, outputs),
                    _ => Self::tiles::<S, 4>(task, x, len, panel, sums, outputs),
                }
                row += S::DENSE_ROWS;
            }
            while row < rows {
                let (x, sums) = (x.add(row * task.stride()), sums.as_mut_ptr().add(row * outputs * S::LANES));
                Self::tiles::<S, 1>(task, x, len, panel, sums, outputs);
                row += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn tiles<S: Simd, const M: usize>(
        task: &Task<'_, E>,
        x: *const f32,
        len: usize,
        panel: &[f32],
        sums: *mut f32,
        outputs: usize,
    ) {
        let mut n = 0;
        // SAFETY: the caller's.
        unsafe {
            while n + 3 <= outputs {
                tile::<S, M, 3>(
                    x,
                    task.stride(),
                    panel.as_ptr().add(n * BLOCK),
                    len,
                    sums.add(n * S::LANES),
                    outputs,
                );
                n += 3;
            }
            while n < outputs {
                tile::<S, M, 1>(
                    x,
                    task.stride(),
                    panel.as_ptr().add(n * BLOCK),
                    len,
                    sums.add(n * S::LANES),
                    outputs,
                );
                n += 1;
            }
        }
    }
}

/// Adds `len` products to the partial sums of `M` rows by `N` outputs.
///
/// # Safety
/// `x` has `M` rows of `len` values, `stride` apart; `w` has `N` rows of `len`, `BLOCK` apart; `sums` has `M` rows of `N`
/// vectors, `outputs` vectors apart; `len` is a multiple of `LANES`.
#[inline(always)]
unsafe fn tile<S: Simd, const M: usize, const N: usize>(
    x: *const f32,
    stride: usize,
    w: *const f32,
    len: usize,
    sums: *mut f32,
    outputs: usize,
) {
    // SAFETY: this function's own contract.
    unsafe {
        let mut acc = [[S::splat(0.0); N]; M];
        for (m, acc) in acc.iter_mut().enumerate() {
            for (n, acc) in acc.iter_mut().enumerate() {
                *acc = S::load(sums.add((m * outputs + n) * S::LANES));
            }
        }
        let mut at = 0;
        while at < len {
            let mut weights = [S::splat(0.0); N];
            for (n, weight) in weights.iter_mut().enumerate() {
                *weight = S::load(w.add(n * BLOCK + at));
            }
            for (m, acc) in acc.iter_mut().enumerate() {
                let x = S::load(x.add(m * stride + at));
                for n in 0..N {
                    acc[n] = S::fma(weights[n], x, acc[n]);
                }
            }
            at += S::LANES;
        }
        for (m, acc) in acc.iter().enumerate() {
            for (n, acc) in acc.iter().enumerate() {
                S::store(sums.add((m * outputs + n) * S::LANES), *acc);
            }
        }
    }
}
